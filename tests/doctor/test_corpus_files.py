"""What `saml doctor` says of a corpus that comes in parts."""

from pathlib import Path

import pytest

from saml.config.load import load
from saml.doctor.diagnosis import corpus
from saml.runtime.errors import SamlError

ROOT = Path(__file__).parents[2]


def configuration(name, root):
    config = load([ROOT / "config/config.yaml", ROOT / f"config/{name}.yaml"])
    config["corpus"][config["corpus"]["name"]]["root"] = str(root)
    return config


@pytest.fixture
def librispeech(tmp_path):
    """Names of folders are all that is looked at."""
    for part, speakers in {
        "train-clean-100": [*range(200, 261), 19, 26, 39, 78, 83, 87, 89, 118, 163, 196],
        "train-clean-360": [115, 210, 2368, 3389, 3615, 479, 492, 525, 6553, 829, 14, 16, 17, 100],
    }.items():
        for speaker in speakers:
            (tmp_path / "LibriSpeech" / part / str(speaker)).mkdir(parents=True)
    return tmp_path


def test_roles_are_counted(librispeech):
    (line,) = corpus(configuration("librispeech-conformer", librispeech))
    assert line.status == "ok"
    assert line.finding.startswith("speakers: 11 base, 40 pretrain, 20 heldout, 10 target")


def test_a_target_or_tuning_speaker_who_is_not_there(librispeech):
    (librispeech / "LibriSpeech/train-clean-360/17").rmdir()
    with pytest.raises(SamlError, match="speaker 17 is not in train-clean-360"):
        list(corpus(configuration("librispeech-whisper", librispeech)))


def test_an_initial_speaker_without_the_role(librispeech):
    config = configuration("librispeech-conformer", librispeech)
    config["initial_speakers"] = ["115"]
    _, line = corpus(config)
    assert (line.status, line.finding) == ("fail", "initial speaker '115' does not have the role pretrain")


def test_talks_are_counted_by_person(tmp_path):
    config = configuration("tedlium3-conformer", tmp_path)
    own = config["corpus"]["tedlium3"]
    for part, talks in {
        "train": [*config["target_speakers"], "AlGore_2006", *(f"P{number}_2001" for number in range(700))],
        "dev": config["tuning"]["speakers"],
        "test": ["DanBarber_2010", "DanBarber_2010_S103"],
    }.items():
        folder = tmp_path / "legacy" / part / "stm"
        folder.mkdir(parents=True)
        for talk in talks:
            (folder / f"{talk}.stm").touch()
    (line,) = corpus(config)
    assert line.finding.startswith("speakers: 600 base, 100 pretrain, 2 heldout, 16 target")
    own["roles"]["base"]["drawn"] = 601  # the other talk of a tuning speaker is nobody's
    with pytest.raises(SamlError, match="601 are needed, and 600 remain"):
        list(corpus(config))
