"""Silhouettes against their definition, and maps of distant clusters."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from saml.reporting import embeddings as module
from saml.reporting.separation import silhouette
from saml.runtime.errors import SamlError
from saml.tracking import read_record
from tests.reporting.results_tree import ARMS, Tree

SPEAKERS = ["anna", "b o"]
FOLDERS = {"anna": "anna", "b o": "b%20o"}
Points = dict[str, list[list[float]]]


def points(apart: float) -> Points:
    """Six utterances of each speaker in three dimensions, the second speaker's shifted by `apart`."""
    chance = np.random.default_rng(1)
    return {
        name: (chance.normal(size=(6, 3)) + [apart * i, 0, 0]).tolist() for i, name in enumerate(SPEAKERS)
    }


def write(tree: Tree, arm: str, seed: int, **adapters: Points) -> None:
    for speaker in SPEAKERS:
        path = tree.root / "embeddings" / FOLDERS[speaker] / arm / f"seed{seed}" / "embeddings.csv"
        path.parent.mkdir(parents=True)
        lines = ["adapter,utterance,v1,v2,v3"]
        for adapter, rows in adapters.items():
            lines += [f"{adapter},u{i}," + ",".join(map(str, row)) for i, row in enumerate(rows[speaker])]
        path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def encoded(tree: Tree) -> Tree:
    """nf4 not adapted; pqm and saml before and after adaptation, saml with larger separation."""
    write(tree, "nf4", 0, none=points(1))
    write(tree, "pqm", 1, pretrained=points(2), adapted=points(3))
    write(tree, "saml", 1, pretrained=points(5), adapted=points(9))
    return tree


def run(tree: Tree, **changes: object) -> Path:
    arguments = {
        "results": tree.root,
        "experiment": "mini",
        "arms": {name: ARMS[name] for name in ("nf4", "pqm", "saml")},
        "speakers": SPEAKERS,
        "seeds": [1],
        "settings": {"scoring": {"seed": 1}},
        "silhouettes": tree.root / "tables" / "embeddings.csv",
        "pages": tree.root / "pages",
        "output_dir": tree.root / "figures",
        "record": tree.root / "tables" / "embeddings" / "run.jsonl",
    }
    module.embeddings(**{**arguments, **changes})
    return tree.root / "tables" / "embeddings.csv"


def by_definition(found: Points) -> float:
    """Of an utterance (b - a) / max(a, b): mean distance to its speaker's others, and to the other's."""
    values = []
    for speaker, own in found.items():
        (others,) = (rows for name, rows in found.items() if name != speaker)
        for index, point in enumerate(own):
            rest = [row for other, row in enumerate(own) if other != index]
            a = sum(math.dist(point, row) for row in rest) / len(rest)
            b = sum(math.dist(point, row) for row in others) / len(others)
            values.append((b - a) / max(a, b))
    return sum(values) / len(values)


def test_silhouettes_by_their_definition(encoded: Tree) -> None:
    with run(encoded).open(newline="") as file:
        table = {(row["arm"], row["adapter"]): row for row in csv.DictReader(file)}
    apart = {("nf4", "none"): 1, ("pqm", "pretrained"): 2, ("pqm", "adapted"): 3}
    apart |= {("saml", "pretrained"): 5, ("saml", "adapted"): 9}
    assert {key: float(row["silhouette"]) for key, row in table.items()} == pytest.approx(
        {key: by_definition(points(distance)) for key, distance in apart.items()}, abs=1e-5
    )
    saml = table["saml", "adapted"]
    assert [saml[name] for name in ("speakers", "utterances", "dimensions")] == ["2", "12", "3"]
    assert float(saml["silhouette_map"]) > 0.5, "distant clusters are distant on the map too"
    assert read_record(encoded.root / "tables" / "embeddings" / "run.jsonl").scores[
        "silhouette/adapted/saml/seed1"
    ] == pytest.approx(by_definition(points(9)))
    page = (encoded.root / "pages" / "embeddings.html").read_text(encoding="utf-8")
    assert f"{by_definition(points(9)):.3f}" in page


def test_a_panel_for_each_arm_before_and_after(encoded: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    monkeypatch.setattr(module.style, "write", lambda figure, *_: drawn.setdefault("figure", figure) and [])
    run(encoded)
    titles = [axes.get_title(loc="left") for axes in drawn["figure"].axes]
    assert [title.split("\n")[0] for title in titles] == [
        *["nf4, not adapted", "pqm, before adaptation", "saml, before adaptation"],
        *["pqm, adapted", "saml, adapted"],
    ]
    assert titles[-1].endswith(f"silhouette {by_definition(points(9)):.2f}")
    for axes in drawn["figure"].axes:
        assert [len(line.get_xdata()) for line in axes.lines] == [6, 6]


def test_names_of_adapters_are_those_of_the_stage() -> None:
    from saml.stages import embed  # imports torch, unlike the module under test

    for name in ("NONE", "PRETRAINED", "ADAPTED"):
        assert getattr(module, name) == getattr(embed, name)


def test_one_speaker_has_no_silhouette() -> None:
    assert math.isnan(silhouette(np.ones((4, 2)), np.array(["anna"] * 4)))


def test_missing_embeddings_are_named(encoded: Tree) -> None:
    (encoded.root / "embeddings" / "anna" / "pqm" / "seed1" / "embeddings.csv").unlink()
    with pytest.raises(SamlError, match=r"anna/pqm/seed1/embeddings\.csv: cannot read these embeddings"):
        run(encoded)
