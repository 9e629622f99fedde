"""What does the guard against loops do to a real Whisper that is not adapted? Error rates, and times beside.

The first speakers of speechocean762's part `train`, none of whom is a target speaker, with the whole context
of 30 s and with one second of silence, outputs guarded and as they are. Wants SAML_SPEECHOCEAN762_ROOT and
SAML_WHISPER_CHECKPOINT (config/README.md); without them it says so and ends.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

VARIABLES = ("SAML_SPEECHOCEAN762_ROOT", "SAML_WHISPER_CHECKPOINT")
CONFIGS = [
    Path(__file__).parents[1] / "config" / name for name in ("config.yaml", "speechocean762-whisper.yaml")
]
WHOLE = "30 s"


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--speakers", type=int, default=2, help="the first of `train` (2)")
    parser.add_argument("--utterances", type=int, default=10, help="the first of each speaker (10)")
    parser.add_argument("--beams", type=int, default=4, help="(4)")
    parser.add_argument("--tail", type=float, default=1.0, help="seconds of silence (1)")
    options = parser.parse_args(given)
    lacking = [name for name in VARIABLES if not os.environ.get(name)]
    if lacking:
        print(f"looping: left out; it wants {' and '.join(lacking)} (config/README.md)")
        return
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("looping", "what does the guard against loops do?", options)
    with tempfile.TemporaryDirectory() as folder:
        _compare(report, options, Path(folder))
    report.finish()


def _compare(report: Report, options: argparse.Namespace, folder: Path) -> None:
    from benchmarks.whisper_context import system
    from saml.config.load import load

    rows = first_utterances(options)
    recogniser, cuts = system(load(CONFIGS)["model"], options.tail, rows, folder)
    runs: dict[str, Callable[[], None]] = {}
    found: dict[str, dict[str, Any]] = {}
    for context in (f"{options.tail:g} s of silence", WHOLE):
        for guard in (False, True):
            name = f"{context}{', guarded' * guard}"
            runs[name] = _run(name, found, recogniser, cuts, context == WHOLE, guard, options.beams)
    timings = interleave(runs, repeats=options.repeats, warm_up=0)  # what counts are errors
    report.compare(f"WER of {len(rows)} utterances", timings, reference=WHOLE, more=found)


def first_utterances(options: argparse.Namespace) -> list[Any]:
    """The first `utterances` of each of the first `speakers` of `train`."""
    from saml.corpora.speechocean762 import of_speaker, read_part, root_folder

    rows = read_part(root_folder({"root": None}), "train")
    speakers = sorted({row.speaker for row in rows})[: options.speakers]
    return [row for name in speakers for row in of_speaker(rows, name, "")[: options.utterances]]


def _run(
    name: str,
    found: dict[str, dict[str, Any]],
    recogniser: Any,
    cuts: Sequence[Any],
    whole: bool,
    guard: bool,
    beams: int,
) -> Callable[[], None]:
    """Decodes everything and notes under `name` what came out."""
    from saml.decoding.transcription import Search, best_outputs
    from saml.evaluation.wer import count, error_rate, pool

    search = Search(beams=beams, batch_seconds=120.0, max_tokens_per_second=30.0, ctc_weight=0.0, guard=guard)

    def run() -> None:
        outputs = best_outputs(recogniser, cuts, search, whole_context=whole)
        pairs = zip(cuts, outputs, strict=True)
        counts = [count(cut.supervisions[0].text, output.text, ["released"]) for cut, output in pairs]
        rate = error_rate(pool(counts_of["released"]["words"] for counts_of in counts))
        found[name] = {"WER %": 100 * rate, "looped": sum(bool(output.guard) for output in outputs)}

    return run


if __name__ == "__main__":
    main()
