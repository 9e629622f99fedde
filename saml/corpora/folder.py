"""A folder of recordings with their texts: the corpus for a user's own speech.

What is spoken stands in a table or in text files beside the recordings: see `saml.corpora.folder_layouts`.
A role is base, pretrain, heldout or target (see `roles` in the config); speakers with `pool` or no role are
used only if the config gives them a role.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from saml.corpora.espeak import Voice
from saml.corpora.folder_layouts import CONFIGURED, Advice, digest, find_source
from saml.corpora.folder_layouts import ROOT_VARIABLE as ROOT_VARIABLE
from saml.corpora.folder_listing import Listing, read_listing
from saml.corpora.grammar import code, sentences
from saml.corpora.sampling import ranked, stable_hash
from saml.corpora.synthesis import synthesise
from saml.corpora.utterance_checks import (
    BadUtterance,
    Dropped,
    Prepared,
    check_target,
)
from saml.corpora.utterance_manifests import utterance_manifests, utterance_supervision
from saml.corpora.utterances import POOLS, Utterance
from saml.corpora.voices import pool_voices, voice_name
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress
from saml.runtime.text import plain_line

_SHOWN = 5  # names in a message


def prepare_corpus(settings: Mapping[str, Any], audio: Path) -> Prepared:
    """All utterances of the folder. Files that are not 16 kHz mono are converted into `audio`.

    Raises SamlError when the folder or a column is missing, a line or a role is invalid, or (unless bad
    utterances are dropped) a file cannot be used or has no text.
    """
    own = settings["folder"]
    listed, untold = list_rows(own, settings["on_bad_utterance"])
    rows = assign_roles(listed, own["roles"] or {})
    recordings, supervisions, dropped = utterance_manifests(rows, settings, "folder", audio)
    trained = [s for s in supervisions if s.custom["role"] == "base" and s.custom["part"] == "train"]
    # Empty transcripts are reported or dropped by the stage that prepares the pool.
    texts = [s.text for s in trained if s.text.strip()]
    synthetic_recordings, synthetic_supervisions = _synthetic_speech(texts, own, audio)
    return (
        RecordingSet.from_items([*recordings, *synthetic_recordings]),
        SupervisionSet.from_items([*supervisions, *synthetic_supervisions]),
        [*untold, *dropped],
    )


def prepare_speaker(
    settings: Mapping[str, Any],
    speaker: str,
    recordings: RecordingSet,
    supervisions: SupervisionSet,
    audio: Path,
) -> Prepared:
    """The utterances of one speaker; `settings` and `audio` are not used.

    Raises SamlError when the speaker has no utterances or belongs to a pool.
    """
    check_target(speaker, supervisions)
    own = [supervision for supervision in supervisions if supervision.speaker == speaker]
    if not own:
        raise no_utterances(speaker, (supervision.speaker for supervision in supervisions))
    for supervision in own:
        supervision.custom = {**(supervision.custom or {}), "role": "target"}
    wanted = {supervision.recording_id for supervision in own}
    kept = [recording for recording in recordings if recording.id in wanted]
    return RecordingSet.from_items(kept), SupervisionSet.from_items(own), []


def no_utterances(speaker: str, others: Iterable[str]) -> SamlError:
    """The error for a target or tuning speaker who is not among the speakers of the corpus, `others`."""
    known = sorted(set(others))
    alike = get_close_matches(speaker, known) or known[:5]
    return SamlError(
        f"speaker {speaker} has no utterances in the corpus (dropped utterances are in its dropped.tsv); "
        f"correct target_speakers (or tuning.speakers), for example with {', '.join(alike)}"
    )


def root_folder(settings: Mapping[str, Any]) -> Path:
    """The folder of the corpus: the config's `root`, else the environment variable SAML_FOLDER_ROOT.

    Raises SamlError with instructions when neither names a folder with a layout that can be read.
    """
    return find_source(settings).root


def origin(settings: Mapping[str, Any]) -> dict[str, Any]:
    """For the run record: a SHA-256 of what lists the utterances, so that a later run detects changes."""
    return {"manifest": {"sha256": digest(find_source(settings["folder"]))}}


def read_rows(settings: Mapping[str, Any]) -> list[Utterance]:
    """The utterances of the folder, as `list_rows`; recordings without a text are an error."""
    return list_rows(settings, "error")[0]


def list_rows(
    settings: Mapping[str, Any], on_bad: str, advice: Advice = CONFIGURED
) -> tuple[list[Utterance], list[Dropped]]:
    """The utterances of the folder in the order of its table, and the recordings that have no text file.

    Args:
        settings: the config's section `folder`.
        on_bad: "error" or "drop".
        advice: what the command tells its user to do where there is nothing to read.

    Raises:
        SamlError: as `find_source` and `read_listing`; or, unless `on_bad` is "drop", a recording has no text
            file or a text file no recording.
    """
    source = find_source(settings, advice)
    listing = read_listing(source)
    unmatched = _unmatched(listing, source.root)
    if unmatched and on_bad == "error":
        remedy = "add or rename the files, or remove what is no speech"
        raise BadUtterance(f"{source.root}: {unmatched}", remedy)
    if unmatched:
        print(f"{source.root}: {unmatched}; left out", file=sys.stderr, flush=True)
    reason = "there is no text file of the same name beside it"
    untold = [Dropped(row.utterance, row.speaker, str(row.path), reason) for row in listing.without_text]
    return listing.utterances, untold


def _unmatched(listing: Listing, root: Path) -> str:
    """Which recordings and which text files stand alone; empty where none does."""
    kinds = {
        "without a .txt file of the same name beside it": [row.path for row in listing.without_text],
        "without a recording of the same name beside it": listing.without_recording,
    }
    parts = []
    for kind, paths in kinds.items():
        names = [str(path.relative_to(root)) for path in paths[:_SHOWN]]
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        parts += [f"{', '.join(names)}{more} {kind}"] if paths else []
    return "; ".join(parts)


def assign_roles(rows: list[Utterance], roles: Mapping[str, list[str]]) -> list[Utterance]:
    """Apply the config's lists: a role that is listed there has these speakers and no others."""
    assigned: dict[str, str] = {}
    speakers = {row.speaker for row in rows}
    for role, listed_speakers in roles.items():
        if role not in POOLS:
            raise SamlError(f"corpus.folder.roles: there is no role {role!r}; choose {', '.join(POOLS)}")
        for speaker in map(plain_line, listed_speakers or []):
            if speaker not in speakers:
                raise SamlError(f"corpus.folder.roles.{role}: speaker {speaker} has no utterances; remove it")
            if assigned.setdefault(speaker, role) != role:
                raise SamlError(
                    f"corpus.folder.roles: speaker {speaker} is listed in {assigned[speaker]} and {role}; "
                    "remove it from one of them"
                )
    _refuse_two_roles(row for row in rows if row.speaker not in assigned)
    listed = {role for role, listed_speakers in roles.items() if listed_speakers is not None}
    return [
        replace(row, role=assigned.get(row.speaker, "pool" if row.role in listed else row.role))
        for row in rows
    ]


