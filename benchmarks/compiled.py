"""torch.compile on the layers of the model that is adapted, beside the same layers as they are.

Several speakers are adapted in the same batches, by the engine of `saml adapt`. The time of compiling is
reported separately: every process pays it again, and an adaptation is short. Dropout is off for both, because
ours draws by numpy on a CPU and torch.compile cannot follow it there. Needs a C++ compiler.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks._arguments import arguments, of_one_adaptation, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    of_one_adaptation(parser, speakers=2, experts=6)
    options = parser.parse_args(given)
    prepare(options)
    if options.device == "cpu" and shutil.which("g++") is None:
        print("compiled: no g++, which torch.compile needs on a CPU: left out")
        return
    import torch

    torch.set_num_threads(options.threads)
    report = Report("compiled", "does torch.compile pay in an adaptation?", options)
    with tempfile.TemporaryDirectory() as folder:
        _compare(report, options, Path(folder))
    report.finish()


def _compare(report: Report, options: argparse.Namespace, folder: Path) -> None:
    from dataclasses import replace

    from benchmarks import _adapting as ways

    what = replace(ways.spec(options.experts), dropout=0.0)
    data = ways.Data(options.like, options.tail_seconds, options, folder)
    plain = ways.engine(data, what, options, at_once=options.speakers)
    compiled = ways.engine(data, what, options, at_once=options.speakers, compiled=True)
    plain()
    start, began = time.monotonic(), time.process_time()
    compiled()
    first = time.process_time() - began
    timings = interleave({"as it is": plain, "layers compiled": compiled}, repeats=options.repeats)
    group = (
        f"{options.size}, SAML, {options.speakers} x {options.utterances} utterances like {options.like}'s"
    )
    report.compare(group, timings, reference="as it is")
    wall = time.monotonic() - start
    report.note(
        f"{group}: the first round, compiling in it, {first:.1f} processor s (all rounds {wall:.0f} s)"
    )


if __name__ == "__main__":
    main()
