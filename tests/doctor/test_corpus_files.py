"""What `saml doctor` says of corpora that come in parts: LibriSpeech and TED-LIUM."""

from pathlib import Path
from typing import Any

import pytest

from saml.config.load import load
from saml.doctor.diagnosis import corpus
from saml.doctor.machine import Line
from saml.runtime.errors import SamlError

ROOT = Path(__file__).parents[2]
PARTS = {
    "train-clean-100": [*range(2000, 2061), 19, 26, 39, 78, 83, 87, 89, 118, 163, 196],
    "train-clean-360": [115, 210, 2368, 3389, 3615, 479, 492, 525, 6553, 829, 14, 16, 17, 100],
}


def configuration(name: str, root: Path) -> dict[str, Any]:
    config = load([ROOT / "config/config.yaml", ROOT / f"config/{name}.yaml"])
    config["corpus"][config["corpus"]["name"]]["root"] = str(root)
    return config


def findings(config: dict[str, Any], status: str) -> list[str]:
    return [line.finding for line in corpus(config) if line.status == status]


def write_speaker(folder: Path, utterances: int = 10) -> None:
    """A speaker's chapter 1. No file holds audio: none may be decoded."""
    chapter = folder / "1"
    chapter.mkdir(parents=True)
    names = [f"{folder.name}-1-{number:04d}" for number in range(utterances)]
    (chapter / f"{folder.name}-1.trans.txt").write_text("".join(f"{name} WORDS\n" for name in names))
    for name in names:
        (chapter / f"{name}.flac").write_bytes(b"no audio")


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    for part, speakers in PARTS.items():
        for speaker in speakers:
            write_speaker(root / part / str(speaker))
    return root


def test_roles_are_counted(librispeech: Path) -> None:
    """All 71 speakers of the first part have a role; ten of the second are target, four tuning speakers."""
    (line,) = corpus(configuration("librispeech-conformer", librispeech))
    assert line == Line(
        "ok",
        "corpus",
        f"850 utterances of 85 speakers in {librispeech}: 11 base, 40 pretrain, 20 heldout, 10 target",
    )


def test_a_target_speaker_who_is_not_there(librispeech: Path) -> None:
    (librispeech / "train-clean-360/115").rename(librispeech / "115")
    config = configuration("librispeech-whisper", librispeech)
    assert findings(config, "fail")[0].startswith("speaker 115 is not in train-clean-360")


def test_a_tuning_speaker_who_is_not_there_is_a_warning(librispeech: Path) -> None:
    (librispeech / "train-clean-360/17").rename(librispeech / "17")
    (warning,) = findings(configuration("librispeech-whisper", librispeech), "warn")
    assert warning.startswith("speaker 17 is not in train-clean-360")


def test_a_target_speaker_of_two_utterances_cannot_be_split(librispeech: Path) -> None:
    """2 : 1 : 2 of two utterances are one, none and one."""
    (librispeech / "train-clean-360/115").rename(librispeech / "115")
    write_speaker(librispeech / "train-clean-360/115", utterances=2)
    (failure,) = findings(configuration("librispeech-conformer", librispeech), "fail")
    assert failure.startswith("speaker 115 has 2 utterances: partition.scheme contiguous leaves dev empty")


def test_a_speaker_whose_transcript_is_missing(librispeech: Path) -> None:
    (librispeech / "train-clean-100/19/1/19-1.trans.txt").unlink()
    with pytest.raises(SamlError, match="LibriSpeech/train-clean-100/19: there is no transcript"):
        list(corpus(configuration("librispeech-conformer", librispeech)))


def test_missing_and_empty_audio(librispeech: Path) -> None:
    (librispeech / "train-clean-100/19/1/19-1-0003.flac").unlink()
    (librispeech / "train-clean-360/115/1/115-1-0001.flac").write_bytes(b"")
    config = configuration("librispeech-conformer", librispeech)
    assert findings(config, "fail") == [
        f"1 file is missing, the first: {librispeech}/train-clean-100/19/1/19-1-0003.flac",
        f"1 file is empty, the first: {librispeech}/train-clean-360/115/1/115-1-0001.flac",
    ]


def test_an_initial_speaker_without_the_role(librispeech: Path) -> None:
    config = configuration("librispeech-conformer", librispeech)
    pretrain = config["corpus"]["librispeech"]["roles"]["pretrain"]["named"]
    config["initial_speakers"] = [*pretrain[:9], "115"]
    (failure,) = findings(config, "fail")
    assert failure.startswith("arms.saml: initial_speakers: '115' has no training utterance")


def test_talks_are_counted_by_person(tmp_path: Path) -> None:
    config = configuration("tedlium3-conformer", tmp_path)
    own = config["corpus"]["tedlium3"]
    talks_of = {
        "train": [*config["target_speakers"], "AlGore_2006", *(f"P{number}_2001" for number in range(700))],
        "dev": config["tuning"]["speakers"],
        "test": ["DanBarber_2010", "DanBarber_2010_S103"],
    }
    for part, talks in talks_of.items():
        folder = tmp_path / "legacy" / part
        (folder / "stm").mkdir(parents=True)
        (folder / "sph").mkdir()
        for talk in talks:
            lines = [f"{talk} 1 {talk} {second}.0 {second}.9 <o> words\n" for second in range(10)]
            (folder / "stm" / f"{talk}.stm").write_text("".join(lines))
            (folder / "sph" / f"{talk}.sph").write_bytes(b"no audio")
    (line,) = corpus(config)
    assert line.finding.endswith(": 600 base, 100 pretrain, 2 heldout, 16 target")
    own["roles"]["base"]["drawn"] = 601  # the other talk of a tuning speaker is nobody's
    with pytest.raises(SamlError, match="601 are needed, and 600 remain"):
        list(corpus(config))
