"""The stages that turn a corpus into what a model reads: prepare-corpus, prepare-pool, prepare-speaker.

Each takes the flags of its command as keyword arguments, reads its input files and writes its outputs and
its run record; it returns nothing. What they share of a target speaker is nothing: a new one is a new job,
and no file that others read changes.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut, RecordingSet, SupervisionSegment, SupervisionSet

from saml.corpora.manifests import read_manifest, validate_pair, write_manifest
from saml.corpora.registry import corpus
from saml.corpora.speeds import at_speeds
from saml.corpora.splits import split_speaker
from saml.corpora.utterance_checks import POOLS, Dropped, check_cuts, check_roles, write_dropped
from saml.features.log_mel import LogMel, feature_config, store_features
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically
from saml.runtime.progress import Progress


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
    """Write the manifests of all speech that does not wait for a target speaker.

    Args:
        experiment: name of the experiment.
        settings: the config's section `corpus`, under that key.
        recordings: output, lhotse recordings.
        supervisions: output, lhotse supervisions.
        dropped: output, the utterances left out.
        audio: output, the folder of waveforms that were made or converted; empty where none were.
        record: output, the run record.

    Raises:
        SamlError: the corpus is wrong, no utterance is left, or a speaker has two roles.
    """
    name = settings["corpus"]["name"]
    module = corpus(name)
    origin = module.origin(settings["corpus"]) if hasattr(module, "origin") else {}
    run = _record("prepare-corpus", experiment, {**settings, **origin})
    audio.mkdir(parents=True, exist_ok=True)
    found, spoken, bad = module.prepare_corpus(settings["corpus"], audio)
    if not len(spoken):
        raise SamlError(f"corpus {name}: no utterance is left; {dropped} would list them all")
    validate_pair(found, spoken)
    check_roles(name, spoken)
    write_manifest(found, recordings)
    write_manifest(spoken, supervisions)
    write_dropped(bad, dropped)
    run.score("utterances", len(spoken))
    run.score("speakers", len({supervision.speaker for supervision in spoken}))
    run.score("hours", sum(supervision.duration for supervision in spoken) / 3600)
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
        settings: the config's sections `corpus` and `model`, under those keys, and for the role base of
            `base_training` the key `speed_perturbation`, where there is one.
        recordings: input, what prepare-corpus wrote.
        supervisions: input, likewise.
        cuts: output, lhotse cuts.
        features: output, the archive that the cuts point into.
        dropped: output, the utterances left out here.
        record: output, the run record.

    Raises:
        SamlError: there is no such role, nobody has it, or an utterance is bad and bad ones are not dropped.
    """
    if role not in POOLS:
        raise SamlError(f"role {role!r} is no pool; there are {', '.join(POOLS)}")
    # The role tells the records of the three pools apart.
    run = _record("prepare-pool", experiment, {**settings, "role": role})
    spoken = [
        supervision
        for supervision in read_manifest(SupervisionSet, supervisions)
        if (supervision.custom or {}).get("role") == role
    ]
    if not spoken:
        raise SamlError(
            f"nobody has the role {role} in corpus {settings['corpus']['name']}; give it to speakers in "
            f"corpus.{settings['corpus']['name']}.roles.{role} (or in a folder's manifest, column role)"
        )
    made = _cuts(read_manifest(RecordingSet, recordings), spoken)
    kept, bad = _checked(made, settings)
    if not kept:
        raise SamlError(
            f"role {role}: none of its {len(made)} utterances is left; the first: {bad[0].reason}"
        )
    # Copies at other speeds are for training: the records count what was spoken.
    copies = at_speeds(kept, settings.get("base_training", {}).get("speed_perturbation"))
    _write_cuts(copies, settings, cuts, features)
    write_dropped(bad, dropped)
    _note(run, kept, bad, features)
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
        speaker: who.
        settings: the config's sections `corpus`, `model` and `partition`, under those keys.
        recordings: input, what prepare-corpus wrote.
        supervisions: input, likewise.
        cuts: output, lhotse cuts.
        features: output, the archive that the cuts point into.
        splits: output, the splits (see `partition.split_speaker`); whoever replaces this file replaces them.
        dropped: output, the utterances left out here.
        audio: output, the folder of waveforms made for this speaker.
        record: output, the run record.

    Raises:
        SamlError: the speaker has no utterances, too few to split or stands in a pool, or an utterance is
            bad and bad ones are not dropped.
    """
    run = _record("prepare-speaker", experiment, settings, speaker)
    audio.mkdir(parents=True, exist_ok=True)
    module = corpus(settings["corpus"]["name"])
    found, spoken, bad = module.prepare_speaker(
        settings["corpus"],
        speaker,
        read_manifest(RecordingSet, recordings),
        read_manifest(SupervisionSet, supervisions),
        audio,
    )
    kept, bad_here = _checked(_cuts(found, spoken), settings)
    divided = split_speaker(
        speaker, {cut.id: (cut.custom or {}).get("part") for cut in kept}, settings["partition"]
    )
    _write_cuts(kept, settings, cuts, features)
    write_splits(divided, splits)
    write_dropped([*bad, *bad_here], dropped)
    _note(run, kept, [*bad, *bad_here], features)
    run.write(record)


def write_splits(divided: Mapping[str, Any], path: Path) -> None:
    """Write what `partition` divided as JSON, atomically."""
    write_atomically(path, (json.dumps(divided, indent=1, ensure_ascii=False) + "\n").encode())


def _cuts(recordings: RecordingSet, supervisions: Iterable[SupervisionSegment]) -> list[MonoCut]:
    """One cut an utterance, in the order of the supervisions. A recording may hold several."""
    by_id = {recording.id: recording for recording in recordings}
    return [
        MonoCut(
            id=supervision.id,
            start=supervision.start,
            duration=supervision.duration,
            channel=0,
            # Within a cut, times count from its start.
            supervisions=[supervision.with_offset(-supervision.start)],
            recording=by_id[supervision.recording_id],
            custom={"part": supervision.custom["part"]} if "part" in supervision.custom else None,
        )
        for supervision in supervisions
    ]


def _checked(cuts: Iterable[MonoCut], settings: Mapping[str, Any]) -> tuple[list[MonoCut], list[Dropped]]:
    from saml.models.tokenisers.characters import unknown_characters

    own = settings["corpus"]
    longest = feature_config(settings["model"]).pad_seconds
    return check_cuts(
        cuts,
        min_seconds=own["min_seconds"],
        max_seconds=own["max_seconds"] if longest is None else min(own["max_seconds"], longest),
        unknown_characters=unknown_characters(settings["model"]),
        on_bad=own["on_bad_utterance"],
    )


def _write_cuts(cuts: list[MonoCut], settings: Mapping[str, Any], path: Path, features: Path) -> None:
    from saml.features.archive import ArchiveWriter

    extractor = LogMel(feature_config(settings["model"]))
    with ArchiveWriter(features) as archive, Progress("computing features", len(cuts)) as progress:
        for done, cut in enumerate(cuts, start=1):
            store_features(cut, extractor, archive)
            progress.update(done, cut.id)
    write_manifest(CutSet.from_items(cuts), path)


def _record(stage: str, experiment: str, settings: Mapping[str, Any], speaker: str | None = None) -> Any:
    """The run record of a stage. Imported here, so that a corpus can be prepared without tracking's
    libraries."""
    from saml.tracking import RunRecord

    return RunRecord(
        stage=stage,
        experiment=experiment,
        speaker=speaker,
        settings=settings,
        corpus=settings["corpus"]["name"],
        family=settings["model"]["family"] if "model" in settings else None,
    )


def _note(run: Any, cuts: list[MonoCut], dropped: list[Dropped], features: Path) -> None:
    run.score("utterances", len(cuts))
    run.score("speakers", len({cut.supervisions[0].speaker for cut in cuts}))
    run.score("hours", sum(cut.duration for cut in cuts) / 3600)
    run.score("dropped", len(dropped))
    run.size("features", features.stat().st_size)
