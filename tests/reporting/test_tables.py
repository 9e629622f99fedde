"""Tables of a tiny tree with every number counted by hand (see the fixture `small`)."""

import csv
import json
from pathlib import Path

import pytest

from saml.reporting.csv_tables import read_table
from saml.reporting.pairs import pairs
from saml.runtime.errors import SamlError
from saml.tracking import read_record
from tests.reporting.results_tree import ARMS, Tree, run

# Errors and reference words under both scorers, summed over seeds: anna has 7 words, "b o" 3.
EXPECTED = {"fp32": (2, 10), "nf4": (4, 10), "pqm": (2, 20), "saml": (2, 20)}
SUMMARY = (
    "arm,scorer,seeds,speakers,words,wer,wer_heldout,looped,formatted,rel_fp32,rel_fp32_low,rel_fp32_high,p_fp32,"
    "rel_nf4,rel_nf4_low,rel_nf4_high,p_nf4,model_mb,speaker_mb,ratio_fp32"
)
WER = "experiment,arm,speaker,seed,scorer,utterances,words,hits,substitutions,deletions,insertions,wer,cer"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_are_those_of_the_protocol(small: Tree) -> None:
    folder = run(small)
    assert (folder / "wer.csv").read_text().splitlines()[0] == WER
    assert (folder / "summary.csv").read_text().splitlines()[0] == SUMMARY


def test_one_row_per_arm_speaker_seed_and_scorer(small: Tree) -> None:
    found = [(row["arm"], row["speaker"], row["seed"], row["scorer"]) for row in rows(run(small) / "wer.csv")]
    assert found == [
        (arm, speaker, str(seed), scorer)
        for arm in ARMS
        for speaker in ("b o", "anna")
        for seed in ([1, 2] if ARMS[arm]["adapted"] else [0])
        for scorer in ("released", "whisper")
    ]


def test_counts_of_a_speaker_by_hand(small: Tree) -> None:
    table = rows(run(small) / "wer.csv")
    row = next(row for row in table if row["arm"] == "nf4" and row["speaker"] == "anna")
    # "bin blue at f" recognised as "bin blue s", "set red now" as "set red".
    assert [row[name] for name in ("utterances", "words", "hits")] == ["2", "7", "4"]
    assert [row[name] for name in ("substitutions", "deletions", "insertions")] == ["1", "2", "0"]
    assert row["wer"] == "0.428571"
    # Characters: 13 + 11; "at f" -> "s" loses 3 and changes 1, " now" loses 4.
    assert row["cer"] == f"{8 / 24:.6f}"


def test_summary_pools_words_over_speakers_and_seeds(small: Tree) -> None:
    table = {(row["arm"], row["scorer"]): row for row in rows(run(small) / "summary.csv")}
    for arm, (wrong, words) in EXPECTED.items():
        for scorer in ("released", "whisper"):
            row = table[arm, scorer]
            assert (row["words"], row["wer"]) == (str(words), f"{wrong / words:.6f}")
            assert (row["speakers"], row["seeds"]) == ("2", "2" if ARMS[arm]["adapted"] else "1")
    # "go on" recognised as "go", "", "go" and "go now": 1, 2, 1 and 1 of 2 words, for every adapter.
    assert [table[arm, "whisper"]["wer_heldout"] for arm in EXPECTED] == [
        f"{share:.6f}" for share in (0.5, 1.0, 0.5, 0.5)
    ]
    assert table["saml", "whisper"]["rel_nf4"] == "0.750000"
    assert table["saml", "whisper"]["rel_fp32"] == "0.500000"
    assert table["nf4", "whisper"]["rel_fp32"] == "-1.000000"
    assert table["fp32", "whisper"]["rel_fp32"] == "", "an arm is not compared with itself"


def test_sizes_by_hand(small: Tree) -> None:
    table = {row["arm"]: row for row in rows(run(small) / "summary.csv")}
    assert [table["fp32"][name] for name in ("model_mb", "speaker_mb")] == ["4.000000", "0.000000"]
    assert table["nf4"]["ratio_fp32"] == "8.000000"
    # Adapters of 60,000 bytes under seed 1 and 61,000 under seed 2, the same for both speakers.
    assert [table["saml"][name] for name in ("model_mb", "speaker_mb")] == ["0.500000", "0.060500"]
    assert table["saml"]["ratio_fp32"] == f"{4_000_000 / 560_500:.6f}"


