"""What the pages promise is there: links, configurations, commands with their flags."""

import importlib.util
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from saml.cli.main import command_line
from saml.models.recogniser import BaseRecogniser
from saml.models.tokenisers.characters import CharacterTokeniser

ROOT = Path(__file__).parents[2]
# Pages, and the lab book: it keeps the commands of its revisions, so only its links are followed.
LAB_BOOK = [
    *(ROOT / name for name in ("RESULTS.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs" / "lab-book").glob("*.md")),
]
PAGES = [ROOT / "README.md", ROOT / "config" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code(page: Path) -> Iterator[str]:
    """The lines of a page's code, continued lines joined, comments left out."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*$\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (\S.*(?:\n     .*)*)", text, re.MULTILINE)
    for block in [*fenced, *indented]:
        for line in block.replace("\\\n", " ").splitlines():
            yield line.split(" #")[0].strip()


def headings(page: Path) -> set[str]:
    """The names that a forge gives to a page's headings: lower case, no punctuation, hyphens for spaces."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *LAB_BOOK], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not heading or heading in headings(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_configurations_are_there(page: Path) -> None:
    named = set(re.findall(r"(?:tests/)?config/[a-z0-9_-]+\.yaml", page.read_text(encoding="utf-8")))
    example = "config/plain-conformer.yaml"  # of the corpus that the page about corpora adds
    assert all((ROOT / name).exists() for name in named - {example})


def test_commands_are_understood() -> None:
    """Every `saml ...` line of every page; a wrong command or flag ends the parser."""
    lines = [line for page in PAGES for line in code(page) if line.startswith("saml ")]
    assert {line.split()[1] for line in lines} >= {"personalise", "transcribe", "doctor"}
    for line in lines:
        assert command_line().parse_args(shlex.split(line)[1:]).command == line.split()[1]


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = re.findall(r"[\w./-]+\.md", str(navigation))
    assert sorted(named) == sorted(page.relative_to(ROOT).as_posix() for page in [*PAGES, *LAB_BOOK])


def test_the_example_of_a_model_has_what_a_recogniser_needs() -> None:
    """docs/adding-a-model.md is a page that others copy from; the protocol may have grown since."""
    page = (ROOT / "docs/adding-a-model.md").read_text(encoding="utf-8")
    (source,) = re.findall(
        r'^```python title="saml/models/stacked.py"$\n(.*?)^```$', page, re.MULTILINE | re.DOTALL
    )
    (settings,) = re.findall(r"^```yaml$\n(^  stacked:$.*?)^```$", page, re.MULTILINE | re.DOTALL)
    example: dict[str, Any] = {"__name__": "stacked"}
    exec(compile(source, "stacked.py", "exec"), example)
    own = yaml.safe_load(settings)["stacked"]
    built = example["StackedRecogniser"](own, CharacterTokeniser(own["characters"]))
    for name, member in inspect.getmembers(BaseRecogniser):
        if not name.startswith("_"):
            assert hasattr(built, name), name
            if inspect.isfunction(member):
                ours = inspect.signature(getattr(type(built), name)).parameters
                assert list(ours) == list(inspect.signature(member).parameters), name


def test_the_table_of_earlier_experiments_has_the_numbers_of_results() -> None:
    """WER by arm and experiment, as the newest entries with three seeds have them."""
    spec = importlib.util.spec_from_file_location("what_was_found", ROOT / "docs/what_was_found.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    lines = (ROOT / "docs/what-was-found.md").read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("| arm | 7 synthetic voices"))
    header, _, *rows = [line.strip("| ").split(" | ") for line in lines[start : start + 8]]
    assert header[1:] == list(found.EXPERIMENTS)
    for arm, row in zip(["fp32", "nf4", "nf4-lora", "pqm", "saml", "pqm-wide"], rows, strict=True):
        for cell, heading in zip(row[1:], found.EXPERIMENTS.values(), strict=True):
            measured = re.search(rf"^\| {arm} \| \**(\d+\.\d)\**[ |]", found.entry(heading), re.MULTILINE)
            assert cell == (measured.group(1) if measured else "not run"), (arm, heading)


def test_the_readmes_findings_are_numbers_of_results() -> None:
    """Each reduction with its interval stands in the entry that its row links to; the first also on top."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    findings = text.partition("## What was found")[2].partition("\n## ")[0]
    rows = [line for line in findings.splitlines() if "](RESULTS.md#" in line]
    assert len(rows) >= 5
    entries = entries_of(ROOT / "RESULTS.md")
    first = ""
    for row in rows:
        (anchor,) = re.findall(r"\(RESULTS\.md#([^)]+)\)", row)
        numbers = re.findall(r"(-?\d+\.\d) % (\[-?\d+\.\d, -?\d+\.\d\])", row)
        assert numbers, row
        for value, interval in numbers:
            assert f"| {value} {interval} |" in entries[anchor], row
            first = first or f"{value} % {interval}"
    assert first in text.partition("\n## ")[0]


def test_the_numbers_beside_the_paper_are_those_of_results() -> None:
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    measured = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    numbers = re.findall(r"(-?\d+\.\d) % (\[-?\d+\.\d, -?\d+\.\d\])", page)
    assert len(numbers) >= 16
    assert [found for found in numbers if f" {found[0]} {found[1]} |" not in measured] == []


def entries_of(page: Path) -> dict[str, str]:
    """The text below each heading of the second level, by the name that a forge gives to it."""
    parts = re.split(r"^## (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = (re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in parts[1::2])
    return dict(zip(names, parts[2::2], strict=True))
