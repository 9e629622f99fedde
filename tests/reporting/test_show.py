"""What `saml show` prints."""

import pytest
from results_tree import Tree, run

from saml.reporting.print_tables import aligned, percent, show
from saml.runtime.errors import SamlError


def test_show_prints_the_table_the_caveat_and_where_to_look(
    small: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    run(small)
    show(small.root)
    text = capsys.readouterr().out
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("saml "))
    assert row.split()[:3] == ["saml", "10.0", "50.0"]
    assert row.endswith("0.50 + 0.06    7.14x")
    assert "2 target speakers cannot speak for all speakers." in text
    assert "saml against pqm" in text
    for place in ("tables", "figures", "snakemake --report", "mlflow ui --backend-store-uri"):
        assert place in text
    assert max(map(len, lines[:20])) <= 100


def test_show_without_tables(small: Tree) -> None:
    with pytest.raises(SamlError, match="no tables to show"):
        show(small.root)


def test_aligned() -> None:
    assert aligned([["arm", "WER"], ["saml", "9.1"], ["a", "10.2"]]) == [
        "arm    WER",
        "----------",
        "saml   9.1",
        "a     10.2",
    ]


def test_percent() -> None:
    assert (percent(0.1234), percent(float("nan")), percent(float("-inf"))) == ("12.3", "-", "-inf")
