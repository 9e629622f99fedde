"""Transcripts for other tools, of the tiny tree with every number counted by hand (fixture `small`)."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from saml.reporting.hypotheses import Decoded
from saml.reporting.transcripts import transcript_name, transcripts
from saml.runtime.errors import SamlError
from saml.tracking import read_record
from tests.reporting.results_tree import ARMS, SCORING, Tree
from tests.sclite import Four, needs_sclite, sclite_counts

# sclite's sums of hits, substitutions, deletions and insertions, from a real run on these files.
SUMS: dict[tuple[str, str], Four] = {
    ("fp32", "test"): (8, 1, 1, 0),
    ("nf4", "test"): (6, 1, 3, 0),
    ("pqm", "test"): (19, 0, 1, 1),
    ("saml", "test"): (18, 0, 2, 0),
    ("fp32", "heldout"): (1, 0, 1, 0),
    ("nf4", "heldout"): (0, 0, 2, 0),
    ("pqm", "heldout"): (4, 0, 4, 0),
    ("saml", "heldout"): (4, 4, 0, 0),
}


def write(tree: Tree, **scoring: Any) -> Path:
    transcripts(
        results=tree.root,
        experiment="mini",
        arms=ARMS,
        speakers=["b o", "anna"],
        seeds=[1, 2],
        settings={"scoring": {**SCORING["scoring"], **scoring}},
        transcripts=tree.root / "transcripts",
        record=tree.root / "transcripts" / "run.jsonl",
    )
    return tree.root / "transcripts"


def test_each_arm_and_scorer_has_its_files(small: Tree) -> None:
    folder = write(small)
    names = {f"{kind}-{part}" for part in ("test", "heldout") for kind in ("recogs", "errs", "ref", "hyp")}
    for arm in ARMS:
        for scorer in ("released", "whisper"):
            assert {path.stem for path in (folder / arm / scorer).iterdir()} == names
    record = read_record(folder / "run.jsonl")
    assert record.stage == "transcripts" and len(record.files) == 2 * 2 * len(ARMS)


def test_names_have_speaker_utterance_and_adapter(small: Tree) -> None:
    folder = write(small)
    assert (folder / "nf4/released/ref-test.trn").read_text().splitlines() == [
        "bin blue at f (anna-a1)",
        "set red now (anna-a2)",
        "lay green here (b%20o-b1)",
    ]
    assert (folder / "pqm/released/hyp-test.trn").read_text().splitlines() == [
        "bin blue at f (anna-a1-anna-seed1)",
        "bin blue at f (anna-a1-anna-seed2)",
        "set red (anna-a2-anna-seed1)",
        "set red now now (anna-a2-anna-seed2)",
        "lay green here (b%20o-b1-b%20o-seed1)",
        "lay green here (b%20o-b1-b%20o-seed2)",
    ]
    heldout = (folder / "saml/released/hyp-heldout.trn").read_text().splitlines()
    assert heldout[0] == "go now (other-g1-anna-seed1)" and len(heldout) == 4
    assert (folder / "fp32/released/hyp-heldout.trn").read_text() == "go (other-g1)\n"


def test_hyphens_of_speakers_are_encoded() -> None:
    """sclite reads the text before the first hyphen as the speaker."""
    assert transcript_name("en-029", "u (1)", Decoded("nf4", "en-029", 0)) == "en%2D029-u%20%281%29"
    assert transcript_name("a", "b-1", Decoded("saml", "c-d", 3)) == "a-b-1-c-d-seed3"


def test_counts_are_those_of_the_tables_and_of_sclite(small: Tree) -> None:
    folder = write(small)
    for (arm, part), (hits, substitutions, deletions, insertions) in SUMS.items():
        words = hits + substitutions + deletions
        text = (folder / arm / "released" / f"errs-{part}.txt").read_text()
        assert text.splitlines()[1] == (
            f"Errors: {insertions} insertions, {deletions} deletions, {substitutions} substitutions, "
            f"over {words} reference words ({hits} correct)"
        )


def test_words_are_normalised_by_the_scorer(tree: Tree) -> None:
    lines: list[tuple[str, str, str, str]] = [("test", "u", "Mr. Smith's 25", "mister smith is twenty-five")]
    tree.hypotheses("a", "nf4", 0, lines)
    tree.hypotheses(None, "nf4", 0, [])
    options: Mapping[str, Any] = {"results": tree.root, "experiment": "mini", "speakers": ["a"], "seeds": [1]}
    transcripts(
        **options,
        arms={"nf4": ARMS["nf4"]},
        settings=SCORING,
        transcripts=tree.root / "out",
        record=tree.root / "run.jsonl",
    )
    assert (tree.root / "out/nf4/whisper/hyp-test.trn").read_text() == "mister smith is 25 (a-u)\n"
    assert (tree.root / "out/nf4/released/hyp-test.trn").read_text() == "mister smith is twentyfive (a-u)\n"
    assert (tree.root / "out/nf4/whisper/errs-test.txt").read_text().startswith("%WER = 0.00\n")
    assert (tree.root / "out/nf4/whisper/ref-heldout.trn").read_text() == ""


def test_missing_hypotheses_and_icefall_are_named(small: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icefall", None)
    with pytest.raises(
        SamlError, match="scoring.error_stats: icefall wants icefall, which cannot be imported"
    ):
        write(small, error_stats="icefall")
    (small.root / "heldout/nf4/seed0/hypotheses.jsonl").unlink()
    with pytest.raises(SamlError, match="heldout/nf4/seed0/hypotheses.jsonl: cannot read"):
        write(small)


@pytest.mark.system
@needs_sclite
def test_sclite_counts_the_same_in_the_files(small: Tree) -> None:
    folder = write(small)
    for (arm, part), expected in SUMS.items():
        of = folder / arm / "released"
        counts = sclite_counts(of / f"ref-{part}.trn", of / f"hyp-{part}.trn")
        names = (of / f"ref-{part}.trn").read_text().count("(")
        assert len(counts) == names
        assert tuple(map(sum, zip(*counts.values(), strict=True))) == expected