def test_a_vocabulary_ships_with_its_model(small: Tree) -> None:
    small.weights("base", 4_000_000, tokeniser=6000)
    small.weights("nf4", 500_000, tokeniser=6000)
    table = {row["arm"]: row for row in rows(run(small) / "summary.csv")}
    assert [table[arm]["model_mb"] for arm in ("fp32", "nf4", "saml")] == ["4.006000", "0.506000", "0.506000"]
    assert table["nf4"]["ratio_fp32"] == f"{4_006_000 / 506_000:.6f}"


@pytest.mark.parametrize("folds", [5, [{"pass": 1}] * 5])
def test_of_cross_validated_adapters_one_fold_ships(small: Tree, folds: object) -> None:
    for speaker in ("anna", "b o"):
        for seed in (1, 2):
            small.adapter(speaker, "saml", seed, 300_000, folds=folds)
    row = next(row for row in rows(run(small) / "summary.csv") if row["arm"] == "saml")
    assert row["speaker_mb"] == "0.060000"


def test_folds_are_summed(tree: Tree) -> None:
    tree.weights("base", 10)
    tree.hypotheses(
        "anna",
        "fp32",
        0,
        [
            ("test", "u1", "go on", "go on", 0),
            ("test", "u2", "go on", "go", 1),
            ("test", "u3", "go on", "", 2),
        ],
    )
    tree.hypotheses(None, "fp32", 0, [])
    folder = run(tree, arms={"fp32": ARMS["fp32"]}, speakers=["anna"])
    row = rows(folder / "wer.csv")[0]
    assert [row[name] for name in ("utterances", "words", "deletions", "wer")] == ["3", "6", "3", "0.500000"]
    summary = rows(folder / "summary.csv")[0]
    assert summary["looped"] == "0"
    assert (summary["wer_heldout"], summary["rel_nf4"]) == ("", ""), (
        "nothing to compare with is an empty cell"
    )
    assert rows(folder / "comparisons.csv") == []


def test_comparisons_count_speakers(small: Tree) -> None:
    table = {(row["arm_a"], row["arm_b"]): row for row in rows(run(small) / "comparisons.csv")}
    assert list(table) == [
        *[("nf4", "fp32"), ("pqm", "fp32"), ("saml", "fp32"), ("pqm", "nf4"), ("saml", "nf4")],
        ("saml", "pqm"),
    ]

    def speakers(one: str, other: str) -> list[str]:
        return [table[one, other][f"speakers_{how}"] for how in ("better", "worse", "equal")]

    assert speakers("pqm", "fp32") == ["1", "0", "1"]
    assert speakers("saml", "pqm") == ["1", "1", "0"]
    row = table["pqm", "nf4"]
    assert float(row["rel_low"]) <= float(row["rel"]) <= float(row["rel_high"])
    assert float(row["rel_speakers_low"]) <= float(row["rel_low"])


def test_equal_arms_have_no_difference(small: Tree) -> None:
    arms = {"fp32": ARMS["fp32"], "nf4": ARMS["nf4"]}
    for speaker in ("anna", "b o"):
        source = small.folder(speaker, "fp32", 0) / "hypotheses.jsonl"
        (small.folder(speaker, "nf4", 0) / "hypotheses.jsonl").write_bytes(source.read_bytes())
    (row, _) = rows(run(small, arms=arms) / "comparisons.csv")
    assert [row[name] for name in ("rel", "rel_low", "rel_high", "p")] == ["0.000000"] * 3 + ["1.000000"]
    assert row["speakers_equal"] == "2"


def test_intervals_pooled_and_by_speaker(small: Tree) -> None:
    table = {(row["arm"], row["speaker"], row["scorer"]): row for row in rows(run(small) / "intervals.csv")}
    assert len(table) == 4 * 3 * 2
    pooled = table["nf4", "", "released"]
    # Per draw 3 + (0..3 of anna's two utterances): from (2 + 2 + 1) / 11 down to (1 + 1 + 1) / 9.
    assert (pooled["wer"], pooled["wer_low"], pooled["wer_high"]) == ("0.400000", "0.333333", "0.454545")
    alone = table["nf4", "b o", "released"]
    assert {alone[name] for name in ("wer", "wer_low", "wer_high")} == {"0.333333"}, (
        "one utterance, no spread"
    )


