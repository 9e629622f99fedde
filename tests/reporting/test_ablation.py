"""The ablation of a tree with every number counted by hand."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from saml.corpora.registry import folder_name
from saml.reporting import ablation as module
from saml.reporting.csv_tables import read_table
from saml.runtime.errors import SamlError
from saml.tracking import read_record
from tests.reporting.results_tree import ARMS, SCORING, Tree

QUESTIONS = {"bare": ["nf4"], "mixture": ["pqm", "saml"], "frozen": ["saml", "still"]}
STILL = {**ARMS["saml"], "adaptation": {"frozen": "expert"}}


def write(folder: Path, experts: int, routers: int, folds: int = 1) -> None:
    """An adapter of one layer from 4 to 3: 7 numbers an expert, and `routers` numbers."""
    tensors = {"a.down": np.zeros((experts, 1, 4)), "a.up": np.zeros((experts, 3, 1))}
    tensors |= {"routers.cross.output.weight": np.zeros(routers)} if routers else {}
    named = {f"fold{fold}/{name}": tensor for fold in range(folds) for name, tensor in tensors.items()}
    save_file(tensors if folds == 1 else named, folder / "adapter.safetensors")
    more = {"folds": folds} if folds > 1 else {}
    (folder / "adapter.json").write_text(json.dumps({"spec": {"experts": experts, "rank": 1}, **more}))


@pytest.fixture
def arms(small: Tree) -> Tree:
    """The tree `small`, and an arm `still` with saml's hypotheses; the adapters of pqm have two folds."""
    for speaker in ("anna", "b o"):
        of_speaker = small.root / "speakers" / folder_name(speaker)
        shutil.copytree(of_speaker / "saml", of_speaker / "still")
        for seed in (1, 2):
            write(of_speaker / "pqm" / f"seed{seed}", 1, 0, folds=2)
            write(of_speaker / "saml" / f"seed{seed}", 2, 5)
            write(of_speaker / "still" / f"seed{seed}", 2, 5)
    return small


def run(tree: Tree, **changes: object) -> Path:
    arguments = {
        "results": tree.root,
        "experiment": "mini",
        "arms": {name: {**ARMS, "still": STILL}[name] for name in ("nf4", "pqm", "saml", "still")},
        "questions": QUESTIONS,
        "speakers": ["b o", "anna"],
        "seeds": [1, 2],
        "reference": "pqm",
        "settings": SCORING,
        "ablation": tree.root / "tables" / "ablation.csv",
        "pages": tree.root / "pages",
        "output_dir": tree.root / "figures",
        "record": tree.root / "tables" / "ablation" / "run.jsonl",
    }
    module.ablation(**{**arguments, **changes})
    return tree.root / "tables" / "ablation.csv"


def rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["scorer"] == "released"]
    return {(row["question"], row["arm"]): row for row in found}


def test_each_question_has_its_arms(arms: Tree) -> None:
    table = rows(run(arms))
    assert list(table) == [(question, arm) for question, names in QUESTIONS.items() for arm in names]
    # Those of summary.csv: 4 of 10 words, 2 of 20 words under both seeds.
    assert [float(row["wer"]) for row in table.values()] == pytest.approx([0.4, 0.1, 0.1, 0.1, 0.1])
    assert {row["words"] for key, row in table.items() if key[1] != "nf4"} == {"20"}
    assert {key[1]: row["reference"] for key, row in table.items()} == {
        **{"nf4": "pqm", "pqm": "", "saml": "pqm", "still": "pqm"}
    }
    assert float(table["bare", "nf4"]["rel"]) == pytest.approx(-3.0)


def test_sizes_are_counted(arms: Tree) -> None:
    """One LoRA has 7 parameters per fold; two have 14, and the router, alone trained in `still`, has 5."""
    table = rows(run(arms))
    columns = ("experts", "rank", "parameters", "trained")
    counted = {key: tuple(int(row[column]) for column in columns) for key, row in table.items()}
    assert counted == {
        ("bare", "nf4"): (0, 0, 0, 0),
        ("mixture", "pqm"): (1, 1, 7, 7),
        ("mixture", "saml"): (2, 1, 19, 19),
        ("frozen", "saml"): (2, 1, 19, 19),
        ("frozen", "still"): (2, 1, 19, 5),
    }
    one_fold = (arms.folder("anna", "pqm", 1) / "adapter.safetensors").stat().st_size / 2
    assert float(table["mixture", "pqm"]["speaker_mb"]) == pytest.approx(one_fold / 1e6, abs=1e-6)


def test_points_lie_where_the_table_says(arms: Tree) -> None:
    figure = module.ablation_figure(read_table(run(arms)))
    left, right = figure.axes
    lora, mixture = (container.lines[0] for container in left.containers)
    assert (list(lora.get_xdata()), list(lora.get_ydata())) == ([7], pytest.approx([10.0]))
    # Without `still`: no question compares it with one LoRA.
    assert (list(mixture.get_xdata()), list(mixture.get_ydata())) == ([19], pytest.approx([10.0]))
    assert {text.get_text() for text in left.texts} == {"r1", "2x1", "nf4"}
    assert left.get_xscale() == "log"
    names = [label.get_text() for label in right.get_yticklabels()]
    assert names == ["nf4", "pqm", "saml", "saml", "still"]
    assert {text.get_text() for text in right.texts} == set(QUESTIONS)
    assert "2 target speakers cannot speak for all speakers." in figure.get_supxlabel()


def test_the_page_and_the_record(arms: Tree) -> None:
    run(arms)
    page = (arms.root / "pages" / "ablation.html").read_text(encoding="utf-8")
    assert ">nan<" not in page.lower()
    found = read_record(arms.root / "tables" / "ablation" / "run.jsonl")
    names = {path.name for path in found.files}
    assert names == {"ablation.csv", "ablation.html", "ablation.svg", "ablation.png"}
    assert found.scores["wer/released/still"] == pytest.approx(0.1)


def test_a_damaged_adapter_is_named(arms: Tree) -> None:
    (arms.folder("b o", "saml", 1) / "adapter.safetensors").write_bytes(b"\0" * 9)
    with pytest.raises(SamlError, match=r"saml/seed1/adapter\.safetensors: cannot read this adapter"):
        run(arms)
