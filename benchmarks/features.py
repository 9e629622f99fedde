"""Log-mel features: transformers' WhisperFeatureExtractor beside ours, utterance by utterance.

transformers' extractor pads to 30 s before it transforms, which is how Whisper's recipes call it; it is timed
without padding as well. Both compute the same numbers for the utterance itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks._harness import Report, arguments, interleave, prepare


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("--utterances", type=int, default=16, help="of each corpus (16)")
    options = parser.parse_args(given)
    prepare(options)
    import torch

    from benchmarks._speech import CORPORA, lengths, noise
    from saml.features import SAMPLING_RATE, LogMel, LogMelConfig  # before transformers: see saml._torchaudio

    # isort: split
    from transformers import WhisperFeatureExtractor

    torch.set_num_threads(options.threads)
    theirs = WhisperFeatureExtractor()
    ours = LogMel(LogMelConfig(kind="whisper", pad_seconds=30.0, tail_seconds=1.0))
    how: dict[str, Any] = {"sampling_rate": SAMPLING_RATE, "return_tensors": "np"}
    report = Report("features", "what does a log-mel spectrogram of the utterance alone save?", options)
    for like in CORPORA:
        seconds = lengths(like, options.utterances, options.seed)
        speech = [noise(length, index) for index, length in enumerate(seconds)]

        def each(extract: Callable[[Any], Any], speech: list[Any] = speech) -> Callable[[], None]:
            def run() -> None:
                for samples in speech:
                    extract(samples)

            return run

        timings = interleave(
            {
                "transformers, 30 s": each(lambda samples: theirs(samples, **how)),
                "transformers, not padded": each(lambda samples: theirs(samples, padding="longest", **how)),
                "ours": each(lambda samples: ours.extract(samples, SAMPLING_RATE)),
            },
            repeats=options.repeats,
        )
        mean = sum(seconds) / len(seconds)
        group = f"{len(seconds)} utterances like {like}'s, {mean:.1f} s on average"
        report.compare(group, timings, reference="transformers, 30 s")
    report.finish()


if __name__ == "__main__":
    main()
