"""The package never unpickles, evaluates text, or passes unquoted input to a shell."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("saml/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])
RULES = sorted([ROOT / "workflow/Snakefile", *ROOT.glob("workflow/rules/*.smk")])

MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# Names that may be imported only to catch the exceptions of other libraries.
HARMLESS = {"UnpicklingError"}
CALLS = {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
CALLS |= {"yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all", "yaml.full_load_all"}
CALLS |= {"pandas.read_pickle", "pd.read_pickle"}
# Calls, and the arguments that they need.
NEEDED = {"torch.load": "weights_only"}
# Arguments that are never allowed.
FORBIDDEN = {"shell", "allow_pickle", "trust_remote_code"}


def offences(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules = [name for name in names if name.name.partition(".")[0] in MODULES]
                yield from (name.name for name in modules if name.name != "pickle" or name.asname)
            case ast.Attribute(value=ast.Name(id="pickle"), attr=attribute) if attribute not in HARMLESS:
                yield f"pickle.{attribute}"
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in MODULES:
                yield module
            case ast.Call(func=function, keywords=keywords):
                name = ast.unparse(function)
                given = {word.arg: ast.unparse(word.value) for word in keywords}
                if name in CALLS or (name in NEEDED and given.get(NEEDED[name]) != "True"):
                    yield name
                yield from (f"{name}({key}=)" for key in FORBIDDEN if given.get(key, "False") != "False")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_has_forbidden_calls(path: Path) -> None:
    assert list(offences(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "offence"),
    [
        ("import pickle\npickle.loads(data)", "pickle.loads"),
        ("import pickle as harmless", "pickle"),
        ("from pickle import loads", "pickle"),
        ("from joblib.externals import cloudpickle", "joblib.externals"),
        ("torch.load(path)", "torch.load"),
        ("torch.load(path, weights_only=False)", "torch.load"),
        ("yaml.load(text, Loader=yaml.Loader)", "yaml.load"),
        ("subprocess.run(command, shell=True)", "subprocess.run(shell=)"),
        ("np.load(path, allow_pickle=True)", "np.load(allow_pickle=)"),
        ("exec(text)", "exec"),
    ],
)
def test_forbidden_calls_are_found(source: str, offence: str) -> None:
    assert list(offences(source)) == [offence]
    assert list(offences("torch.load(path, weights_only=True); subprocess.run(command, shell=False)")) == []


def commands(text: str) -> Iterator[str]:
    """The texts of all shell commands in a file of rules.

    Those of stages come from one function, which tests/workflow runs with names that a shell would read.
    """
    yield from re.findall(r"shell:\n((?:[ ]+[rf]*\".*\n)+)", text)
    yield from re.findall(r"shell:\n[ ]+(command\()", text)
    yield from re.findall(r"shell\((\".*\")\)", text)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_shell_commands_quote_their_values(path: Path) -> None:
    """Except numbers according to the configuration's schema."""
    text = path.read_text(encoding="utf-8")
    found = list(commands(text))
    assert len(found) == len(re.findall(r"\bshell(?::\n|\(\")", text))
    for command in found:
        for place in re.findall(r"\{([^{}]+)\}", command):
            assert place.endswith(":q") or place.startswith("resources.") or place == "SAME_FOR_ALL", place
