"""Several speakers in the same batches, in one job: nothing that was finished is done twice."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from saml.chunks.each import MARK, each
from saml.chunks.together import together
from saml.runtime.errors import Diverged, Interrupted, SamlError

SPEAKERS = ["u", "v", "w"]


class Crowd:
    """A stage of a file for each speaker, done for many at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[list[str]] = []
        self.failing: list[str] = []
        for speaker in SPEAKERS:
            (folder / f"{speaker}.in").write_text(speaker)

    def out(self, speaker: str) -> Path:
        return self.folder / speaker / "out"

    def parse(self, arguments: list[str]) -> tuple[dict[str, Any], Callable[[dict[str, Any]], None]]:
        name = arguments[-1].removeprefix("--speaker=")
        options = {"name": name, "input": self.folder / f"{name}.in", "output": self.out(name)}
        return options, lambda own: self._run([own["name"]])

    def _run(self, speakers: Sequence[str]) -> None:
        self.ran.append(list(speakers))
        for speaker in speakers:
            if speaker not in self.failing:
                self.out(speaker).parent.mkdir(exist_ok=True)
                self.out(speaker).write_text(f"{speaker}, run {len(self.ran)}")
        if self.failing:
            raise Diverged(f"{self.failing} diverged")

    @property
    def options(self) -> dict[str, Any]:
        return {
            "speakers": SPEAKERS,
            "arguments": ["stage", f"--speaker={MARK}"],
            "outputs": [f"{self.folder}/{MARK}/out"],
            "keep": f"{self.folder}/keep/{MARK}",
            "parse": self.parse,
        }

    def together(self, **changes: Any) -> None:
        together(**{**self.options, "run": self._run, **changes})

    def as_snakemake_does(self) -> None:
        """Remove the outputs of a job that failed."""
        for speaker in SPEAKERS:
            self.out(speaker).unlink(missing_ok=True)


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    return Crowd(tmp_path)


def test_who_is_finished_is_taken_over(crowd: Crowd, capsys: pytest.CaptureFixture[str]) -> None:
    crowd.failing = ["v"]
    with pytest.raises(Diverged):
        crowd.together()
    crowd.as_snakemake_does()
    crowd.failing = []
    crowd.together()
    assert crowd.ran == [SPEAKERS, ["v"]]
    assert [crowd.out(speaker).read_text()[-1] for speaker in SPEAKERS] == ["1", "2", "1"]
    assert capsys.readouterr().err == "speaker 'u': done before\nspeaker 'w': done before\n"
    assert not list((crowd.folder / "keep").iterdir())


def test_what_is_kept_counts_for_the_same_inputs_and_the_same_command(crowd: Crowd) -> None:
    crowd.failing = ["v"]
    with pytest.raises(SamlError):
        crowd.together()
    crowd.failing = []
    (crowd.folder / "u.in").write_text("changed")
    crowd.together()
    assert crowd.ran[1:] == [["u", "v"]]
    crowd.failing = ["v"]
    with pytest.raises(SamlError):
        crowd.together()
    crowd.failing = []
    each(**crowd.options)
    assert crowd.ran[3:] == [["u"], ["v"], ["w"]]


def test_what_was_there_before_is_not_taken_for_finished(crowd: Crowd) -> None:
    def is_stopped(speakers: Sequence[str]) -> None:
        raise Interrupted("stopped")

    crowd.together()
    with pytest.raises(Interrupted):
        crowd.together(run=is_stopped)
    assert not crowd.out("u").exists()
    crowd.together()
    assert crowd.ran == [SPEAKERS, SPEAKERS]
