"""The workflow in a folder of its own, with a `saml` on PATH that only touches files.

What is tested here is the graph: which jobs run when, and with which command lines. The stand-in makes every
path under results/ that its command line names and that is not there yet; Snakemake has removed the outputs
of a job before it starts, so these are exactly the outputs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import saml
from saml.config.load import load

ROOT = Path(__file__).resolve().parents[2]
SPEAKERS = ["de_f2_r155_p55", "odd' name/$(touch hurt) é"]
ODD_FOLDER = "odd%27%20name%2F%24%28touch%20hurt%29%20%C3%A9"

# Snakemake ends so long after its last job (profiles/default).
HERE = ["--max-jobs-per-timespan", "100/1s"]

STAND_IN = r"""#!/bin/bash
if [[ $1 == progress ]]; then  # goes on as long as Snakemake lets it; no job
    echo $$ "$@" >> watchers
    while kill -0 "$SAML_PARENT" 2> /dev/null; do sleep 0.2; done
    exit
fi
{ flock 9; printf '%s\x1f' "$@" >&9; printf '\x1e' >&9; } 9>> calls  # jobs run side by side
if [[ -n $FAIL && "$*" == *"$FAIL"* ]]; then echo "saml: no luck today"; exit 1; fi
make() {
    if [[ $1 != results/*/* || $1 == */.work/* || -e $1 ]]; then return; fi
    if [[ ${1##*/} != *.* ]]; then mkdir -p "$1"; return; fi
    mkdir -p "${1%/*}"
    echo "{\"kind\": \"run\", \"saml\": \"$VERSION\", \"time\": $EPOCHREALTIME}" > "$1"
}
of_speakers() {  # a path of a job of several speakers, for each of them
    if [[ $1 != *"{speaker}"* ]]; then make "$1"; return; fi
    for folder in $FOLDERS; do make "${1//"{speaker}"/$folder}"; done
}
if [[ "$*" == *"{speaker}"* ]]; then FOLDERS=$(python3 - "$@" << 'END'
import sys
from urllib.parse import quote
after = sys.argv[sys.argv.index("--speakers") + 1 :] if "--speakers" in sys.argv else []
ends = [index for index, word in enumerate(after) if word.startswith("--")]
print(*(quote(speaker, safe="") for speaker in after[: ends[0] if ends else None]))
END
); fi
for argument in "$@"; do of_speakers "$argument"; done
if [[ $1 == train-base || $1 == import-base ]]; then make results/test/models/base/tokenizer.json; fi
if [[ $1 == quantise ]]; then make results/test/models/nf4/tokenizer.json; fi
if [[ $1 == figures ]]; then
    for name in wer_by_{arm,size,speaker} before_after reductions error_types loss_curves sizes; do
        make results/test/figures/$name.svg
        make results/test/figures/$name.png
    done
fi
transcripts() {
    while [[ $1 != --arms ]]; do shift; done
    for arm in $(python3 -c 'import sys, yaml; print(*yaml.safe_load(sys.argv[1]))' "$2"); do
        for folder in results/test/transcripts/$arm/{released,whisper}; do
            for part in test heldout; do
                for name in {ref,hyp}-$part.trn {recogs,errs}-$part.txt; do make $folder/$name; done
            done
        done
    done
}
page() { for name in "$@"; do make results/test/pages/$name.html; done; }
if [[ $1 == tabulate ]]; then page summary comparisons speakers counts errors sizes published; fi
if [[ $1 == transcripts ]]; then transcripts "$@"; fi
speaker_pages() {
    while [[ $1 != --speakers ]]; do shift; done
    while [[ $2 != --* && $# -gt 1 ]]; do
        page "speakers/$(python3 -c 'import sys, urllib.parse as p; print(p.quote(sys.argv[1], ""))' "$2")"
        shift
    done
}
if [[ $1 == index ]]; then speaker_pages "$@"; fi
if [[ $1 == routing ]]; then
    page routers routing
    make results/test/figures/routing.svg
    make results/test/figures/routing.png
fi
if [[ " enrolment ablation pruning embeddings " == *" $1 "* ]]; then
    page $1
    make results/test/figures/$1.svg
    make results/test/figures/$1.png
fi
"""


@dataclass(frozen=True)
class Outcome:
    """What one snakemake came to: exit status, everything it printed, jobs by rule, one message a job."""

    status: int
    text: str

    @property
    def jobs(self) -> dict[str, int]:
        """Jobs by rule, from the table that Snakemake prints; without the target `all`."""
        table = re.findall(r"^([a-z0-9_]+) +(\d+)$", self.text, re.MULTILINE)
        return {rule: int(count) for rule, count in table if rule not in ("total", "all")}

    @property
    def messages(self) -> list[str]:
        return re.findall(r"^Job \d+: (.*)$", self.text, re.MULTILINE)


class Project:
    """A folder with a configuration, where `snakemake` finds the workflow and the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def configure(self, **changes: Any) -> None:
        """Write config/config.yaml: the default configuration with two target speakers, and `changes`."""
        config = load([ROOT / "config" / "config.yaml"])
        config.update(experiment="test", target_speakers=SPEAKERS)
        for key, value in changes.items():
            section = config
            *path, last = key.split("__")
            for name in path:
                section = section[name]
            section[last] = value
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def snakemake(self, *arguments: str, **environment: str) -> Outcome:
        """Run the workflow; `environment` is added to a small one."""
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(ROOT / "Snakefile"),
            *HERE,
            *arguments,
        ]
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {"PYTHONPATH": str(ROOT), "VERSION": saml.__version__, "FAIL": "", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **variables, "PATH": path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Outcome(done.returncode, done.stdout)

    def dry_run(self, *arguments: str) -> Outcome:
        """What would run, and nothing more."""
        return self.snakemake("--dry-run", "--cores", "2", *arguments)

    def calls(self) -> list[list[str]]:
        """The command lines that the stand-in was given, without its own name."""
        path = self.folder / "calls"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [call.split("\x1f")[:-1] for call in text.split("\x1e")[:-1]]

    def times(self) -> dict[str, int]:
        """When each result was written, in nanoseconds; logs and benchmarks left out."""
        results = self.folder / "results" / "test"
        files = (path for path in results.rglob("*") if path.is_file())
        names = {path.relative_to(results).as_posix(): path.stat().st_mtime_ns for path in files}
        return {name: time for name, time in names.items() if not name.startswith(("logs/", "benchmarks/"))}

    def copy(self, folder: Path) -> "Project":
        """The same project at another place, times included; what the stand-in was given is forgotten."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        (folder / "calls").unlink(missing_ok=True)
        return Project(folder)


def option(call: list[str], name: str) -> str | None:
    """The value of an option of a call; None where it is absent, or stands without a value."""
    values = options(call, name)
    return values[0] if values else None


def options(call: list[str], name: str) -> list[str]:
    """The values of an option of a call."""
    if f"--{name}" not in call:
        return []
    after = call[call.index(f"--{name}") + 1 :]
    ends = [index for index, argument in enumerate(after) if argument.startswith("--")]
    return after[: ends[0]] if ends else after


def settings_of(call: list[str]) -> dict[str, Any]:
    """The settings that a stage was given."""
    text = option(call, "settings")
    assert text is not None
    settings = json.loads(text) if '"' in text else yaml.safe_load(text)
    assert isinstance(settings, dict)
    return settings


def make_project(folder: Path) -> Project:
    """A project in `folder` in which nothing has run."""
    project = Project(folder)
    project.configure()
    stand_in = folder / "bin" / "saml"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN, encoding="utf-8")
    stand_in.chmod(0o755)
    return project