def test_the_same_bytes_again_whatever_the_order_of_speakers(small: Tree) -> None:
    first, again = run(small), run(small, name="again", speakers=["anna", "b o"])
    for name in ("summary", "comparisons"):
        assert (first / f"{name}.csv").read_bytes() == (again / f"{name}.csv").read_bytes()


def test_record_has_scores_sizes_and_tables(small: Tree) -> None:
    folder = run(small, corpus="mini", family="conformer")
    record = read_record(folder / "run.jsonl")
    assert (record.stage, record.corpus, record.family) == ("tabulate", "mini", "conformer")
    assert record.scores["saml/wer/whisper"] == pytest.approx(0.1)
    assert record.sizes["speaker/saml"] == 60_500
    assert [file.name for file in record.files] == [
        "wer.csv",
        "summary.csv",
        "comparisons.csv",
        "intervals.csv",
    ]


def test_names_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "wer.csv"
    path.write_text("arm,speaker,scorer,wer\nNA,007,released,0.5\nnan,,released,\n")
    table = read_table(path)
    assert table["speaker"].tolist() == ["007", ""]
    assert table["arm"].tolist() == ["NA", "nan"]
    assert table["wer"].isna().tolist() == [False, True]


def test_pairs_without_the_unadapted_arms() -> None:
    adapted = {name: ARMS[name] for name in ("pqm", "saml")}
    assert pairs(adapted) == [("saml", "pqm")]


def hypotheses(tree: Tree) -> Path:
    return tree.folder("anna", "saml", 2) / "hypotheses.jsonl"


def test_missing_hypotheses_are_named(small: Tree) -> None:
    hypotheses(small).unlink()
    with pytest.raises(SamlError, match=r"speakers/anna/saml/seed2/hypotheses\.jsonl: cannot read"):
        run(small)


def test_truncated_hypotheses_are_named(small: Tree) -> None:
    hypotheses(small).write_text(hypotheses(small).read_text()[:-20])
    with pytest.raises(SamlError, match="line 3 is not a JSON object"):
        run(small)


def test_a_scorer_that_was_not_counted_is_named(small: Tree) -> None:
    lines = [json.loads(line) for line in hypotheses(small).read_text().splitlines()]
    for line in lines:
        del line["counts"]["whisper"]
    hypotheses(small).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SamlError, match="utterance a1 has no usable 'whisper'"):
        run(small)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ([0, 2], "speaker anna, arm saml, seed 2: other test utterances"),
        ([0, 0, 1, 2], "speaker anna, arm saml, seed 2: a test utterance is decoded twice"),
        ([2], "speaker anna, arm saml, seed 2: no hypothesis of a test utterance"),
    ],
)
def test_utterances_that_do_not_pair_up_are_named(small: Tree, keep: list[int], message: str) -> None:
    lines = hypotheses(small).read_text().splitlines(keepends=True)
    hypotheses(small).write_text("".join(lines[number] for number in keep))
    with pytest.raises(SamlError, match=message):
        run(small)


def test_missing_files_of_an_arm_are_named(small: Tree) -> None:
    (small.folder("anna", "saml", 1) / "adapter.safetensors").unlink()
    with pytest.raises(SamlError, match=r"saml/seed1/adapter\.safetensors: cannot read its size"):
        run(small)


def test_outputs_that_needed_the_guard_are_counted(tree: Tree) -> None:
    """Those of the test part, whatever the guard did."""
    tree.weights("base", 10)
    lines = [("u1", ""), ("u2", "context"), ("u3", "blocked")]
    tree.hypotheses("anna", "fp32", 0, [("test", name, "go on", "go", 0, guard) for name, guard in lines])
    tree.hypotheses(None, "fp32", 0, [("heldout", "h1", "go on", "go", 0, "context")])
    folder = run(tree, arms={"fp32": ARMS["fp32"]}, speakers=["anna"])
    assert {row["looped"] for row in rows(folder / "summary.csv")} == {"2"}


def test_formatted_outputs_are_a_share(tree: Tree) -> None:
    tree.weights("base", 10)
    outputs = ["Go on.", "Go on", "go on.", "Go?"]
    lines = [("test", f"u{number}", "go on", text) for number, text in enumerate(outputs)]
    tree.hypotheses("anna", "fp32", 0, lines)
    tree.hypotheses(None, "fp32", 0, [])
    folder = run(tree, arms={"fp32": ARMS["fp32"]}, speakers=["anna"])
    assert {row["formatted"] for row in rows(folder / "summary.csv")} == {"0.500000"}
