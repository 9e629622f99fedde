"""The pins agree wherever they stand, and so do the versions of saml."""

import json
import os
import re
import shutil
import subprocess
import sys
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


@pytest.mark.slow
def test_a_wheel_has_all_files_and_finds_its_defaults(tmp_path):
    """Installed elsewhere, without the repository."""
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "saml", source / "saml", symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "config", source / "config")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    made, installed = tmp_path / "made", tmp_path / "installed"
    how = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *how, "--no-build-isolation", "-w", made, source], check=True)
    (wheel,) = made.glob("*.whl")
    subprocess.run([*pip, "install", *how, "--target", installed, wheel], check=True)
    shutil.rmtree(source)
    kept = {path.relative_to(ROOT / "saml") for path in (ROOT / "saml").rglob("*") if path.is_file()}
    kept = {path for path in kept if "__pycache__" not in path.parts}
    assert kept <= {path.relative_to(installed / "saml") for path in (installed / "saml").rglob("*")}
    code = (
        "import json, saml\n"
        "from saml.config.load import load\n"
        "from saml.personalise.bases import DEFAULTS\n"
        "print(json.dumps([saml.__file__, load([DEFAULTS])]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
    )
    where, defaults = json.loads(done.stdout)
    assert where.startswith(str(installed))
    assert defaults == yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
