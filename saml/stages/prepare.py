"""The stages that turn a corpus into features: prepare-corpus, prepare-pool, prepare-speaker.

Each stage takes the flags of its command as keyword arguments, reads its input files and writes its outputs
and its run record. Only prepare-speaker reads target speakers: a new one is a new job, and no file of the
other stages changes.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lhotse import CutSet, MonoCut, RecordingSet, SupervisionSegment, SupervisionSet

from saml.audio.reader import Unusable
from saml.corpora.audio import read_cut
from saml.corpora.duplicates import identical, report_identical
from saml.corpora.manifests import file_of, read_manifest, validate_pair, write_manifest
from saml.corpora.registry import corpus
from saml.corpora.repeated_sentences import repeated_sentences
from saml.corpora.speed_perturbation import perturb_speeds
from saml.corpora.splits import split_speaker
from saml.corpora.utterance_checks import POOLS, Dropped, check_cuts, check_roles, reject, write_dropped
from saml.features.log_mel import LogMel, feature_config
from saml.features.store import ArchiveWriter, store_features
from saml.models.text_limits import text_limits
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically
from saml.runtime.progress import Progress
from saml.tracking import RunRecord


def prepare_corpus(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    recordings: Path,
    supervisions: Path,
    dropped: Path,
    audio: Path,
    record: Path,
) -> None:
    """Write the manifests of all speech that does not depend on the target speakers.

    Args:
        experiment: name of the experiment.
        settings: the config's section `corpus`, under that key.
        recordings: output, lhotse recordings.
        supervisions: output, lhotse supervisions.
        dropped: output, the utterances left out.
        audio: output, the folder of synthesised or converted waveforms; may be empty.
        record: output, the run record.

    Raises:
        SamlError: the corpus is wrong, no utterance is left, or a speaker has two roles.
    """
    name = settings["corpus"]["name"]
    module = corpus(name)
    origin = module.origin(settings["corpus"]) if hasattr(module, "origin") else {}
    run = _record("prepare-corpus", experiment, {**settings, **origin})
    audio.mkdir(parents=True, exist_ok=True)
    found, segments, bad = module.prepare_corpus(settings["corpus"], audio)
    if not len(segments):
        raise SamlError(f"corpus {name}: no utterance is left; {dropped} would list them all")
    validate_pair(found, segments)
    check_roles(name, segments)
    write_manifest(found, recordings)
    write_manifest(segments, supervisions)
    write_dropped(bad, dropped)
    run.score("utterances", len(segments))
    run.score("speakers", len({segment.speaker for segment in segments}))
    run.score("hours", sum(segment.duration for segment in segments) / 3600)
    run.score("dropped", len(bad))
    run.write(record)


def prepare_pool(
    *,
    experiment: str,
    role: str,
    settings: Mapping[str, Any],
    recordings: Path,
    supervisions: Path,
    cuts: Path,
    features: Path,
    dropped: Path,
    record: Path,
) -> None:
    """Write the cuts of a pool, with features; `cut.custom["part"]` is train, dev or (heldout) test.

    Args:
        experiment: name of the experiment.
        role: base, pretrain or heldout.
        settings: the config's sections `corpus` and `model`, under those keys, and for the role base the key
            `speed_perturbation` of `base_training`; `ctc`: false where no training has a CTC loss.
        recordings: input, what prepare-corpus wrote.
        supervisions: input, likewise.
        cuts: output, lhotse cuts.
        features: output, the archive that the cuts point into.
        dropped: output, the utterances left out here.
        record: output, the run record.

    Raises:
        SamlError: there is no such role, no speaker has it, or an utterance is unusable and
            `on_bad_utterance` is `error`.
    """
    if role not in POOLS:
        raise SamlError(f"role {role!r} is no pool; there are {', '.join(POOLS)}")
    # The role distinguishes the records of the three pools.
    run = _record("prepare-pool", experiment, {**settings, "role": role})
    segments = [
        segment
        for segment in read_manifest(SupervisionSet, supervisions)
        if (segment.custom or {}).get("role") == role
    ]
    if not segments:
        raise no_speaker(role, settings["corpus"]["name"])
    found = _cuts(read_manifest(RecordingSet, recordings), segments)
    # Copies at other speeds are for training: the records count what was spoken.
    speeds = settings["base_training"]["speed_perturbation"] if role == "base" else None
    kept, bad = usable_cuts(found, settings, trained=role != "heldout", speed=max(speeds or [1.0]))
    if not kept:
        raise SamlError(
            f"role {role}: none of its {len(found)} utterances is left; the first: {bad[0].reason}"
        )
    stored = _write_cuts(perturb_speeds(kept, speeds), settings, cuts, features)
    bad += stored.dropped
    unusable = {row.utterance for row in stored.dropped}
    write_dropped(bad, dropped)
    _note(run, [cut for cut in kept if cut.id not in unusable], bad, features)
    run.write(record)


def prepare_speaker(
    *,
    experiment: str,
    speaker: str,
    settings: Mapping[str, Any],
    recordings: Path,
    supervisions: Path,
    cuts: Path,
    features: Path,
    splits: Path,
    dropped: Path,
    audio: Path,
    record: Path,
) -> None:
    """Write the cuts of a target speaker, with features, and how they are split.

    Args:
        experiment: name of the experiment.
        speaker: id of the speaker.
        settings: the config's sections `corpus`, `model` and `partition`, under those keys; `ctc`: false
            where no training has a CTC loss; `description`: the path of that of a model that exists, whose
            tokeniser counts then.
        recordings: input, what prepare-corpus wrote.
        supervisions: input, likewise.
        cuts: output, lhotse cuts.
        features: output, the archive that the cuts point into.
        splits: output, the splits (see `saml.corpora.splits.split_speaker`); users may replace this file.
        dropped: output, the utterances left out here.
        audio: output, the folder of synthesised or converted waveforms of this speaker; may be empty.
        record: output, the run record.

    Raises:
        SamlError: the speaker has no utterances, too few to split, or another role; or an utterance is
            unusable and `on_bad_utterance` is `error`.
    """
    run = _record("prepare-speaker", experiment, settings, speaker)
    audio.mkdir(parents=True, exist_ok=True)
    module = corpus(settings["corpus"]["name"])
    found, segments, bad = module.prepare_speaker(
        settings["corpus"],
        speaker,
        read_manifest(RecordingSet, recordings),
        read_manifest(SupervisionSet, supervisions),
        audio,
    )
    kept, bad_here = usable_cuts(_cuts(found, segments), settings)
    stored = _write_cuts(kept, settings, cuts, features)
    bad = [*bad, *bad_here, *stored.dropped]
    write_splits(_divided(speaker, stored, settings["partition"]), splits)
    write_dropped(bad, dropped)
    _note(run, stored.cuts, bad, features)
    run.write(record)


def no_speaker(role: str, name: str) -> SamlError:
    """The error for a role without speakers in the corpus `name`."""
    return SamlError(
        f"no speaker has the role {role} in corpus {name}; give it to speakers in corpus.{name}.roles.{role} "
        "(or in a folder's manifest, column role)"
    )


def write_splits(splits: Mapping[str, Any], path: Path) -> None:
    """Write the splits of a speaker as JSON, atomically."""
    write_atomically(path, (json.dumps(splits, indent=1, ensure_ascii=False) + "\n").encode())


def _cuts(recordings: RecordingSet, supervisions: Iterable[SupervisionSegment]) -> list[MonoCut]:
    """A cut of each utterance, in the order of the supervisions; a recording may hold several."""
    by_id = {recording.id: recording for recording in recordings}
    return [
        MonoCut(
            id=supervision.id,
            start=supervision.start,
            duration=supervision.duration,
            channel=0,
            # Times in a cut are relative to its start.
            supervisions=[supervision.with_offset(-supervision.start)],
            recording=by_id[supervision.recording_id],
            custom={"part": supervision.custom["part"]} if "part" in supervision.custom else None,
        )
        for supervision in supervisions
    ]


def usable_cuts(
    cuts: Iterable[MonoCut],
    settings: Mapping[str, Any],
    *,
    trained: bool = True,
    speed: float = 1.0,
) -> tuple[list[MonoCut], list[Dropped]]:
    """The cuts that the model can be trained on (or only decode), and the others, by their metadata.

    Raises SamlError for the first that it cannot, unless bad utterances are dropped.
    """
    own = settings["corpus"]
    ctc = trained and settings.get("ctc", True)
    stored = Path(settings["description"]) if "description" in settings else None
    limits = text_limits(settings["model"], description=stored, ctc=ctc, speed=speed)
    return check_cuts(
        cuts,
        min_seconds=own["min_seconds"],
        max_seconds=own["max_seconds"],
        model_seconds=feature_config(settings["model"]).pad_seconds,
        wrong_text=limits.wrong,
        on_bad=own["on_bad_utterance"],
    )


class _Stored(NamedTuple):
    """The cuts with features, the checksums of their samples by id, and the utterances left out."""

    cuts: list[MonoCut]
    checksums: dict[str, str]
    dropped: list[Dropped]


def _write_cuts(cuts: list[MonoCut], settings: Mapping[str, Any], path: Path, features: Path) -> _Stored:
    """Write the features of the cuts and their manifest, without those whose audio is unusable."""
    extractor = LogMel(feature_config(settings["model"]))
    stored = _Stored([], {}, [])
    with ArchiveWriter(features) as archive, Progress("computing features", len(cuts)) as progress:
        for done, cut in enumerate(cuts, start=1):
            try:
                samples, checksum = read_cut(cut)
            except Unusable as error:
                bad = Dropped(cut.id, cut.supervisions[0].speaker, file_of(cut), f"the file {error.reason}")
                reject(bad, settings["corpus"]["on_bad_utterance"], stored.dropped)
            else:
                stored.cuts.append(store_features(cut, samples, extractor, archive))
                stored.checksums[cut.id] = checksum
            progress.update(done, cut.id)
    write_manifest(CutSet.from_items(stored.cuts), path)
    return stored


def _divided(speaker: str, stored: _Stored, partition: Mapping[str, Any]) -> dict[str, Any]:
    """The splits of a speaker; copies of a recording stay in one part."""
    copies = identical(stored.checksums)
    then = "the corpus has divided them" if partition["scheme"] == "given" else "they stay in the same part"
    report_identical(copies, dict.fromkeys(stored.checksums, speaker), then)
    parts = {cut.id: (cut.custom or {}).get("part") for cut in stored.cuts}
    divided = split_speaker(speaker, parts, partition, copies)
    texts = {cut.id: cut.supervisions[0].text for cut in stored.cuts}
    if repeated := repeated_sentences(speaker, divided["folds"], texts):
        print(repeated, file=sys.stderr, flush=True)
    return divided


def _record(
    stage: str, experiment: str, settings: Mapping[str, Any], speaker: str | None = None
) -> RunRecord:
    """A new run record of a stage."""
    return RunRecord(
        stage=stage,
        experiment=experiment,
        speaker=speaker,
        settings=settings,
        corpus=settings["corpus"]["name"],
        family=settings["model"]["family"] if "model" in settings else None,
    )


def _note(run: RunRecord, cuts: list[MonoCut], dropped: list[Dropped], features: Path) -> None:
    run.score("utterances", len(cuts))
    run.score("speakers", len({cut.supervisions[0].speaker for cut in cuts}))
    run.score("hours", sum(cut.duration for cut in cuts) / 3600)
    run.score("dropped", len(dropped))
    run.size("features", features.stat().st_size)
