"""The configurations for corpora that are not there: their whole graphs can be seen all the same."""

import shutil

import pytest
import yaml

from tests.workflow.workflow_project import ROOT, Project, option

# Target speakers and whether the base model is given, as the paper has them.
CONFIGURATIONS = {
    "librispeech-whisper": (10, True),
    "librispeech-conformer": (10, False),
    "tedlium3-whisper": (16, True),
    "tedlium3-conformer": (16, False),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_graph_needs_no_audio(fresh: Project, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SAML_LIBRISPEECH_ROOT", "SAML_TEDLIUM_ROOT", "SAML_WHISPER_CHECKPOINT"):
        monkeypatch.delenv(variable, raising=False)
    for file in ("config", name):
        shutil.copy(ROOT / "config" / f"{file}.yaml", fresh.folder / "config" / f"{file}.yaml")
    outcome = fresh.dry_run("all", "--configfile", f"config/{name}.yaml")
    assert outcome.status == 0, outcome.text
    speakers, given = CONFIGURATIONS[name]
    base = {"import_base": 1} if given else {"train_base": 1}
    expected = base | {
        "prepare_corpus": 1,
        "prepare_pool": 2 if given else 3,
        "prepare_speaker": speakers,
        "quantise": 1,
        "initialise_experts": 1,
        "pretrain": 2,
        "adapt": 3 * speakers,
        "decode": 5 * speakers,
        "decode_heldout": 2,
        "tabulate": 1,
        "transcripts": 1,
        "index": 1,
        "draw_figures": 1,
    }
    assert {job: outcome.jobs.get(job) for job in expected} == expected


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_so_does_the_ablation(fresh: Project, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 mixtures and 9 LoRAs besides the experiment's own, on three speakers; ten smaller ones of saml."""
    for variable in ("SAML_LIBRISPEECH_ROOT", "SAML_TEDLIUM_ROOT", "SAML_WHISPER_CHECKPOINT"):
        monkeypatch.delenv(variable, raising=False)
    over = f"ablation-{name.partition('-')[2]}"
    for file in ("config", name, over):
        shutil.copy(ROOT / "config" / f"{file}.yaml", fresh.folder / "config" / f"{file}.yaml")
    outcome = fresh.dry_run("ablation", "--configfile", f"config/{name}.yaml", f"config/{over}.yaml")
    assert outcome.status == 0, outcome.text
    adapted = 3 * (2 + 12 + 9)
    expected = {
        "initialise_experts": 13,
        "pretrain": 23,
        "adapt": adapted,
        "decode": adapted + 3 * 2,  # and fp32 and nf4
        "prune": 3 * 10,
        "decode_pruned": 3 * 10,
        "encode": 3 * 4,
    }
    assert {job: outcome.jobs.get(job) for job in expected} == expected


def test_only_the_corpus_of_the_experiment_is_a_parameter(fresh: Project) -> None:
    """So that a change of another corpus's section runs nothing."""
    shutil.copy(ROOT / "config" / "config.yaml", fresh.folder / "config" / "config.yaml")
    mine = yaml.safe_load((ROOT / "config" / "librispeech-mini.yaml").read_text())
    (fresh.folder / "mine.yaml").write_text(yaml.safe_dump(mine))
    target = "results/librispeech-mini/data/speakers/19/cuts.jsonl.gz"
    outcome = fresh.snakemake("--cores", "1", target, "--configfile", "mine.yaml")
    assert outcome.status == 0, outcome.text
    calls = {call[0]: call for call in fresh.calls()}
    settings = yaml.safe_load(option(calls["prepare-speaker"], "settings") or "")
    assert set(settings["corpus"]) == {
        "name",
        "on_bad_utterance",
        "min_seconds",
        "max_seconds",
        "librispeech",
    }
    mine["corpus"]["tedlium3"] = {"seed": 7}
    (fresh.folder / "mine.yaml").write_text(yaml.safe_dump(mine))
    again = fresh.dry_run(target, "--configfile", "mine.yaml")
    assert again.status == 0 and again.jobs == {}, again.text
