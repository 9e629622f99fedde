"""The pages of the site: those of the repository at their paths, and the docstrings of each package.

MkDocs expects all pages in one folder, `docs_dir`. Ours lie in several: README.md where a forge shows it, and
config/README.md beside the configurations. So the site has the layout of the repository, and no link is
rewritten: a relative path leads to the same page on a forge and on the site.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = ["*.md", "docs/**/*.md", "config/README.md", "benchmarks/README.md"]
# What pages may link to. They name any other file of the repository in code, without a link.
SHOWN = [
    *PAGES,
    "config/*.yaml",
    "LICENSE",
    "CITATION.cff",
    *(f"docs/**/*.{kind}" for kind in ("png", "svg", "js", "css")),
]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the packages' pages to the navigation."""
    assert config.nav is not None
    pages = [{"Overview": "docs/api/index.md"}, *({name: f"docs/api/{name}.md"} for name in packages())]
    config.nav.append({"API": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's files, and ours with their paths in the repository."""
    ours = [
        File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls)
        for pattern in SHOWN
        for path in sorted(ROOT.glob(pattern))
    ]
    api = [File.generated(config, f"docs/api/{name}.md", content=text) for name, text in api_pages()]
    return Files([*(file for file in files if file.src_dir != config.docs_dir), *ours, *api])


def packages() -> list[str]:
    """The names of saml's packages, without `saml.`."""
    return sorted(path.parent.name for path in (ROOT / "saml").glob("*/__init__.py"))


def api_pages() -> Iterator[tuple[str, str]]:
    """Name and Markdown of an overview and of each package's page."""
    rows = [f"| [saml.{name}]({name}.md) | {purpose(ROOT / 'saml' / name)} |" for name in packages()]
    head = [
        "# API",
        "",
        "The packages of `saml`. [Architecture](../architecture.md) says which imports which.",
        "",
    ]
    yield "index", "\n".join([*head, "| package | content |", "|---|---|", *rows, ""])
    for name in packages():
        yield name, "\n".join([f"# saml.{name}", "", *_package(name)])


def _package(name: str) -> Iterator[str]:
    """The package's own docstring, then its modules; what it imports for convenience is not repeated."""
    alone = "{members: false, show_root_heading: false, show_root_toc_entry: false}"
    yield f"::: saml.{name}\n    options: {alone}\n"
    for path in sorted((ROOT / "saml" / name).glob("[!_]*.py")):
        yield f"::: saml.{name}.{path.stem}\n"


def purpose(package: Path) -> str:
    """The first line of a package's docstring."""
    return (ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or "").partition("\n")[0]
