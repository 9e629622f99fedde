"""Adaptation to several speakers: ours beside PEFT, and beside SAML written as its equation.

PEFT: transformers' Whisper with bitsandbytes' 4-bit weights and a LoRA, prepared as PEFT's documentation
says, each batch padded to 30 s, one speaker after another. Rank, layers with adapters, batches, optimiser
and number of steps are the same for all; loading, evaluation and saving are left out for all.

The released arithmetic: every layer computes y = W x + s (sum_e p_e B_e)(sum_f p_f A_f) x as it stands in the
paper, matrices of all experts stacked and mixed for each utterance with einsum, torch's own dropout, and
every router convolves all frames before it pools them; one speaker after another at 30 s. It is checked that
both compute the same losses.

The table separates four causes: the layers alone (both at 30 s), not padding to 30 s (with a short silence
instead), batches of utterances of similar length (the engine of `saml adapt`, one speaker at a time), and all
speakers in the same batches (the same engine with several adapters). The base alone, without any adapter,
forward and backward with the short silence, shows what remains.

On a GPU all compute in bfloat16, on a CPU all in 32 bits; with `--bfloat16` PEFT, the released arithmetic and
the multi-adapter batches are also timed in bfloat16.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report, Row
from benchmarks._timing import Timing, interleave

PEFT, RELEASED, BARE = "PEFT LoRA, 4 bits, 30 s", "released SAML, 30 s", "the base's own products"
CAUSES = (
    "the layers and weights",
    "not padding to 30 s",
    "batches of similar length",
    "speakers in one batch",
)


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--size", default="mini", help="toy, mini (default), tiny.en or base.en")
    parser.add_argument("--like", nargs="+", default=["librispeech", "ted"], help="lengths of (both)")
    parser.add_argument("--speakers", type=int, default=2, help="(2)")
    parser.add_argument("--utterances", type=int, default=4, help="of each speaker (4)")
    parser.add_argument("--batch", type=int, default=4, help="utterances of a speaker in a batch (4)")
    parser.add_argument("--epochs", type=int, default=1, help="over a speaker's utterances (1)")
    parser.add_argument("--experts", type=int, default=10, help="of SAML (10)")
    parser.add_argument(
        "--tail-seconds", type=float, default=1.0, help="of silence after an utterance, for ours (1)"
    )
    parser.add_argument("--bfloat16", action="store_true", help="on a CPU also in bfloat16")
    options = parser.parse_args(given)
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("adaptation", "how much faster is adaptation to several speakers, and why?", options)
    for like in options.like:
        with tempfile.TemporaryDirectory() as folder:
            _compare(report, like, options, Path(folder))
    report.finish()


def _compare(report: Report, like: str, options: argparse.Namespace, folder: Path) -> None:
    from benchmarks import _adapting as ways

    halved, options = options, argparse.Namespace(**{**vars(options), "bfloat16": False})
    long = ways.Data(like, None, options, folder)
    short = ways.Data(like, options.tail_seconds, options, folder)
    contenders = {
        PEFT: ways.peft(long, options, folder),
        RELEASED: ways.one_by_one(long, ways.spec(options.experts), options, equation=True),
        BARE: ways.bare(short, options),
    }
    ours: dict[str, list[str]] = {}
    for kind, experts in (("LoRA", 1), ("SAML", options.experts)):
        what = ways.spec(experts)
        own = {
            f"{kind}, 30 s": ways.one_by_one(long, what, options),
            f"{kind}, {options.tail_seconds:g} s of silence": ways.one_by_one(short, what, options),
            f"{kind}, engine, speaker by speaker": ways.engine(short, what, options, at_once=1),
            f"{kind}, engine, speakers in one batch": ways.engine(
                short, what, options, at_once=options.speakers
            ),
        }
        contenders |= own
        ours[kind] = list(own)
    in_half = {}
    if halved.bfloat16:
        what = ways.spec(options.experts)
        in_half = {
            f"{PEFT}, bfloat16": ways.peft(long, halved, folder),
            f"{RELEASED}, bfloat16": ways.one_by_one(long, what, halved, equation=True),
            "LoRA, speakers in one batch, bfloat16": ways.engine(
                short, ways.spec(1), halved, at_once=options.speakers
            ),
            "SAML, speakers in one batch, bfloat16": ways.engine(
                short, what, halved, at_once=options.speakers
            ),
        }
    timings = interleave(contenders | in_half, repeats=options.repeats)
    work = f"{options.size}, {options.speakers} x {options.utterances} utterances like {like}'s"
    for kind, reference in (("LoRA", PEFT), ("SAML", RELEASED)):
        rows = _rows(report, f"{kind}: {work}", timings, [reference, *ours[kind]], options.speakers)
        _explain(report, rows, list(zip(CAUSES, ours[kind], strict=True)))
    group = f"SAML beside PEFT: {work}"
    rows = _rows(report, group, timings, [PEFT, RELEASED, BARE, *ours["SAML"]], options.speakers)
    _limit(report, rows)
    if in_half:
        group = f"bfloat16 beside 32 bits: {work}"
        _rows(report, group, timings, [PEFT, RELEASED, *in_half, ours["SAML"][-1]], options.speakers)


def _rows(
    report: Report, group: str, timings: Mapping[str, Timing], names: Sequence[str], speakers: int
) -> dict[str, Row]:
    """Add rows for these contenders, the first is the reference, with speakers adapted an hour."""
    chosen = {name: timings[name] for name in names}
    hourly = {
        name: {"speakers/hour": round(3600 * speakers / statistics.median(timing.wall))}
        for name, timing in chosen.items()
    }
    return report.compare(group, chosen, reference=names[0], more=hourly)


def _limit(report: Report, rows: dict[str, Row]) -> None:
    """Note the upper bound: how much faster than the peers the base's products alone are."""
    most = [rows[BARE].processor_ratio / rows[peer].processor_ratio for peer in (PEFT, RELEASED)]
    report.note(
        f"{rows[BARE].group}: only the base's products, forward and back, without any adapter, are "
        f"{most[0]:.2f} times as fast as {PEFT}, and {most[1]:.2f} times as {RELEASED} (processor seconds)"
    )


def _explain(report: Report, rows: dict[str, Row], steps: list[tuple[str, str]]) -> None:
    """Note by which factor each step shortens the time of the one before it."""
    group = rows[steps[0][1]].group
    for kind, what in (("ratio", "seconds"), ("processor_ratio", "processor seconds")):
        before, parts = 1.0, []
        for cause, name in steps:
            ratio = getattr(rows[name], kind)
            rows[name].more[f"step, {what}"] = ratio / before
            parts.append(f"{ratio / before:.2f} from {cause}")
            before = ratio
        report.note(f"{group}, {what}: {before:.2f} times as fast = {' x '.join(parts)}")


if __name__ == "__main__":
    main()
