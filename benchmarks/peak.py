"""The share of the machine's own matrix-product peak that adapting reaches.

The floating-point operations of a round of adaptations (several speakers in the same batches, by the engine
of `saml adapt`) are counted while it runs: products by their shapes, attention by torch's own counter, no
convolutions. Beside it, in the same run: `torch.matmul` of the same shapes, as often as the adaptation has
them, and of one large square. Where the time of a round goes besides is told by kind of operation, from
torch's profiler; numpy's random numbers for dropout are no operation of torch's and not among them.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, of_one_adaptation, prepare
from benchmarks._report import Report
from benchmarks._timing import Timing, interleave

SQUARE = 1024  # sides of a product as large as a processor likes
LIKE, LARGE = "torch.matmul, the same shapes", f"torch.matmul, {SQUARE} x {SQUARE}"


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    of_one_adaptation(parser, speakers=4, experts=10)
    options = parser.parse_args(given)
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("peak", "what share of the matrix-product peak does adapting reach?", options)
    with tempfile.TemporaryDirectory() as folder:
        _compare(report, options, Path(folder))
    report.finish()


def _compare(report: Report, options: argparse.Namespace, folder: Path) -> None:
    from benchmarks import _adapting as ways
    from benchmarks._products import count, shares

    data = ways.Data(options.like, options.tail_seconds, options, folder)
    for kind, experts in (("LoRA", 1), ("SAML", options.experts)):
        adapting = f"{kind}, adaptation"
        run = ways.engine(data, ways.spec(experts), options, at_once=options.speakers)
        products = count(run)
        operations = {
            LIKE: products.in_products,
            adapting: products.all,
            LARGE: 2.0 * SQUARE**3,
        }
        timings = interleave(
            {LIKE: products.replay(options.device), adapting: run, LARGE: _large(options)},
            repeats=options.repeats,
        )
        group = f"{kind}: {options.size}, {options.speakers} speakers"
        _report(report, group, timings, operations, adapting)
        parts = [f"{name} {share:.0%}" for name, share in shares(run, options.device).items()]
        report.note(f"{group}, of all operations' own time: {', '.join(parts)}")


def _large(options: argparse.Namespace) -> Callable[[], Any]:
    import torch

    square = torch.rand(SQUARE, SQUARE, device=options.device)
    return lambda: square @ square


def _report(
    report: Report,
    group: str,
    timings: dict[str, Timing],
    operations: dict[str, float],
    adapting: str,
) -> None:
    """Rows with billions of operations a second, and the shares, which are medians over rounds."""
    more = {
        name: {"10^9 operations": operations[name] / 1e9, "10^9/s": _rate(timing.wall, operations[name])}
        for name, timing in timings.items()
    }
    report.compare(group, timings, reference=LIKE, more=more)
    for kind, seconds in (("seconds", "wall"), ("processor seconds", "processor")):
        shares = []
        for name in (LIKE, LARGE):
            rounds = zip(getattr(timings[adapting], seconds), getattr(timings[name], seconds), strict=True)
            rates = [(operations[adapting] / own) / (operations[name] / peak) for own, peak in rounds if peak]
            shares.append(f"{statistics.median(rates):.0%} of {name}" if rates else f"? of {name}")
        report.note(f"{group}, {kind}: adapting reaches {', '.join(shares)}")


def _rate(seconds: Sequence[float], operations: float) -> float:
    return operations / statistics.median(seconds) / 1e9


if __name__ == "__main__":
    main()
