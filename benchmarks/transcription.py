"""`saml transcribe` with NF4 weights in float32 and packed: the same text, memory against time.

Each contender is the command itself, in a process of its own: what it takes is the peak memory of that
process, libraries included. "nothing" imports the same libraries and loads no model.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave, run_apart

_LIBRARIES = "import saml.transcribe.command, saml.models.whisper, saml.models.nf4"


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("recording", help="speech of some minutes")
    parser.add_argument("--models", nargs="+", required=True, help="NF4 model.safetensors of Whispers")
    options = parser.parse_args(given)
    prepare(options)
    import soundfile

    seconds = soundfile.info(options.recording).duration
    report = Report("transcription", "what do packed weights save, and what do they cost?", options)
    for model in options.models:
        texts: dict[str, str] = {}
        contenders: dict[str, Callable[[], float]] = {
            "float32": _command(options, model, "normal", texts),
            "packed": _command(options, model, "low", texts),
            "nothing": lambda: run_apart([sys.executable, "-c", _LIBRARIES])[1],
        }
        timings = interleave(contenders, repeats=options.repeats, warm_up=0)
        base = timings["nothing"].took_mb
        more = {
            name: {
                "MB beside libraries": timing.took_mb - base,
                "real-time factor": timing.processor[-1] / seconds,
            }
            for name, timing in timings.items()
        }
        name = Path(model).resolve().parents[2].name
        report.compare(name, timings, reference="float32", more=more)
        same = texts["normal"] == texts["low"]
        report.note(
            f"{name}: {'the same text' if same else 'texts differ'}, {len(texts['low'].split())} words"
        )
    report.finish()


def _command(
    options: argparse.Namespace, model: str, memory: str, texts: dict[str, str]
) -> Callable[[], float]:
    command = [sys.executable, "-m", "saml.cli.main", "transcribe", options.recording]
    command += ["--weights", model, "--memory", memory, "--threads", str(options.threads)]

    def run() -> float:
        texts[memory], peak = run_apart(command)
        return peak

    return run


if __name__ == "__main__":
    main()
