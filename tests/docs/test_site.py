"""The documentation site: it builds strictly, its links lead somewhere, and it needs no network."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

# Elements that a browser knows, of those that the theme and Markdown write.
ELEMENTS = set(
    """
    a abbr article aside audio blockquote body br button circle code dd del details div dl dt em figcaption
    figure footer form h1 h2 h3 h4 h5 h6 head header hr html img input kbd label li link main mark meta nav ol
    p path pre script section small source span strong style sub summary sup svg table tbody td th thead title
    tr ul
    """.split()
)


class Page(HTMLParser):
    """What a built page refers to, what it can be referred to by, and its elements."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.names: set[str] = set()
        self.elements: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attributes if value}
        self.elements.add(tag)
        self.names |= {values[name] for name in ("id", "name") if name in values}
        loaded = {values[name] for name in ("src", "href") if name in values}
        (self.links if tag == "a" else self.loads).update(loaded)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Every page of the site, as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {file: Page(file) for file in folder.rglob("*.html") if file.name != "404.html"}


def local(page: Path, target: str) -> tuple[Path, str]:
    """The file and the place in it that a relative link leads to."""
    parts = urlsplit(target)
    return (page.parent / unquote(parts.path)).resolve() if parts.path else page, unquote(parts.fragment)


def test_links_lead_to_files_and_headings(site):
    for file, page in site.items():
        for target in page.links | page.loads:
            if not urlsplit(target).scheme:
                linked, place = local(file, target)
                assert linked.is_file(), (file.name, target)
                assert not place or place in site[linked].names, (file.name, target)


def test_nothing_is_loaded_from_the_network(site):
    for file, page in site.items():
        assert not {one for one in page.loads if urlsplit(one).netloc}, file.name


def test_placeholders_are_not_taken_for_elements(site):
    """`<speaker>` outside code would vanish from the page."""
    for file, page in site.items():
        assert page.elements <= ELEMENTS, (file.name, page.elements - ELEMENTS)


def test_every_package_has_a_page_with_its_functions(site):
    pages = {file.stem: page for file, page in site.items() if file.parent.name == "api"}
    packages = {folder.parent.name for folder in (ROOT / "saml").glob("*/__init__.py")}
    assert packages | {"index"} == set(pages)
    assert "saml.evaluation.wer.pool" in pages["evaluation"].names


def test_a_page_opened_from_a_folder_finds_its_search_index(site):
    (home,) = (file for file in site if file.name == "index.html" and (file.parent / "RESULTS.html").exists())
    assert (
        (home.parent / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index = ")
    )
    assert "docs/site/iframe-worker.js" in site[home].loads
