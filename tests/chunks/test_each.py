"""One stage for several speakers in one process: the files of processes of their own, nothing lost."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saml.chunks.each import MARK, each, fill, identity
from saml.cli import main as cli
from saml.runtime.errors import Interrupted, SamlError
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM

ROOT = Path(__file__).resolve().parents[2]
SPEAKERS = ["u", "v", "w"]


class Stage:
    """A stage of a file for each speaker: random numbers, and what its input says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.failing: dict[str, Exception | type[BaseException]] = {}
        for speaker in SPEAKERS:
            (folder / f"{speaker}.in").write_text(speaker)

    def parse(self, arguments: list[str]) -> tuple[dict[str, Any], Callable[[dict[str, Any]], None]]:
        name = arguments[-1].removeprefix("--speaker=")
        return {"name": name, "input": self.folder / f"{name}.in", "output": self.out(name)}, self._run

    def out(self, speaker: str) -> Path:
        return self.folder / speaker / "out"

    def _run(self, options: dict[str, Any]) -> None:
        self.ran.append(options["name"])
        if options["name"] in self.failing:
            raise self.failing[options["name"]]
        numbers = [random.random(), np.random.rand(), torch.rand(1).item()]
        options["output"].parent.mkdir(exist_ok=True)
        options["output"].write_text(json.dumps([options["input"].read_text(), *numbers]))

    def each(self) -> None:
        each(
            speakers=SPEAKERS,
            arguments=["stage", f"--speaker={MARK}"],
            outputs=[f"{self.folder}/{MARK}/out"],
            keep=f"{self.folder}/keep/{MARK}",
            parse=self.parse,
        )

    def as_snakemake_does(self) -> None:
        """Remove the outputs of a job that failed."""
        for speaker in SPEAKERS:
            self.out(speaker).unlink(missing_ok=True)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_every_speaker_finds_random_numbers_where_they_began(stage: Stage) -> None:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    stage.each()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    alone = [random.random(), np.random.rand(), torch.rand(1).item()]
    for speaker in SPEAKERS:
        assert json.loads(stage.out(speaker).read_text()) == [speaker, *alone]
    assert not list((stage.folder / "keep").iterdir())


