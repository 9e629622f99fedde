"""choose-start and choose-rates: from handwritten records to the printed table and the configuration."""

import json
from pathlib import Path

import pytest
import yaml

from saml.cli import main as cli
from saml.config.load import load, validate
from saml.config.settings import merged_with_arm
from saml.runtime.errors import SamlError
from saml.tracking import RunRecord, read_record
from saml.tuning.choose_rates import choose_rates, choose_start
from saml.tuning.print_rates import show_rates
from saml.tuning.rates import with_rate

ROOT = Path(__file__).resolve().parents[2]
GRID = [0.001, 0.003, 0.01]
SPEAKERS = ["a", "b b"]
DIVERGED = None


def judged(results: Path, arm: str, kind: str, rate: float, losses: list[float | None]) -> None:
    """Write the record of judge-rate for two speakers; a loss of None stands for a diverged trial."""
    record = RunRecord(stage="judge-rate", experiment="test")
    for speaker, loss in zip(("a", "b%20b"), losses, strict=True):
        record.score(f"{speaker}/{'diverged' if loss is None else 'loss'}", 1.0 if loss is None else loss)
    record.write(results / "tuning" / arm / f"judged-{kind}" / f"lr{rate}" / "seed1" / "run.jsonl")


def pretrained(results: Path, arm: str, losses: dict[float, float | None]) -> None:
    """Adapters, and their losses: 0.02 more for the first speaker, 0.02 less for the second."""
    for rate, loss in losses.items():
        folder = results / "tuning" / arm / "pretraining" / f"lr{rate}" / "seed1"
        folder.mkdir(parents=True)
        (folder / "adapter.safetensors").write_bytes(b"" if loss is None else folder.parent.name.encode())
        (folder / "adapter.json").write_bytes(b"" if loss is None else b"{}")
        judged(results, arm, "pretraining", rate, [None] * 2 if loss is None else [loss + 0.02, loss - 0.02])


