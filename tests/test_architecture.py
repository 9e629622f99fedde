"""The architecture of `saml/`: layers of packages, no import cycles, no hidden imports.

The order of the packages is that of docs/architecture.md: a package imports only packages below it.
"""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SAML = Path(__file__).parents[1] / "saml"

LAYERS = """
    cli transcribe personalise export doctor tuning reporting stages decoding training tracking config corpora
    adapters models features audio evaluation compat runtime
""".split()

# Imports that do not go downwards, (importing module, imported module), each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {}


class Import(NamedTuple):
    """An import of one module of saml by another."""

    importer: str
    imported: str
    line: int
    in_function: bool
    explained: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(SAML.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SAML.rglob("*.py"))}


def package(module: str) -> str:
    """The package below `saml`; empty for `saml` itself."""
    return module.split(".")[1] if "." in module else ""


def imports_of(module: str) -> Iterator[Import]:
    """The imports of saml's modules in one module, wherever they are, but not those for annotations only."""
    source = MODULES[module].read_text(encoding="utf-8")
    lines = source.splitlines()
    tree = ast.parse(source)
    for node, in_function in walk(tree, False):
        first = node.lineno - 1  # of the imports that stand together
        while lines[first - 1].lstrip().startswith(("from ", "import ")):
            first -= 1
        explained = "#" in lines[node.lineno - 1] or lines[first - 1].lstrip().startswith("#")
        for imported in sorted(set(targets(node))):
            yield Import(module, imported, node.lineno, in_function, explained)


def walk(node: ast.AST, in_function: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """All import statements below `node`, and whether they are in a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, in_function
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        else:
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, in_function or inner)


def targets(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The modules of saml that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
        return
    assert node.level == 0, "imports are absolute"
    if node.module not in MODULES:
        return
    for alias in node.names:
        submodule = f"{node.module}.{alias.name}"
        yield submodule if submodule in MODULES else node.module


IMPORTS = [one for module in MODULES for one in imports_of(module)]


def described(imports: list[Import]) -> str:
    """A line for each import."""
    return "\n".join(f"{one.importer}, line {one.line}: imports {one.imported}" for one in imports)


def test_every_package_has_a_layer() -> None:
    """And `saml/` itself contains no module but its `__init__`."""
    entries = {path.name for path in SAML.iterdir() if path.name != "__pycache__"}
    files = {name for name in entries if "." in name}
    assert files <= {"__init__.py", "py.typed"}
    assert entries - files <= set(LAYERS)


def test_packages_import_only_packages_below() -> None:
    upwards = [
        one
        for one in IMPORTS
        if package(one.imported)
        and package(one.importer) != package(one.imported)
        and LAYERS.index(package(one.importer)) > LAYERS.index(package(one.imported))
        and (one.importer, one.imported) not in EXCEPTIONS
    ]
    assert described(upwards) == ""


def test_exceptions_are_still_needed() -> None:
    assert set(EXCEPTIONS) <= {(one.importer, one.imported) for one in IMPORTS}
    assert all(EXCEPTIONS.values())


def test_there_are_no_import_cycles() -> None:
    """Between modules, imports in functions included."""
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for one in IMPORTS:
        if one.importer != one.imported:
            graph[one.importer].add(one.imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_imports_in_functions_are_explained() -> None:
    """They are for start-up time or optional parts only; a comment in or above the line says which."""
    unexplained = [one for one in IMPORTS if one.in_function and not one.explained]
    assert described(unexplained) == ""
