"""Tables and figure of routes: means by hand, shares against plain loops, undefined cases."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold

from saml.corpora.registry import folder_name
from saml.reporting import routing as module
from saml.reporting.csv_tables import read_table
from saml.reporting.routing_map import finding
from saml.reporting.separation import speaker_separation
from saml.runtime.errors import SamlError
from saml.stages.routes import routes_table
from saml.tracking import read_record
from tests.reporting.results_tree import Tree

LAYERS = ["encoder.0.attention", "encoder.1.attention", "decoder_self", "cross"]
SPEAKERS = ["b o", "anna"]


@pytest.fixture
def routed(tree: Tree) -> Tree:
    """Anna's two utterances use expert 1 (100 % and 80 %), those of "b o" both experts equally."""
    weights = {"anna": [[1.0, 0.0], [0.8, 0.2]], "b o": [[0.5, 0.5], [0.5, 0.5]]}
    for speaker, rows in weights.items():
        for seed in (1, 2):
            found = [(f"{speaker}-{n}", layer, row) for n, row in enumerate(rows) for layer in LAYERS]
            folder = tree.root / "pretrained/saml" / f"seed{seed}" / "routes" / folder_name(speaker)
            folder.mkdir(parents=True)
            (folder / "routes.csv").write_text(routes_table(found, 2))
    return tree


def run(tree: Tree, **changes: object) -> Path:
    arguments = {
        "results": tree.root,
        "experiment": "mini",
        "arms": ["saml"],
        "speakers": SPEAKERS,
        "seeds": [1, 2],
        "settings": {"scoring": {"seed": 1}},
        "routing": tree.root / "tables" / "routing.csv",
        "routers": tree.root / "tables" / "routers.csv",
        "output_dir": tree.root / "figures",
        "pages": tree.root / "pages",
        "record": tree.root / "tables" / "routing" / "run.jsonl",
    }
    module.routing(**{**arguments, **changes})
    return tree.root / "tables"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_mean_weights_by_hand(routed: Tree) -> None:
    table = rows(run(routed) / "routing.csv")
    assert len(table) == 2 * 4 * 2 * 2  # seeds, layers, speakers, experts
    mine = {(row["speaker"], row["expert"]): row for row in table if row["layer"] == "cross"}
    assert float(mine["anna", "1"]["weight"]) == pytest.approx(0.9)
    assert float(mine["b o", "2"]["weight"]) == pytest.approx(0.5)
    # exp of the entropy: 1 and exp(-0.8 log 0.8 - 0.2 log 0.2); two equal weights are two experts.
    second = 0.8**-0.8 * 0.2**-0.2
    assert float(mine["anna", "1"]["effective"]) == pytest.approx((1 + second) / 2, abs=1e-6)
    assert float(mine["b o", "1"]["effective"]) == pytest.approx(2.0)


def test_a_decoder_routed_by_its_input_has_no_row(routed: Tree) -> None:
    """Its routes are of tokens: only the encoder's routes are stored per utterance."""
    for path in routed.root.glob("pretrained/saml/seed*/routes/*/routes.csv"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if "decoder_self" not in line and "cross" not in line))
    tables = run(routed)
    kinds = [row["kind"] for row in rows(tables / "routers.csv")]
    assert kinds == ["all", "encoder_self"] * 2
    assert (routed.root / "figures" / "routing.svg").exists()


def test_one_row_a_kind_of_router(routed: Tree) -> None:
    table = [row for row in rows(run(routed) / "routers.csv") if row["seed"] == "1"]
    found = [(row["kind"], row["layers"], row["utterances"]) for row in table]
    assert found == [
        ("all", "4", "4"),
        ("encoder_self", "2", "4"),
        ("decoder_self", "1", "4"),
        ("cross", "1", "4"),
    ]
    second = 0.8**-0.8 * 0.2**-0.2
    effective = [float(row["effective"]) for row in table]
    assert effective == pytest.approx([(1 + second + 2 + 2) / 4] * 4, abs=1e-6)


