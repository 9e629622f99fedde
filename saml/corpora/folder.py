"""A folder of recordings with a tab-separated manifest: the corpus for a user's own speech.

The first line of the manifest names its columns: utterance, speaker, file, text, and optionally seconds and
role. Further columns are ignored. `file` is relative to the folder. A role is base, pretrain, heldout or
target (see `roles` in the config); speakers with `pool` or no role are used only if the config gives them a
role.
"""

import hashlib
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from saml.corpora.audio import as_recording
from saml.corpora.espeak import Voice
from saml.corpora.grammar import code, sentences
from saml.corpora.registry import folder_name
from saml.corpora.sampling import ranked, stable_hash
from saml.corpora.synthesis import synthesise
from saml.corpora.utterance_checks import POOLS, Prepared, check_recordings, check_target
from saml.corpora.utterances import Utterance, limit_heldout, pool_parts, with_progress
from saml.corpora.voices import pool_voices, voice_name
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress

ROOT_VARIABLE = "SAML_FOLDER_ROOT"
_COLUMNS = ("utterance", "speaker", "file", "text")
_ROLES = (*POOLS, "target", "pool", "")


def prepare_corpus(settings: Mapping[str, Any], audio: Path) -> Prepared:
    """All utterances of the folder. Files that are not 16 kHz mono are converted into `audio`.

    Raises SamlError when the folder or a column is missing, a line or a role is invalid, or (unless bad
    utterances are dropped) a file cannot be used.
    """
    own = settings["folder"]
    rows = assign_roles(read_rows(own), own["roles"] or {})
    with Progress("checking audio", len(rows)) as progress:
        kept, dropped = check_recordings(with_progress(rows, progress), settings["on_bad_utterance"])
    kept = limit_heldout(kept, own["heldout_utterances"], own["seed"])
    parts = pool_parts(kept, own["dev_share"], own["seed"])
    recordings = [as_recording(row.path, row.utterance, _converted(row, audio)) for row in kept]
    supervisions = [
        _supervision(row, recording, parts.get(row.utterance))
        for row, recording in zip(kept, recordings, strict=True)
    ]
    trained = [s for s in supervisions if s.custom["role"] == "base" and s.custom["part"] == "train"]
    # Empty transcripts are reported or dropped by the stage that prepares the pool.
    texts = [s.text for s in trained if s.text.strip()]
    synthetic_recordings, synthetic_supervisions = _synthetic_speech(texts, own, audio)
    return (
        RecordingSet.from_items([*recordings, *synthetic_recordings]),
        SupervisionSet.from_items([*supervisions, *synthetic_supervisions]),
        dropped,
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

    Raises SamlError with instructions when neither names a folder with the manifest.
    """
    named = settings["root"] or os.environ.get(ROOT_VARIABLE)
    advice = (
        f"set corpus.folder.root or {ROOT_VARIABLE} to a folder that contains a {settings['manifest']} with "
        f"the columns {', '.join(_COLUMNS)} (for example CMU AN4 from github.com/cmusphinx/an4, see "
        "config/README.md)"
    )
    if not named:
        raise SamlError(f"corpus folder: no folder is configured; {advice}")
    root = Path(named)
    if not (root / settings["manifest"]).is_file():
        raise SamlError(f"corpus folder: {root / settings['manifest']} does not exist; {advice}")
    return root


def origin(settings: Mapping[str, Any]) -> dict[str, Any]:
    """For the run record: the SHA-256 of the manifest, so that a later run detects changes."""
    own = settings["folder"]
    manifest = root_folder(own) / own["manifest"]
    return {"manifest": {"sha256": hashlib.sha256(manifest.read_bytes()).hexdigest()}}


def read_rows(settings: Mapping[str, Any]) -> list[Utterance]:
    """The utterances of the manifest, in its order.

    Raises SamlError, naming the line, when a column is missing, a field is missing or empty, an utterance is
    listed twice, a role does not exist, or a file would be outside the folder.
    """
    root = root_folder(settings)
    manifest = root / settings["manifest"]
    try:
        lines = [line.rstrip("\r") for line in manifest.read_text(encoding="utf-8-sig").split("\n")]
    except UnicodeDecodeError:
        raise SamlError(f"{manifest}: not UTF-8 text; save it as UTF-8") from None
    columns = [column.strip() for column in lines[0].split("\t")]
    lacking = [column for column in _COLUMNS if column not in columns]
    if lacking:
        raise SamlError(
            f"{manifest}: the first line lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}; "
            "it must list the columns, separated by tabs"
        )
    rows = [
        _parse(line.split("\t"), columns, root, f"{manifest}, line {number}")
        for number, line in enumerate(lines[1:], start=2)
        if line.strip()
    ]
    if not rows:
        raise SamlError(f"{manifest}: there are no utterances after the first line; add some")
    _refuse_duplicates(rows, manifest)
    return rows


def _parse(fields: list[str], columns: list[str], root: Path, place: str) -> Utterance:
    if len(fields) != len(columns):
        raise SamlError(
            f"{place}: {len(fields)} fields, but the first line lists {len(columns)}; correct the line"
        )
    row = dict(zip(columns, (field.strip() for field in fields), strict=True))
    for column in ("utterance", "speaker", "file"):
        if not row[column]:
            raise SamlError(f"{place}: the {column} is empty; fill it in")
    inside = posixpath.normpath(row["file"])
    if posixpath.isabs(inside) or inside == ".." or inside.startswith("../"):
        raise SamlError(f"{place}: the file {row['file']} is outside the corpus folder; move it inside")
    role = row.get("role", "")
    if role not in _ROLES:
        raise SamlError(
            f"{place}: there is no role {role!r}; choose one of {', '.join(filter(None, _ROLES))}"
        )
    return Utterance(row["utterance"], row["speaker"], root / inside, row["text"], _seconds(row, place), role)


def _seconds(row: Mapping[str, str], place: str) -> float | None:
    text = row.get("seconds", "")
    try:
        return float(text) if text else None
    except ValueError:
        raise SamlError(f"{place}: seconds {text!r} is not a number; correct it or leave it empty") from None


def _refuse_duplicates(rows: Iterable[Utterance], manifest: Path) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.utterance in seen:
            raise SamlError(
                f"{manifest}: utterance {row.utterance} is listed twice; give each utterance its own id"
            )
        seen.add(row.utterance)


def assign_roles(rows: list[Utterance], roles: Mapping[str, list[str]]) -> list[Utterance]:
    """Apply the config's lists: a role that is listed there has these speakers and no others."""
    assigned: dict[str, str] = {}
    speakers = {row.speaker for row in rows}
    for role, listed_speakers in roles.items():
        if role not in POOLS:
            raise SamlError(f"corpus.folder.roles: there is no role {role!r}; choose {', '.join(POOLS)}")
        for speaker in listed_speakers or []:
            if speaker not in speakers:
                raise SamlError(f"corpus.folder.roles.{role}: speaker {speaker} has no utterances; remove it")
            if assigned.setdefault(speaker, role) != role:
                raise SamlError(
                    f"corpus.folder.roles: speaker {speaker} is listed in {assigned[speaker]} and {role}; "
                    "remove it from one of them"
                )
    listed = {role for role, listed_speakers in roles.items() if listed_speakers is not None}
    rows = [
        replace(row, role=assigned.get(row.speaker, "pool" if row.role in listed else row.role))
        for row in rows
    ]
    _refuse_two_roles(rows)
    return rows


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
                supervision = _supervision(row, recording, "train")
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


def _converted(row: Utterance, audio: Path) -> Path:
    return audio / folder_name(row.speaker) / f"{folder_name(row.utterance)}.flac"


def _supervision(row: Utterance, recording: Recording, part: str | None) -> SupervisionSegment:
    custom = {"role": row.role or "pool"} | ({"part": part} if part else {})
    return SupervisionSegment(
        id=row.utterance,
        recording_id=recording.id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        text=row.text,
        speaker=row.speaker,
        custom=custom,
    )
