"""Log-mel features: transformers' WhisperFeatureExtractor beside ours, utterance by utterance.

transformers' extractor pads to 30 s before it transforms, which is how Whisper's recipes call it; it is timed
without padding as well. Both compute the same numbers for the utterance itself. With several workers,
processes that are there before, utterances go to whoever is free.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

Run = Callable[[], None]

# Of a process: what extracts, by name; made once.
_WAYS: dict[str, Callable[[Any], Any]] = {}
PADDED = "transformers, 30 s"
NAMES = (PADDED, "transformers, not padded", "ours")


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("--utterances", type=int, default=16, help="of each corpus (16)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes (1 2)")
    options = parser.parse_args(given)
    prepare(options)
    from benchmarks._speech import CORPORA, lengths, noise

    report = Report("features", "what does a log-mel spectrogram of the utterance alone save?", options)
    with ExitStack() as stack:
        pools = {count: stack.enter_context(_pool(count, options.threads)) for count in options.workers}
        for like in CORPORA:
            seconds = lengths(like, options.utterances, options.seed)
            speech = [noise(length, index) for index, length in enumerate(seconds)]
            timings = interleave(
                {
                    f"{name}, {count} worker{'s' if count > 1 else ''}": _run(pool, name, speech)
                    for count, pool in pools.items()
                    for name in NAMES
                },
                repeats=options.repeats,
            )
            mean = sum(seconds) / len(seconds)
            group = f"{len(seconds)} utterances like {like}'s, {mean:.1f} s on average"
            report.compare(group, timings, reference=next(iter(timings)))
    report.note(
        "workers are processes of their own: look at seconds; their memory and processor time are not counted"
    )
    report.finish()


def _pool(count: int, threads: int) -> ProcessPoolExecutor:
    """So many processes, each with its extractors made."""
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_prepare, initargs=(threads,))
    list(pool.map(len, [()] * count))
    return pool


def _run(pool: ProcessPoolExecutor, name: str, speech: list[Any]) -> Run:
    def run() -> None:
        list(pool.map(partial(_extract, name), speech))

    return run


def _prepare(threads: int) -> None:
    import torch

    from saml.features.log_mel import (
        SAMPLING_RATE,
        LogMel,
        LogMelConfig,
    )  # before transformers: see saml.compat.torchaudio

    # isort: split
    from transformers import WhisperFeatureExtractor

    torch.set_num_threads(threads)
    theirs = WhisperFeatureExtractor()
    ours = LogMel(LogMelConfig(kind="whisper", pad_seconds=30.0, tail_seconds=1.0))
    how: dict[str, Any] = {"sampling_rate": SAMPLING_RATE, "return_tensors": "np"}
    ways: list[Callable[[Any], Any]] = [
        lambda samples: theirs(samples, **how),
        lambda samples: theirs(samples, padding="longest", **how),
        lambda samples: ours.extract(samples, SAMPLING_RATE),
    ]
    _WAYS.update(zip(NAMES, ways, strict=True))


def _extract(name: str, samples: Any) -> int:
    """How many numbers came of it: they themselves stay where they are."""
    made = _WAYS[name](samples)
    return int(made.size if name == "ours" else made["input_features"].size)


if __name__ == "__main__":
    main()
