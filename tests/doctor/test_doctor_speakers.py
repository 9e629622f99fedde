"""What `saml doctor` says of a folder of recordings: all that its first jobs would fail on, no more."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from saml.doctor.diagnosis import corpus
from saml.doctor.machine import Line

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))

# Speakers and their numbers of utterances. By default there are six experts and five folds.
ROLES = {
    "base": {"ben": 4, "bob": 4},
    "pretrain": {name: 3 for name in ("pam", "pat", "paz", "peg", "pia", "pip")},
    "heldout": {"hal": 2},
    "": {"tom": 5, "tim": 6, "uma": 7, "nobody": 1},
}

Change = Callable[[dict[str, Any], dict[str, dict[str, int]]], None]


def rows_of(roles: dict[str, dict[str, int]]) -> list[tuple[str, ...]]:
    """Utterance, speaker, file, text, role."""
    return [
        (f"{speaker}-{number}", speaker, f"{speaker}{number}.wav", "one two", role)
        for role, speakers in roles.items()
        for speaker, count in speakers.items()
        for number in range(count)
    ]


def write(folder: Path, rows: list[tuple[str, ...]]) -> dict[str, Any]:
    """A folder corpus whose files hold no audio, because none may be decoded, and its configuration."""
    header = ("utterance", "speaker", "file", "text", "role")
    text = "".join("\t".join(row) + "\n" for row in (header, *rows))
    (folder / "manifest.tsv").write_text(text, encoding="utf-8")
    for row in rows:
        (folder / row[2]).write_bytes(b"no audio")
    config: dict[str, Any] = copy.deepcopy(DEFAULT)
    config["corpus"]["name"] = "folder"
    config["corpus"]["folder"]["root"] = str(folder)
    config["partition"] |= {"scheme": "folds", "folds": 5, "enrolment": None}
    config["target_speakers"] = ["tom", "tim"]
    config["tuning"]["speakers"] = ["uma"]
    return config


def findings(config: dict[str, Any], status: str) -> list[str]:
    return [line.finding for line in corpus(config) if line.status == status]


def test_a_corpus_that_is_complete(tmp_path: Path) -> None:
    (line,) = corpus(write(tmp_path, rows_of(ROLES)))
    counts = "2 base, 6 pretrain, 1 heldout, 2 target"
    utterances = 8 + 18 + 2 + 5 + 6 + 7 + 1
    assert line == Line("ok", "corpus", f"{utterances} utterances of 13 speakers in {tmp_path}: {counts}")


@pytest.mark.parametrize("role", ["base", "pretrain", "heldout"])
def test_a_role_that_nobody_has(tmp_path: Path, role: str) -> None:
    config = write(tmp_path, rows_of({**ROLES, role: {}}))
    (failure,) = findings(config, "fail")
    assert failure.startswith(f"no speaker has the role {role} in corpus folder; give it to speakers in ")


def test_roles_that_are_not_needed(tmp_path: Path) -> None:
    """Base where a checkpoint is given; pretrain where no arm that runs is pre-trained."""
    config = write(tmp_path, rows_of({**ROLES, "base": {}, "pretrain": {}}))
    config["model"] |= {"family": "whisper"}
    config["model"]["whisper"]["checkpoint"] = "somewhere"
    config["run_arms"] = ["fp32", "nf4-lora"]
    assert findings(config, "fail") == []


def test_fewer_speakers_of_pretraining_than_experts(tmp_path: Path) -> None:
    config = write(tmp_path, rows_of({**ROLES, "pretrain": {"pam": 9}}))
    config["run_arms"] = ["pqm", "saml", "saml-e2"]
    assert [failure.partition(" speakers")[0] for failure in findings(config, "fail")] == [
        "arms.saml: role pretrain: 1",
        "arms.saml-e2: role pretrain: 1",
    ]


def test_a_speaker_whose_only_utterance_is_of_the_dev_part_cannot_start_an_expert(tmp_path: Path) -> None:
    """Six speakers of one utterance: the dev part takes one of the six."""
    pretrain = dict.fromkeys(ROLES["pretrain"], 1)
    (failure,) = findings(write(tmp_path, rows_of({**ROLES, "pretrain": pretrain})), "fail")
    assert failure.startswith("arms.saml: role pretrain: 5 speakers with training utterances are fewer")


def test_a_role_of_one_utterance_has_no_dev_part(tmp_path: Path) -> None:
    (failure,) = findings(write(tmp_path, rows_of({**ROLES, "base": {"ben": 1}})), "fail")
    assert failure.startswith("dev_share 0.1 of the 1 utterances of role base leaves no training utterance")


@pytest.mark.parametrize(
    ("speakers", "says"),
    [
        (["tom", "nobody"], "speaker nobody has 1 utterances, fewer than partition.folds (5)"),
        (["anna"], "speaker anna has no utterances in the corpus"),
        (["ben"], "speaker ben has the role base and cannot be a target"),
    ],
)
def test_speakers_who_cannot_be_adapted_to(tmp_path: Path, speakers: list[str], says: str) -> None:
    """Target speakers are failures; tuning speakers warnings, because `snakemake all` does without them."""
    config = write(tmp_path, rows_of(ROLES))
    (failure,) = findings({**config, "target_speakers": speakers}, "fail")
    assert failure.startswith(says)
    tuning = {**config, "tuning": {**config["tuning"], "speakers": speakers}}
    (warning,) = findings({**tuning, "target_speakers": ["tim"]}, "warn")
    assert warning.startswith(says)
    assert findings({**tuning, "target_speakers": ["tim"]}, "fail") == []


def test_missing_files_and_whom_they_leave_with_too_little(tmp_path: Path) -> None:
    """tom has five utterances, five folds, and then four files. Dropped utterances leave as many."""
    config = write(tmp_path, rows_of(ROLES))
    (tmp_path / "tom1.wav").unlink()
    (tmp_path / "nobody0.wav").write_bytes(b"")
    files = [
        f"1 file is missing, the first: {tmp_path}/tom1.wav",
        f"1 file is empty, the first: {tmp_path}/nobody0.wav",
    ]
    too_few = "speaker tom has 4 utterances, fewer than partition.folds (5)"
    failures = findings(config, "fail")
    assert failures[:2] == files and failures[2].startswith(too_few)
    config["corpus"]["on_bad_utterance"] = "drop"
    assert findings(config, "warn") == files
    assert [failure.startswith(too_few) for failure in findings(config, "fail")] == [True]


def test_files_that_are_none(tmp_path: Path) -> None:
    """A folder, a name that no file system takes, a link that leads nowhere."""
    rows = rows_of(ROLES)
    long = "x" * 300
    rows[0] = (*rows[0][:2], long, *rows[0][3:])
    config = write(tmp_path, [row for row in rows if row[2] != long])
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text(manifest.read_text(encoding="utf-8") + "\t".join(rows[0]) + "\n", encoding="utf-8")
    for name in ("bob1.wav", "tim1.wav"):
        (tmp_path / name).unlink()
    (tmp_path / "bob1.wav").mkdir()
    (tmp_path / "tim1.wav").symlink_to(tmp_path / "nowhere")
    assert sorted(findings(config, "fail")) == [
        f"1 file is missing, the first: {tmp_path}/tim1.wav",
        f"1 file is no regular file, the first: {tmp_path}/bob1.wav",
        f"1 file is not readable (File name too long), the first: {tmp_path}/{long}",
    ]


def test_transcripts_that_the_model_cannot_learn(tmp_path: Path) -> None:
    """Of speakers who are used: `nobody` is not."""
    texts = {"ben-0": "", "tim-2": "café", "nobody-0": "naïve"}
    rows = [(*row[:3], texts.get(row[0], row[3]), row[4]) for row in rows_of(ROLES)]
    first, second = findings(write(tmp_path, rows), "fail")
    start = "1 utterance cannot be used, the first:"
    assert first == f"{start} ben-0 of speaker ben ({tmp_path}/ben0.wav): the transcript is empty"
    assert second.startswith(f"{start} tim-2 of speaker tim ({tmp_path}/tim2.wav): the tokeniser lacks 'é'")


def test_synthetic_speech_without_transcripts(tmp_path: Path) -> None:
    config = write(tmp_path, rows_of({**ROLES, "base": {}}))
    config["corpus"]["folder"]["synthetic_speech"]["voices"] = 2
    assert any("there are no transcripts of role base" in one for one in findings(config, "fail"))