def test_who_fails_is_named_and_the_others_are_kept(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.failing["v"] = SamlError("no luck")
    with pytest.raises(SamlError, match="^speaker 'v': no luck; the other 2 are kept for the next start$"):
        stage.each()
    assert stage.ran == SPEAKERS
    before = {speaker: stage.out(speaker).read_bytes() for speaker in ("u", "w")}
    stage.as_snakemake_does()
    stage.failing.clear()
    stage.each()
    assert stage.ran == [*SPEAKERS, "v"]
    assert {speaker: stage.out(speaker).read_bytes() for speaker in ("u", "w")} == before
    assert "speaker 'u' (1 of 3): done before" in capsys.readouterr().err
    assert not list((stage.folder / "keep").iterdir())


@pytest.mark.parametrize("end", [Interrupted("stopped"), KeyboardInterrupt, ValueError("a defect")])
def test_a_job_that_ends_early_goes_on_where_it_was(stage: Stage, end: Any) -> None:
    stage.failing["w"] = end
    with pytest.raises(end if isinstance(end, type) else type(end)):
        stage.each()
    stage.as_snakemake_does()
    stage.failing.clear()
    stage.each()
    assert stage.ran == [*SPEAKERS, "w"]
    assert all(stage.out(speaker).exists() for speaker in SPEAKERS)


def test_what_was_made_of_something_else_is_made_again(stage: Stage) -> None:
    stage.failing["w"] = SamlError("no luck")
    with pytest.raises(SamlError):
        stage.each()
    stage.failing.clear()
    (stage.folder / "u.in").write_text("changed")
    (stage.folder / "keep/v/0").unlink()
    stage.each()
    assert stage.ran == [*SPEAKERS, *SPEAKERS]
    assert json.loads(stage.out("u").read_text())[0] == "changed"


def test_where_checkpoints_lie_makes_no_other_files(tmp_path: Path) -> None:
    """A job that was stopped may be started again with another place for them, or more of them."""
    (tmp_path / "in").write_text("speech")

    def key(*arguments: str) -> str:
        return identity(["adapt", *arguments], {"input": tmp_path / "in", "output": tmp_path / "out"}, [])

    plain = key("--seed", "1", "--work", "here", "--checkpoint-seconds", "300", "--arm", "saml")
    assert key("--seed", "1", "--work", "there", "--checkpoint-seconds", "5", "--arm", "saml") == plain
    assert key("--seed", "1", "--arm", "saml") == plain
    assert key("--seed", "1", "--work=there", "--checkpoint-seconds=5", "--arm", "saml") == plain
    assert key("--seed", "2", "--work", "here", "--checkpoint-seconds", "300", "--arm", "saml") != plain
    assert key("--seed", "1", "--work", "here", "--checkpoint-seconds", "300", "--arm", "pqm") != plain
    (tmp_path / "in").write_text("other speech")
    os.utime(tmp_path / "in", (1, 1))
    assert key("--seed", "1", "--work", "here", "--checkpoint-seconds", "300", "--arm", "saml") != plain


def test_folders_are_kept_too_and_without_hard_links(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError("not supported")

    def parse(arguments: list[str]) -> Any:
        options, write = stage.parse(arguments)

        def into_folder(options: dict[str, Any]) -> None:
            write(options)
            text = options["output"].read_text()
            options["output"].unlink()
            (options["output"] / "a").mkdir(parents=True)
            (options["output"] / "a/b").write_text(text)

        return options, into_folder

    monkeypatch.setattr("os.link", no_links)
    stage.failing["w"] = SamlError("no luck")
    call = {"speakers": SPEAKERS, "arguments": ["stage", f"--speaker={MARK}"], "parse": parse}
    call |= {"outputs": [f"{stage.folder}/{MARK}/out"], "keep": f"{stage.folder}/keep/{MARK}"}
    with pytest.raises(SamlError):
        each(**call)
    text = (stage.out("u") / "a/b").read_text()
    shutil.rmtree(stage.out("u"))
    stage.failing.clear()
    each(**call)
    assert stage.ran == [*SPEAKERS, "w"] and (stage.out("u") / "a/b").read_text() == text


def test_ids_and_folders_are_told_apart() -> None:
    assert fill(f"--speaker={MARK}", "odd%20name") == "--speaker=odd name"
    assert fill(f"results/{MARK}/x", "odd%20name") == "results/odd%20name/x"


def command(made: Path, folder: Path, speaker: str) -> list[str]:
    """An adaptation to a speaker; speech lies in `folder`, and outputs go there."""
    settings = run.settings("adapters", "adaptation", "partition", arm=SAML_ARM)
    own = folder / speaker
    return [
        *("adapt", "--experiment=test", "--arm=saml", f"--speaker={speaker}", "--seed=1"),
        *(f"--settings={json.dumps(settings)}", f"--weights={made / 'nf4.safetensors'}"),
        *(f"--description={made / 'nf4.json'}", f"--adapter={made / 'saml.safetensors'}"),
        *(f"--adapter-description={made / 'saml.json'}", f"--cuts={own / 'cuts.jsonl.gz'}"),
        *(f"--splits={own / 'splits.json'}", f"--work={own / 'work'}", f"--record={own / 'run.jsonl'}"),
        *(f"--out-adapter={own / 'adapter.safetensors'}", f"--out-description={own / 'adapter.json'}"),
    ]


OUTPUTS = ("adapter.safetensors", "adapter.json", "run.jsonl")


def test_adapters_have_the_bytes_of_processes_of_their_own(made: Path, tmp_path: Path) -> None:
    """The third speaker, after two others, in one process; and alone in another."""
    for speaker in SPEAKERS:
        run.write_pool(tmp_path / speaker, [speaker], ["train"] * 4 + ["dev"] * 2 + ["test"] * 2)
        ids = [f"{speaker}-{index}" for index in range(8)]
        fold = {"train": ids[:4], "dev": ids[4:6], "test": ids[6:]}
        (tmp_path / speaker / "splits.json").write_text(json.dumps({"folds": [fold]}))
    together = ["each", "--speakers", *SPEAKERS, "--keep", f"{tmp_path}/keep/{MARK}", "--outputs"]
    together += [f"{tmp_path}/{MARK}/{name}" for name in OUTPUTS] + ["--", *command(made, tmp_path, MARK)]
    adapters = []
    for arguments in (together, command(made, tmp_path, "w")):
        done = subprocess.run(
            [sys.executable, "-m", "saml.cli.main", *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        adapters.append((tmp_path / "w/adapter.safetensors").read_bytes())
        (tmp_path / "w/adapter.safetensors").unlink()
    assert adapters[0] == adapters[1]
    assert len({(tmp_path / speaker / "adapter.safetensors").read_bytes() for speaker in "uv"}) == 2
    assert json.loads((tmp_path / "v/run.jsonl").read_text().splitlines()[0])["speaker"] == "v"


def test_the_command_says_who_failed(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["each", "--speakers", "x", "y%20z", "--keep", f"{tmp_path}/keep/{MARK}", "--outputs"]
    arguments += [f"{tmp_path}/{MARK}/adapter.json", "--", *command(made, tmp_path, MARK)]
    assert cli.main(arguments) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("saml each: error: speaker 'x': ") and " | speaker 'y z': " in line
    assert str(tmp_path / "y%20z/cuts.jsonl.gz") in line