def adapted(results: Path, arm: str, losses: dict[float, list[float | None]]) -> None:
    for rate, each in losses.items():
        judged(results, arm, "adaptation", rate, each)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Trials of three arms: the best pre-training of one is at the edge, one always diverges."""
    results = tmp_path / "results" / "test"
    pretrained(results, "saml", {0.001: 0.4, 0.003: 0.5, 0.01: DIVERGED})
    adapted(results, "saml", {0.001: [0.5, 0.7], 0.003: [0.3, 0.8], 0.01: [0.2, DIVERGED]})
    adapted(results, "lora", {0.001: [0.9, 0.9], 0.003: [0.8, 0.8], 0.01: [0.8, 0.8]})
    pretrained(results, "wild", dict.fromkeys(GRID, DIVERGED))
    adapted(results, "wild", {rate: [DIVERGED, DIVERGED] for rate in GRID})
    return results


def run(results: Path) -> None:
    both = ["pretraining", "adaptation"]
    choose_rates(
        experiment="test",
        settings={
            "tuning": {"grid": GRID, "seed": 1, "speakers": SPEAKERS},
            "arms": {"saml": both, "lora": ["adaptation"], "wild": both},
        },
        results=results,
        rates=results / "tuning" / "rates.csv",
        fragment=results / "tuning" / "rates.yaml",
        record=results / "tuning" / "run.jsonl",
    )


def test_the_table(results: Path) -> None:
    run(results)
    assert (results / "tuning" / "rates.csv").read_text().splitlines() == [
        "arm,stage,rate,loss,speakers,diverged,chosen,edge",
        "saml,pretraining,0.001,0.400000,2,0,1,1",
        "saml,pretraining,0.003,0.500000,2,0,0,0",
        "saml,pretraining,0.01,,2,2,0,0",
        "saml,adaptation,0.001,0.600000,2,0,0,0",
        "saml,adaptation,0.003,0.550000,2,0,1,0",
        "saml,adaptation,0.01,,2,1,0,0",
        "lora,adaptation,0.001,0.900000,2,0,0,0",
        "lora,adaptation,0.003,0.800000,2,0,1,0",
        "lora,adaptation,0.01,0.800000,2,0,0,0",
        "wild,pretraining,0.001,,2,2,0,0",
        "wild,pretraining,0.003,,2,2,0,0",
        "wild,pretraining,0.01,,2,2,0,0",
        "wild,adaptation,0.001,,2,2,0,0",
        "wild,adaptation,0.003,,2,2,0,0",
        "wild,adaptation,0.01,,2,2,0,0",
    ]


def test_the_fragment_is_a_configuration(results: Path, tmp_path: Path) -> None:
    run(results)
    fragment = results / "tuning" / "rates.yaml"
    low, middle = ({"learning_rate": {"expert": rate, "router": rate}} for rate in (0.001, 0.003))
    low["learning_rate"]["initialisation"] = 0.001
    assert yaml.safe_load(fragment.read_text()) == {
        "arms": {"saml": {"pretraining": low, "adaptation": middle}, "lora": {"adaptation": middle}}
    }
    (tmp_path / "arms.yaml").write_text(
        "arms: {lora: {precision: nf4, adapted: true, experts: 1, pretrained: false, routed: false}}\n"
    )
    config = load([ROOT / "config" / "config.yaml", tmp_path / "arms.yaml", fragment])
    validate(config, ROOT / "workflow" / "schemas" / "config.schema.yaml")
    assert config["arms"]["saml"]["experts"] == 6 and config["arms"]["saml"]["pretraining"] == low


def test_the_fragment_overrides_another_configuration(results: Path, tmp_path: Path) -> None:
    """Such as the released one, which has a separate rate for expert initialisation."""
    run(results)
    rates = {"expert": 3e-4, "router": 1e-3, "initialisation": 1e-2}
    other = {"arms": {"saml": {"pretraining": {"learning_rate": rates}}}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    fragment = results / "tuning" / "rates.yaml"
    config = load([ROOT / "config" / "config.yaml", tmp_path / "other.yaml", fragment])
    settings = {"arm": config["arms"]["saml"], "pretraining": config["pretraining"]}
    tried = merged_with_arm(with_rate(settings, "pretraining", 0.001), "pretraining")
    assert merged_with_arm(settings, "pretraining") == tried


def test_the_printed_table(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(results)
    assert cli.main(["show-rates", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {tuple(line.split()[:2]): line.split()[2:] for line in lines}
    assert cells["saml", "pretraining"] == ["0.4000", "0.5000", "diverged", "0.001", "(edge)"]
    assert cells["lora", "adaptation"] == ["0.9000", "0.8000", "0.8000", "0.003"]
    assert cells["wild", "adaptation"] == ["diverged"] * 3 + ["none"]
    text = "\n".join(lines)
    assert "saml, pretraining: 0.001 is at the edge of the grid" in text
    assert "lora, adaptation: 0" not in text
    assert "saml, adaptation: 1 of 2 trials diverged at 0.01." in text
    assert "wild, pretraining: every rate diverged" in text
    assert "pretraining: 2 of 2" not in text, "it is one training, however many speakers it is judged on"
    assert (
        "mean over 2 tuning speakers, on utterances used neither for training nor to select an epoch" in text
    )
    assert str(results / "tuning" / "rates.yaml") in lines[-2]


def start(results: Path, arm: str) -> Path:
    folder = results / "tuning" / arm / "pretrained" / "seed1"
    choose_start(
        experiment="test",
        settings={"tuning": {"grid": GRID, "speakers": SPEAKERS}},
        arm=arm,
        seed=1,
        results=results,
        out_adapter=folder / "adapter.safetensors",
        out_description=folder / "adapter.json",
        record=folder / "run.jsonl",
    )
    return folder


def test_adaptations_start_from_the_best_pre_training(results: Path) -> None:
    folder = start(results, "saml")
    assert (folder / "adapter.safetensors").read_text() == "lr0.001"
    assert json.loads((folder / "adapter.json").read_text()) == {}
    assert read_record(folder / "run.jsonl").scores["rate"] == 0.001


def test_where_every_rate_diverged_the_start_is_empty(results: Path) -> None:
    folder = start(results, "wild")
    assert (folder / "adapter.safetensors").read_bytes() == b""
    assert read_record(folder / "run.jsonl").scores["diverged"] == 1


def test_a_rate_that_was_not_judged_is_named(results: Path) -> None:
    missing = results / "tuning" / "lora" / "judged-adaptation" / "lr0.003" / "seed1" / "run.jsonl"
    missing.unlink()
    with pytest.raises(SamlError) as error:
        run(results)
    assert str(missing) in str(error.value)


def test_a_speaker_without_a_loss_is_named_with_the_record(results: Path) -> None:
    judged(results, "lora", "adaptation", 0.003, [0.5, 0.5])
    path = results / "tuning" / "lora" / "judged-adaptation" / "lr0.003" / "seed1" / "run.jsonl"
    path.write_text(path.read_text().replace("b%20b/loss", "someone/loss"))
    with pytest.raises(SamlError, match=r"lr0.003/seed1/run.jsonl: tuning speaker b%20b was not judged"):
        run(results)


def test_a_table_of_dev_losses_is_refused(results: Path) -> None:
    run(results)
    table = results / "tuning" / "rates.csv"
    table.write_text(table.read_text().replace("loss,speakers", "dev_loss,trials"))
    with pytest.raises(SamlError, match=r"rates.csv: written by an older version, .* again"):
        show_rates(results)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamlError, match="no table to print; run `snakemake tune`"):
        show_rates(tmp_path)
    with pytest.raises(SamlError, match="no table to print; no such folder"):
        show_rates(tmp_path / "nowhere")