def _refuse_two_roles(rows: Iterable[Utterance]) -> None:
    roles: dict[str, str] = {}
    for row in rows:
        if roles.setdefault(row.speaker, row.role) != row.role:
            raise SamlError(
                f"speaker {row.speaker} has two roles in the manifest, {roles[row.speaker] or 'none'} and "
                f"{row.role or 'none'}; give all utterances of a speaker the same role"
            )


def _synthetic_speech(
    texts: list[str], settings: Mapping[str, Any], audio: Path
) -> tuple[list[Recording], list[SupervisionSegment]]:
    """Additional training speech for a base model: synthetic voices speak its transcripts, words shuffled.

    A network that is trained from scratch on a small corpus memorises its few sentences. The same words from
    many voices and in many orders teach it the sounds. Transcripts of the dev part and of other roles are not
    used. `commands` is the number of further sentences of the synthetic corpus; they are easy to learn and
    serve the first epochs.

    Raises SamlError when there are no transcripts to take words from.
    """
    how = settings["synthetic_speech"]
    recordings: list[Recording] = []
    supervisions: list[SupervisionSegment] = []
    voices = synthetic_voices(texts, settings)
    if not voices:
        return recordings, supervisions
    with Progress("synthesising", len(voices)) as progress:
        for done, voice in enumerate(voices, start=1):
            name = voice_name(voice)
            lines = _synthetic_lines(name, texts, how, settings["seed"])
            spoken = synthesise(voice, [line[:2] for line in lines], audio, {**how, "seed": settings["seed"]})
            recordings += spoken
            for recording, (utterance, words, kind) in zip(spoken, lines, strict=True):
                row = Utterance(utterance, name, Path(), " ".join(words), None, "base")
                supervision = utterance_supervision(row, recording, "train")
                supervision.custom["synthetic"] = kind
                supervisions.append(supervision)
            progress.update(done, name)
    return recordings, supervisions


def synthetic_voices(texts: Sequence[str], settings: Mapping[str, Any]) -> list[Voice]:
    """The voices of the additional training speech; none where none are configured.

    Raises SamlError when there are too few voices, or no transcripts of base's train part, `texts`.
    """
    how = settings["synthetic_speech"]
    if how["voices"] and how["sentences"] and not texts:
        raise SamlError(
            "corpus.folder.synthetic_speech: there are no transcripts of role base (train) to synthesise; "
            "give speakers that role, or set voices to 0"
        )
    return pool_voices("base", how["voices"], settings["seed"]) if how["voices"] else []


def _synthetic_lines(
    name: str, texts: list[str], how: Mapping[str, Any], seed: int
) -> list[tuple[str, Sequence[str], str]]:
    """(utterance id, words, kind) of all utterances of a synthetic voice."""
    lines: list[tuple[str, Sequence[str], str]] = [
        (f"{name}-{index}", _reordered(texts, seed, name, index), "transcripts")
        for index in range(how["sentences"])
    ]
    if how["commands"]:
        lines += [
            (f"{name}-{code(words)}", words, "commands")
            for words in sentences(name, "base", "train", how["commands"], seed)
        ]
    return lines


def _reordered(texts: list[str], seed: int, *key: object) -> list[str]:
    """The words of a seeded choice of `texts`, shuffled and in lower case."""
    words = texts[stable_hash(seed, "text", *key) % len(texts)].lower().split()
    places = ranked((str(place) for place in range(len(words))), seed, "words", *key)
    return [words[int(place)] for place in places]
