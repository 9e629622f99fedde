"""The pins agree wherever they stand, and so do the versions of saml."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import saml
from saml.doctor.machine import read_pins

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins_of(path):
    return {canonical(name): version for name, version in read_pins(path).items()}


REQUIREMENTS = pins_of(ROOT / "requirements.txt")
CONSTRAINTS = pins_of(ROOT / "constraints.txt")


@pytest.mark.parametrize("file", ["requirements.txt", "constraints.txt"])
def test_every_line_is_an_exact_pin_without_a_local_version(file):
    lines = (ROOT / file).read_text().splitlines()
    entries = [line for line in lines if line.strip() and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line) for line in entries)
    names = [canonical(line.partition("==")[0]) for line in entries]
    assert len(set(names)) == len(names)


def test_constraints_hold_the_requirements():
    assert REQUIREMENTS.items() <= CONSTRAINTS.items()


def test_conda_has_the_same_pins():
    dependencies = yaml.safe_load((ROOT / "environment.yaml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    assert {canonical(n): v for n, _, v in (entry.partition("==") for entry in pip)} == REQUIREMENTS


def test_the_project_names_the_runtime_requirements():
    runtime = (ROOT / "requirements.txt").read_text().partition("# --- development")[0]
    names = {canonical(line.partition("==")[0]) for line in runtime.splitlines() if "==" in line}
    assert {canonical(name) for name in PROJECT["project"]["dependencies"]} == names


def test_versions_of_saml_agree():
    assert PROJECT["project"]["version"] == saml.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == saml.__version__


def test_python_versions_agree():
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in (ROOT / "Makefile").read_text()


def test_data_files_go_into_the_package():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["saml.evaluation"]
    packed = {path for pattern in patterns for path in (ROOT / "saml" / "evaluation").glob(pattern)}
    assert {path for path in (ROOT / "saml" / "evaluation" / "data").rglob("*") if path.is_file()} <= packed
