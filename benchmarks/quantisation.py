"""What does NF4 cost a real Whisper, and what does a low-rank correction win back before any speech is heard?

Speakers of speechocean762's part `train`, none of whom is a target speaker, with the whole context of 30 s
and the guard against loops. Blocks of 32, 64 and 128 weights along the rows of each matrix, or along its
columns; scales in 32 bits or quantised too; and for blocks of 64, the first singular vectors of what
quantisation takes away, in the linear layers that adapters go into (the start of LoftQ, arXiv 2310.08659, in
one step). Wants SAML_SPEECHOCEAN762_ROOT and SAML_WHISPER_CHECKPOINT (config/README.md); without them it says
so and ends.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave
from benchmarks.looping import CONFIGS, VARIABLES, first_utterances

WHOLE = "full precision"


class Setting(NamedTuple):
    """How weights are quantised: block, scales quantised too, along columns, rank of the correction."""

    block: int
    double: bool = True
    columns: bool = False
    rank: int = 0

    @property
    def name(self) -> str:
        """As in the table."""
        words = [f"NF4, blocks of {self.block}"]
        words += ["along columns"] * self.columns + ["scales in 32 bits"] * (not self.double)
        return ", ".join(words + [f"correction of rank {self.rank}"] * bool(self.rank))


SETTINGS = [
    Setting(32),
    Setting(64),
    Setting(128),
    Setting(64, double=False),
    Setting(64, columns=True),
    *(Setting(64, rank=rank) for rank in (1, 8, 23)),
]
# As in all experiments.
USUAL = Setting(64).name


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--speakers", type=int, default=9, help="the first of `train` (9)")
    parser.add_argument("--utterances", type=int, default=20, help="the first of each speaker (20)")
    parser.add_argument("--beams", type=int, default=4, help="(4)")
    names = [setting.name for setting in SETTINGS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these ways of quantisation")
    options = parser.parse_args(given)
    lacking = [name for name in VARIABLES if not os.environ.get(name)]
    if lacking:
        print(f"quantisation: left out; it wants {' and '.join(lacking)} (config/README.md)")
        return
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("quantisation", "what does NF4 cost a real Whisper?", options)
    with tempfile.TemporaryDirectory() as folder:
        _compare(report, options, Path(folder))
    report.finish()


def _compare(report: Report, options: argparse.Namespace, folder: Path) -> None:
    from benchmarks._scores import compared
    from benchmarks.whisper_context import system
    from saml.config.load import load
    from saml.models.nf4 import quantisable
    from saml.models.recogniser import as_module

    rows = first_utterances(options)
    recogniser, cuts = system(load(CONFIGS)["model"], None, rows, folder)
    own = as_module(recogniser).state_dict()
    originals = {name: own[name].clone() for name in quantisable(recogniser)}
    found: dict[str, dict[str, Any]] = {}
    counts: dict[str, Any] = {}
    runs = {}
    chosen = [setting for setting in SETTINGS if setting.name in options.only]
    for setting in (None, *chosen):
        name = WHOLE if setting is None else setting.name
        decode = _decode(recogniser, cuts, options.beams)
        runs[name] = _run(name, found, counts, decode, recogniser, originals, setting)
    timings = interleave(runs, repeats=options.repeats, warm_up=0)  # what counts are errors
    report.compare(f"{len(rows)} utterances", timings, reference=WHOLE, more=found)
    for reference in (WHOLE, USUAL):
        for name in counts if reference in counts else []:
            if name not in (WHOLE, reference):
                against = compared(counts[reference], counts[name], options.seed)
                report.note(f"{name} against {reference}: {against}")


def _decode(recogniser: Any, cuts: Sequence[Any], beams: int) -> Callable[[], tuple[Any, int]]:
    """Decodes everything; returns word errors and the number of outputs that looped."""
    from benchmarks._scores import counts_by_speaker
    from saml.decoding.transcription import Search, best_outputs

    search = Search(beams=beams, batch_seconds=120.0, max_tokens_per_second=30.0, ctc_weight=0.0, guard=True)

    def decode() -> tuple[Any, int]:
        outputs = best_outputs(recogniser, cuts, search, whole_context=True)
        return counts_by_speaker(cuts, outputs), sum(bool(output.guard) for output in outputs)

    return decode


def _run(
    name: str,
    found: dict[str, dict[str, Any]],
    counts: dict[str, Any],
    decode: Callable[[], tuple[Any, int]],
    recogniser: Any,
    originals: dict[str, Any],
    setting: Setting | None,
) -> Callable[[], None]:
    """Sets the weights, decodes everything and notes under `name` what came out."""
    from benchmarks._scores import pooled

    def run() -> None:
        megabytes, error = _set_weights(recogniser, originals, setting)
        counts[name], looped = decode()
        found[name] = {
            **pooled(counts[name]),
            "looped": looped,
            "MB": megabytes,
            "error of weights %": 100 * error,
        }

    return run


def _set_weights(recogniser: Any, originals: dict[str, Any], setting: Setting | None) -> tuple[float, float]:
    """Set the quantised weights: the size in MB of all that is stored, and their relative error."""
    import torch

    from saml.adapters.sites import find_sites
    from saml.models.recogniser import as_module
    from saml.models.store import stored

    corrected = {f"{name}.weight" for _, name, _ in find_sites(recogniser, recogniser.sites)}
    own = as_module(recogniser).state_dict()
    size = sum(tensor.nbytes for name, tensor in stored(recogniser).items() if name not in originals)
    difference = norm = 0.0
    with torch.no_grad():
        for name, weight in originals.items():
            new, nbytes = (weight, weight.nbytes) if setting is None else _quantised(weight, name, setting)
            if setting is not None and setting.rank and name in corrected:
                u, s, v = torch.linalg.svd(weight - new, full_matrices=False)
                new = new + (u[:, : setting.rank] * s[: setting.rank]) @ v[: setting.rank]
                nbytes += 4 * setting.rank * sum(weight.shape)
            own[name].copy_(new)
            size += nbytes
            difference += float((weight - new).square().sum())
            norm += float(weight.square().sum())
    return size / 1e6, (difference / norm) ** 0.5


def _quantised(weight: Any, name: str, setting: Setting) -> tuple[Any, int]:
    """A weight in NF4 and back, and its bytes in NF4."""
    from saml.models.nf4 import pack, unpack

    along = weight.transpose(0, 1).contiguous() if setting.columns else weight
    how = {"block_size": setting.block, "double": setting.double}
    packed = pack(along, name, **how)
    back = unpack(packed, name, along.shape, **how)
    return (back.transpose(0, 1) if setting.columns else back), sum(one.nbytes for one in packed.values())


if __name__ == "__main__":
    main()
