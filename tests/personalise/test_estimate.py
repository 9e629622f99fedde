"""How much work is announced: counted by hand for a small personalisation."""

import json
from pathlib import Path
from typing import Any

import pytest

from saml.config.load import load
from saml.corpora.splits import split_for_use
from saml.personalise import estimate
from saml.personalise.bases import DEFAULTS, WHISPER
from saml.personalise.estimate import Pace, Work, adapted_work, expected_seconds, in_words, unadapted_work
from saml.personalise.resume import Step

NAMES = [f"{index:02}" for index in range(10)]
FOLDS = 5


@pytest.fixture
def config() -> dict[str, Any]:
    config = load([DEFAULTS, WHISPER])
    config["partition"] |= {"folds": FOLDS, "seed": 1}
    return config | {"run_arms": ["fp32", "nf4", "pqm"], "target_speakers": ["ann"]}


@pytest.fixture
def out(tmp_path: Path, config: dict[str, Any]) -> Path:
    """The splits of ten recordings: in each fold two are tested, two are dev and six train."""
    folder = tmp_path / "data/speakers/ann"
    folder.mkdir(parents=True)
    folds = [
        {"test": NAMES[first : first + 2], "dev": NAMES[first - 2 :][:2], "train": ["x"] * 6}
        for first in range(0, 10, 2)
    ]
    (folder / "splits.json").write_text(json.dumps({"folds": folds}))
    use = split_for_use("ann", NAMES, config["partition"])
    (folder / "use.json").write_text(json.dumps(use))
    return tmp_path


def test_all_the_work_is_counted(config: dict[str, Any], out: Path) -> None:
    # Two models without an adapter; the labels are what one of them writes.
    assert unadapted_work(config, out, out, "ann") == Work(whole=2 * 10)
    # Five epochs of 5 x 6 and of 8; dev parts before the first and after each.
    wanted = Work(short=10, trained=5 * (5 * 6 + 8), scored=6 * (5 * 2 + 2))
    assert adapted_work(config, out, out, "ann", "pqm") == wanted


def test_labels_cost_a_transcription_without_an_arm_in_full_precision(
    config: dict[str, Any], out: Path
) -> None:
    config["run_arms"] = ["nf4", "pqm"]
    assert unadapted_work(config, out, out, "ann") == Work(whole=10 + 10)


def test_what_is_done_takes_no_time(
    config: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Step, "is_done", lambda self: "nf4" in str(self.output))
    assert unadapted_work(config, out, out, "ann") == Work(whole=10)
    monkeypatch.setattr(Step, "is_done", lambda self: True)
    monkeypatch.setattr(estimate, "timed", None)  # nothing is timed for it
    assert expected_seconds(config, out, out) == 0


def test_time_is_the_sum_over_recordings() -> None:
    pace = Pace(whole=2.0, short=0.5, trained=0.3)
    assert pace.seconds(Work(whole=10, short=4, trained=10, scored=30)) == pytest.approx(20 + 2 + 3 + 3)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4, "1 minute"), (89, "1 minute"), (170, "3 minutes"), (5000, "83 minutes"), (9000, "2 hours")],
)
def test_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == f"about {words}"
