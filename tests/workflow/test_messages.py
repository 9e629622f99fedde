"""What a person reads who made a mistake, or goes on with old results: one line that names the thing."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from saml.config.load import load
from saml.runtime.errors import SamlError
from tests.workflow.workflow_project import ROOT, SPEAKERS, Outcome, Project


def test_a_wrong_configuration_is_one_line(finished: Project) -> None:
    before = finished.times()
    finished.configure(adaptation__epochs="ten")
    outcome = finished.snakemake("--cores", "2", "all")
    assert outcome.status != 0
    assert _said(outcome) == ["config: adaptation.epochs: 'ten' is not of type 'integer'"]
    assert finished.times() == before


def test_an_id_that_yaml_converts_is_one_line(fresh: Project) -> None:
    """As it is spelled in the file, in whichever file it is."""
    (fresh.folder / "mine.yaml").write_text("target_speakers: [0024]\n", encoding="utf-8")
    outcome = fresh.dry_run("--configfile", "mine.yaml", "--", "all")
    assert outcome.status != 0
    line = 'config: target_speakers[0]: 0024 was read as the number 20; put it in quotes: "0024"'
    assert _said(outcome)[-1] == line and "Traceback" not in outcome.text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file or directory: 'mine.yaml'"),
        ("", "Config file must be given as JSON or YAML with keys at top level."),
        ("seeds: [1", "Config file is not valid JSON or YAML."),
    ],
)
def test_what_snakemake_says_of_a_file_that_is_no_configuration(
    fresh: Project, content: str | None, says: str
) -> None:
    """Before it reads the workflow. docs/when-things-go-wrong.md has it, and saml says it in one line."""
    path = fresh.folder / "mine.yaml"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert says in fresh.dry_run("--configfile", "mine.yaml").text
    with pytest.raises(SamlError, match=r"mine\.yaml: (cannot read|not valid YAML|a configuration must)"):
        load([path])


def test_an_unknown_speaker_is_one_line(finished: Project) -> None:
    """In a run that is not dry too, and without leaving a lock behind."""
    outcome = finished.snakemake("--cores", "2", "results/test/speakers/sp%20x/saml/seed1/hypotheses.jsonl")
    assert outcome.status != 0
    line = "'sp x' is not one of target_speakers: add it to the configuration"
    assert _said(outcome)[-1] == line and "Traceback" not in outcome.text
    assert not list((finished.folder / ".snakemake" / "locks").iterdir())


def test_results_of_another_version_are_named_and_kept(finished: Project) -> None:
    record = finished.folder / f"results/test/speakers/{SPEAKERS[0]}/saml/seed1/run.jsonl"
    made = record.stat().st_mtime_ns
    record.write_text('{"kind": "run", "saml": "0.0.1"}\n', encoding="utf-8")
    os.utime(record, ns=(made, made))
    outcome = finished.dry_run("all")
    assert "results/test has results of saml 0.0.1 (1, the first in results/test/speakers/" in outcome.text
    assert outcome.jobs == {}


@pytest.mark.parametrize("failing", ["", "quantise"])
def test_a_run_reports_its_progress_until_it_ends(fresh: Project, failing: str) -> None:
    """One process for the whole run, which is gone afterwards, whether the run succeeds or not."""
    outcome = fresh.snakemake("--cores", "2", "results/test/models/nf4/model.safetensors", FAIL=failing)
    assert (outcome.status != 0) == bool(failing)
    (line,) = (fresh.folder / "watchers").read_text(encoding="utf-8").splitlines()
    process, *arguments = line.split()
    assert arguments == ["progress", "results/test", "--follow"]
    assert not Path("/proc", process).exists()


def test_a_dry_run_reports_no_progress(fresh: Project) -> None:
    fresh.dry_run("all")
    assert not (fresh.folder / "watchers").exists()


@pytest.mark.parametrize(
    ("name", "speakers", "base"),
    [
        ("config/an4-conformer.yaml", 24, {"train_base": 1, "prepare_pool": 3}),
        ("config/an4-whisper.yaml", 24, {"import_base": 1, "prepare_pool": 2}),
        ("config/spoken_commands-whisper.yaml", 7, {"train_base": 1, "prepare_pool": 3}),
        ("tests/configurations/tiny.yaml", 2, {"train_base": 1, "prepare_pool": 3}),
    ],
)
def test_the_projects_own_configurations_give_a_graph(
    fresh: Project, name: str, speakers: int, base: dict[str, int]
) -> None:
    """Without any audio or checkpoint at hand, and without a word about what to make. The base model is
    trained or taken over, never both.
    """
    shutil.copy(ROOT / "config" / "config.yaml", fresh.folder / "config" / "config.yaml")
    outcome = fresh.dry_run("--configfile", str(ROOT / name))
    assert outcome.status == 0, outcome.text
    about_base = ("train_base", "import_base", "prepare_pool")
    assert {rule: count for rule, count in outcome.jobs.items() if rule in about_base} == base
    assert outcome.jobs["prepare_speaker"] == speakers
    assert outcome.jobs["adapt"] == 3 * speakers and outcome.jobs["decode"] == 5 * speakers


def test_the_profile_is_found_from_the_root() -> None:
    """Snakemake looks for `profiles/default` beside the Snakefile, which is the one in the root."""
    profile = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text(encoding="utf-8"))
    assert profile["rerun-incomplete"] is True
    assert (ROOT / "profiles").resolve() == Path(ROOT / "workflow" / "profiles").resolve()


def _said(outcome: Outcome) -> list[str]:
    """The lines printed, without what Snakemake says about itself before it reads the workflow."""
    noise = ("Using workflow specific profile", "Assuming unrestricted", "Building DAG")
    return [line for line in outcome.text.splitlines() if line and not line.startswith(noise)]
