"""What a command costs before it does anything: processor time of fresh processes, which every job pays.

`saml --help` and every stage's imports, networks included, beside the libraries that they cannot do without.
Then an NF4 model that is loaded with torch's compiler, which bitsandbytes asks for, and without, as jobs do.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave, run_apart
from saml.cli.stage_table import STAGES

# Modules that a stage loads while it runs, by what it does. Both families are there to choose from.
_NETWORK = ("saml.models.{family}", "saml.models.nf4")
_COMPILED = "with torch's compiler"
_LIBRARIES = "import torch, transformers' network, bitsandbytes"
_READS_MODEL = ("quantise", "initialise-experts", "pretrain", "adapt", "decode", "routes", "encode")
# Those that an experiment calls most, and one of each other kind.
OFTEN = ["adapt", "decode", "prepare-speaker", "tabulate", "figures", "track"]
_OTHERS = {
    "tabulate": "saml.reporting.tables",
    "figures": "saml.reporting.figures",
    "track": "saml.tracking.publish",
}


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--family", choices=("conformer", "whisper"), default="conformer", help="(conformer)")
    parser.add_argument("--commands", nargs="+", default=OFTEN, help=f"or: all (default: {' '.join(OFTEN)})")
    options = parser.parse_args(given)
    prepare(options)
    report = Report("start_up", "what does a command cost before it does anything?", options)
    libraries = {
        "python": _python("pass"),
        "import torch": _python("import torch"),
        "import torch, transformers' network": _python(_network(options.family)),
        _LIBRARIES: _python(f"{_network(options.family)}; import bitsandbytes.functional"),
        "saml --help": _process("-m", "saml.cli.main", "--help"),
    }
    timings = interleave({**libraries, **_commands(options)}, repeats=options.repeats)
    report.compare("imports", timings, reference=_LIBRARIES)
    with tempfile.TemporaryDirectory() as folder:
        timings = interleave(_nf4(Path(folder), options), repeats=options.repeats)
    report.compare("an NF4 model, imports included", timings, reference=_COMPILED)
    report.note("Compare processor seconds: the others depend on what else the machine does.")
    report.finish()


def _commands(options: argparse.Namespace) -> dict[str, Callable[[], float]]:
    modules = {stage.name: stage.function.partition(":")[0] for stage in STAGES.values()} | _OTHERS
    found = {}
    for name, module in modules.items():
        more = [own.format(family=options.family) for own in _NETWORK] if name in _READS_MODEL else []
        if name in options.commands or options.commands == ["all"]:
            found[f"saml {name}"] = _python(f"import saml.cli.main, {', '.join([module, *more])}")
    return found


def _nf4(folder: Path, options: argparse.Namespace) -> dict[str, Callable[[], float]]:
    from benchmarks._models import write_nf4

    weights, description = map(str, write_nf4("mini", folder, seed=options.seed))
    load = "from saml.models.store import load_model; from pathlib import Path; "
    load += f"load_model(Path({weights!r}), Path({description!r}))"
    without = "import os; os.environ['TORCH_COMPILE_DISABLE'] = '1'; "
    return {_COMPILED: _python(load), "without torch's compiler": _python(without + load)}


def _network(family: str) -> str:
    """The import of a family's network from transformers, where torchaudio has no CUDA."""
    name = {"conformer": "CohereAsr", "whisper": "Whisper"}[family]
    torchaudio = "from saml.compat.torchaudio import ensure; ensure()"
    return f"import torch; {torchaudio}; from transformers import {name}ForConditionalGeneration"


def _python(code: str) -> Callable[[], float]:
    return _process("-c", code)


def _process(*command: str) -> Callable[[], float]:
    """A fresh process; calling it returns that one's peak memory in 10^6 bytes."""
    return lambda: run_apart([sys.executable, *command])[1]


if __name__ == "__main__":
    main()
