"""Trees of results for the tests of this folder."""

from pathlib import Path

import pytest

from tests.reporting.results_tree import ARMS, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "results" / "synthetic")


@pytest.fixture
def small(tree: Tree) -> Tree:
    """Two speakers, one with a name that must be encoded; seeds 1 and 2; every number below is known.

    Words per speaker: anna 4 + 3, "b o" 3. Errors (under `released`): see EXPECTED in test_tables.py.
    """
    tree.weights("base", 4_000_000)
    tree.weights("nf4", 500_000)
    anna = [("a1", "bin blue at f"), ("a2", "set red now")]
    bo = [("b1", "lay green here")]
    wrong = {
        ("anna", "fp32", 0): ["bin blue at s", "set red"],  # 1 substitution, 1 deletion
        ("anna", "nf4", 0): ["bin blue s", "set red"],  # 1 substitution + 1 deletion, 1 deletion
        ("anna", "pqm", 1): ["bin blue at f", "set red"],  # 1 deletion
        ("anna", "pqm", 2): ["bin blue at f", "set red now now"],  # 1 insertion
        ("anna", "saml", 1): ["bin blue at f", "set red now"],
        ("anna", "saml", 2): ["bin blue at f", "set red"],  # 1 deletion
        ("b o", "fp32", 0): ["lay green here"],
        ("b o", "nf4", 0): ["lay green"],  # 1 deletion
        ("b o", "pqm", 1): ["lay green here"],
        ("b o", "pqm", 2): ["lay green here"],
        ("b o", "saml", 1): ["lay green"],  # 1 deletion
        ("b o", "saml", 2): ["lay green here"],
    }
    heldout = {"fp32": "go", "nf4": "", "pqm": "go", "saml": "go now"}
    for (speaker, arm, seed), texts in wrong.items():
        spoken = anna if speaker == "anna" else bo
        lines = [("test", name, text, got) for (name, text), got in zip(spoken, texts, strict=True)]
        if ARMS[arm]["adapted"]:
            lines.append(("heldout", "g1", "go on", heldout[arm]))
            tree.adapter(
                speaker, arm, seed, {"pqm": 20_000, "saml": 60_000}[arm] + (1000 if seed == 2 else 0)
            )
        tree.hypotheses(speaker, arm, seed, lines)
    for arm in ("fp32", "nf4"):
        tree.hypotheses(None, arm, 0, [("heldout", "g1", "go on", heldout[arm])])
    return tree
