"""Somebody's own recordings: where they lie, their preparation, and what was left out of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lhotse import SupervisionSet

from saml.config.load import speech_settings, stage_settings
from saml.corpora.folder import list_rows
from saml.corpora.folder_layouts import Advice
from saml.corpora.manifests import read_cuts, read_manifest
from saml.corpora.repeated_sentences import repeated_sentences
from saml.corpora.tables import read_separated
from saml.corpora.utterance_checks import BadUtterance
from saml.runtime import layout
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object
from saml.runtime.layout import place
from saml.stages.prepare import prepare_corpus, prepare_speaker

Config = Mapping[str, Any]

ADVICE = Advice(
    key="--recordings",
    place="give --recordings a folder of recordings with a text of the same name beside each (01.wav, "
    "01.txt), or with a manifest.tsv (docs/own-speech.md)",
    choose="--recordings <folder>/{}",
)


def folder_section(recordings: Path) -> dict[str, Any]:
    """The config's section `corpus.folder` for a folder of recordings, or for a table in such a folder."""
    table = recordings.is_file()
    return {
        "root": str(recordings.parent if table else recordings),
        "manifest": recordings.name if table else None,
        "roles": {role: [] for role in ("base", "pretrain", "heldout")},
        "dev_share": 0.0,
        "heldout_utterances": None,
        "synthetic_speech": {"voices": 0, "sentences": 1, "commands": 0, "snr_db": None, "gain_db": None},
        "seed": 0,
    }


def spoken_by(config: Config) -> list[str]:
    """The speakers of the recordings, in their order.

    Raises SamlError, with advice for users of this command, where there is nothing to read.
    """
    own = config["corpus"]
    with _own_advice():
        rows, _ = list_rows(own["folder"], own["on_bad_utterance"], ADVICE)
    return list(dict.fromkeys(row.speaker for row in rows))


def prepare(config: Config, out: Path, speakers: Sequence[str], description: Path) -> None:
    """Write manifests, features and splits of `speakers`; `description` is the model's.

    Raises SamlError, naming the recording, where one cannot be used; or none of a speaker's is left.
    """
    corpus = out / layout.CORPUS
    with _own_advice():
        _prepare_corpus(config, corpus)
        left = {one.speaker for one in read_manifest(SupervisionSet, corpus / "supervisions.jsonl.gz")}
        for speaker in speakers:
            if speaker not in left:
                raise SamlError(
                    f"speaker {speaker}: none of the recordings can be used, see {corpus / 'dropped.tsv'}; "
                    "correct them, or leave the speaker out with --speakers"
                )
            _prepare_speaker(config, out, speaker, description)


def remarks(out: Path, speaker: str) -> Iterator[str]:
    """What else the reader of the error rates must know: what was left out, copies, sentences said twice."""
    folder = speech_folder(out, speaker)
    tables = (out / layout.CORPUS / "dropped.tsv", folder / "dropped.tsv")
    for table in tables:
        _, rows = read_separated(table, "\t")
        names = [row.fields["utterance"] for row in rows if row.fields["speaker"] == speaker]
        if names:
            more = ", ..." if len(names) > 5 else ""
            yield f"{speaker}: {len(names)} left out ({', '.join(names[:5])}{more}), reasons in {table}"
    splits = read_json_object(folder / "splits.json")
    copies = [group for group in splits.get("copies", ()) if len(group) > 1]
    if copies:
        extra = sum(len(group) - 1 for group in copies)
        yield (
            f"{speaker}: {extra} of the recordings are copies of others ({' and '.join(copies[0])} ...); no "
            "recording was tested by an adapter trained on its copy"
        )
    texts = {cut.id: cut.supervisions[0].text for cut in read_cuts(folder / "cuts.jsonl.gz")}
    repeated = repeated_sentences(speaker, splits["folds"], texts)
    if repeated:
        yield repeated


def speech_folder(out: Path, speaker: str) -> Path:
    """The folder of a speaker's prepared speech."""
    return place(out, layout.SPEECH, speaker=speaker)


@contextmanager
def _own_advice() -> Iterator[None]:
    """Advise this command's option where an utterance could be left out, not a key of a configuration."""
    try:
        yield
    except BadUtterance as error:
        raise SamlError(
            f"{error.problem}; {error.remedy}, or leave such recordings out with --on-bad drop"
        ) from None


def _prepare_corpus(config: Config, folder: Path) -> None:
    prepare_corpus(
        experiment=config["experiment"],
        settings=stage_settings(config, ["corpus"]),
        recordings=folder / "recordings.jsonl.gz",
        supervisions=folder / "supervisions.jsonl.gz",
        dropped=folder / "dropped.tsv",
        audio=folder / "audio",
        record=folder / "run.jsonl",
    )


def _prepare_speaker(config: Config, out: Path, speaker: str, description: Path) -> None:
    corpus, folder = out / layout.CORPUS, speech_folder(out, speaker)
    prepare_speaker(
        experiment=config["experiment"],
        speaker=speaker,
        settings={
            **speech_settings(config, ["corpus", "model", "partition"]),
            "description": str(description),
        },
        recordings=corpus / "recordings.jsonl.gz",
        supervisions=corpus / "supervisions.jsonl.gz",
        cuts=folder / "cuts.jsonl.gz",
        features=folder / "features.bin",
        splits=folder / "splits.json",
        dropped=folder / "dropped.tsv",
        audio=folder / "audio",
        record=folder / "run.jsonl",
    )