def synthetic_routes(spread: float, per_speaker: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Routes of three speakers among four experts; `spread` is the noise around each speaker's own route."""
    draw = np.random.default_rng(5)
    own = np.eye(4)[:3]
    routes = np.repeat(own, per_speaker, axis=0) + draw.normal(0, spread, (3 * per_speaker, 4))
    return routes, np.repeat(["anna", "bert", "carl"], per_speaker)


def test_explained_equals_plain_loops() -> None:
    routes, speakers = synthetic_routes(0.4)
    wrong = total = 0.0
    parts = StratifiedKFold(5, shuffle=True, random_state=3).split(routes, speakers)
    for train, test in parts:
        for one in test:
            same = [other for other in train if speakers[other] == speakers[one]]
            wrong += sum((routes[one] - sum(routes[other] for other in same) / len(same)) ** 2)
    for one in routes:
        total += sum((one - routes.mean(axis=0)) ** 2)
    explained, *_ = speaker_separation(routes, speakers, 3)
    assert explained == pytest.approx(1 - wrong / total)
    assert 0.3 < explained < 0.7


def test_speakers_with_separate_routes_are_separated() -> None:
    explained, p, accuracy, chance = speaker_separation(*synthetic_routes(0.01), 1)
    assert explained > 0.99 and accuracy == 1.0
    assert p == pytest.approx(1 / 1000) and chance == pytest.approx(1 / 3)


def test_small_differences_between_routes_count_as_much_as_large_ones() -> None:
    """All four numbers are independent of the scale of the routes."""
    routes, speakers = synthetic_routes(0.4)
    small = speaker_separation(0.25 + 1e-3 * routes, speakers, 1)
    assert small == pytest.approx(speaker_separation(routes, speakers, 1))


def test_p_counts_permutations_with_as_much_variance() -> None:
    """Against sums of squares by hand, over as many permutations from another generator."""
    routes, speakers = synthetic_routes(4.0, per_speaker=6)

    def between(names: np.ndarray) -> float:
        groups = [routes[names == name] for name in "abc"]
        return sum(len(one) * sum((one.mean(axis=0) - routes.mean(axis=0)) ** 2) for one in groups)

    names = np.repeat(["a", "b", "c"], 6)
    draw = np.random.default_rng(9)
    larger = sum(between(draw.permutation(names)) >= between(names) - 1e-9 for _ in range(999))
    _, p, *_ = speaker_separation(routes, speakers, 1)
    assert 0.005 < p < 0.95, "a p at its end would show nothing"
    assert p == pytest.approx((larger + 1) / 1000, abs=0.04)


def test_routes_independent_of_speakers() -> None:
    routes, _ = synthetic_routes(0.4)
    speakers = np.tile(["anna", "bert", "carl"], 20)
    explained, p, accuracy, chance = speaker_separation(routes, speakers, 1)
    assert explained < 0.05 and abs(accuracy - chance) < 0.15 and p > 0.05


def test_constant_routes() -> None:
    """A mixture collapsed to one expert: no variance, and classification at chance level."""
    routes = np.tile([0.0, 1.0, 0.0], (30, 1))
    explained, p, accuracy, chance = speaker_separation(routes, np.repeat(["a", "b", "c"], 10), 1)
    assert np.isnan(explained) and np.isnan(p) and accuracy == chance == pytest.approx(1 / 3)


@pytest.mark.parametrize("speakers", [["a", "a", "a", "a"], ["a", "a", "a", "b"]])
def test_too_few_utterances(speakers: list[str]) -> None:
    found = speaker_separation(np.random.default_rng(1).random((4, 2)), np.array(speakers), 1)
    assert np.isnan(found[:3]).all() and found[3] == pytest.approx(speakers.count("a") / 4)


def test_cells_are_in_per_cent(routed: Tree) -> None:
    tables = run(routed)
    weights, routers = (read_table(tables / f"{name}.csv") for name in ("routing", "routers"))
    figure = module.routing_map(weights, routers)
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes]
    layers = ["encoder layer 1", "encoder layer 2", "decoder self-attention", "cross-attention"]
    assert titles == [f"saml: {layer}" for layer in layers], "a panel for each layer, the first seed only"
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["50", "50", "90", "10"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == SPEAKERS
    # (1 + 1.65 + 2 + 2) / 4 of two experts; each of the four routes is nearer to its speaker's other one.
    assert "1.7 of 2 effective experts" in figure.axes[0].get_title()


def many(tables: Path, speakers: int, arms: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables with so many copies of anna and of saml, and two layers of the encoder more."""
    weights, routers = (read_table(tables / f"{name}.csv") for name in ("routing", "routers"))
    anna = weights[weights["speaker"] == "anna"]
    more = [
        anna[anna["layer"] == "encoder.1.attention"].assign(layer=f"encoder.{n}.attention") for n in (2, 3)
    ]
    anna = pd.concat([anna, *more])
    copies = [anna.assign(speaker=f"s{n}", arm=f"saml{arm}") for arm in range(arms) for n in range(speakers)]
    return pd.concat(copies), pd.concat(routers.assign(arm=f"saml{arm}") for arm in range(arms))


def test_cells_of_more_than_twelve_speakers_have_shades_alone(routed: Tree) -> None:
    tables = run(routed)
    few = module.routing_map(*many(tables, 12)).axes[0]
    assert len(few.texts) == 12 * 2 and len(few.get_yticklabels()) == 12
    axes = module.routing_map(*many(tables, 13)).axes[0]
    assert not axes.texts and [label.get_text() for label in axes.get_yticklabels()] == ["13 speakers"]
    shades = axes.images[0]
    # Anna's mean weights are 90 % and 10 %; the darkest colour is all of the weight.
    assert np.allclose(shades.get_array(), [[0.9, 0.1]] * 13) and shades.get_clim() == (0.0, 1.0)
    assert "classified" in few.get_title() and "classified" not in axes.get_title()


def test_six_mixtures_of_36_speakers_stay_on_a_page(routed: Tree) -> None:
    """Six layers side by side, a row of panels for each mixture: as high as two pages (11 inches) at most."""
    figure = module.routing_map(*many(run(routed), 36, arms=6))
    columns = {round(axes.get_position().x0, 2) for axes in figure.axes}
    assert len(figure.axes) == 36 and len(columns) == 6
    assert figure.get_figheight() < 22


def test_layers_are_not_averaged(routed: Tree) -> None:
    """Each layer uses one expert only: no mixture, although the mean over layers looks like one."""
    for path in routed.root.glob("pretrained/saml/seed1/routes/*/routes.csv"):
        routes = [(f"u{n}", layer, [1.0 - k % 2, k % 2]) for n in range(2) for k, layer in enumerate(LAYERS)]
        path.write_text(routes_table(routes, 2))
    tables = run(routed)
    weights, routers = (read_table(tables / f"{name}.csv") for name in ("routing", "routers"))
    first, second = module.routing_map(weights, routers).axes[:2]
    assert [text.get_text() for text in first.texts] == ["100", "0", "100", "0"]
    assert [text.get_text() for text in second.texts] == ["0", "100", "0", "100"]
    assert "1.0 of 2 effective experts" in first.get_title()


@pytest.mark.parametrize(
    ("effective", "accuracy", "p", "expected"),
    [
        (5.9, 0.1, 0.6, "saml mixes 5.9 of 6 experts almost evenly and does not separate speakers"),
        (
            3.0,
            0.8,
            0.001,
            "saml mixes 3.0 of 6 experts and separates speakers (80 % recognised, chance 25 %)",
        ),
        (3.0, 0.2, 0.001, "saml mixes 3.0 of 6 experts and does not separate speakers"),
        (1.1, 0.25, np.nan, "saml does not mix (1.1 of 6 experts) and routes all speech alike"),
        (1.1, 0.8, 0.001, "saml does not mix (1.1 of 6 experts), yet its routes separate speakers"),
        (5.0, np.nan, np.nan, "saml mixes 5.0 of 6 experts; there is too little speech to tell"),
    ],
)
def test_the_finding_says_whether_it_mixes_and_separates(
    effective: float, accuracy: float, p: float, expected: str
) -> None:
    row = {"arm": "saml", "seed": 1, "kind": "all", "experts": 6, "chance": 0.25}
    other = {**row, "seed": 2, "effective": 1.0, "accuracy": 1.0, "p": 0.9}
    own = {**row, "effective": effective, "accuracy": accuracy, "p": p}
    assert finding("saml", pd.DataFrame([other, own]), 1).startswith(expected)


def test_the_title_of_the_map_is_the_finding(routed: Tree) -> None:
    tables = run(routed)
    weights, routers = (read_table(tables / f"{name}.csv") for name in ("routing", "routers"))
    title = " ".join(module.routing_map(weights, routers).get_suptitle().split())
    assert title == f"Routing: {finding('saml', routers, 1)}"


def test_files_are_listed(routed: Tree) -> None:
    names = {file.name for file in read_record(run(routed) / "routing" / "run.jsonl").files}
    expected = {"routing.csv", "routers.csv", "routing.svg", "routing.png", "routing.html", "routers.html"}
    assert names == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read these routes"),
        ("utterance,layer,expert1\na,cross,much\n", "cannot read these routes"),
        ("utterance,layer,expert1,expert2\n", "no routes in this table"),
    ],
)
def test_damaged_routes_are_named(routed: Tree, content: str | None, message: str) -> None:
    path = routed.root / "pretrained/saml/seed2/routes/anna/routes.csv"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(SamlError, match=rf"seed2/routes/anna/routes\.csv: {message}"):
        run(routed)
