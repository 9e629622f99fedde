"""How long may a segment of a long recording be? WER of a Whisper, and of a pre-trained adapter, by segments.

The utterances of each tuning speaker of an experiment, one after another with pauses, are transcribed as one
recording by `saml transcribe`, with segments of several lengths: by the model in full precision, and in NF4
with an adapter as pre-trained, which has not heard these people. The order of the utterances and the pauses
are drawn several times: where a recording is cut changes more than one would think. Tuning speakers are no
target speakers. Without an experiment it says so and ends.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

# Seconds of a pause: drawn between these.
PAUSES = (0.3, 1.5)


class Joined(NamedTuple):
    """A recording of all utterances of a speaker, and what is said in it."""

    speaker: str
    path: Path
    text: str


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--results", type=Path, help="results/<experiment>, with a pre-trained adapter")
    parser.add_argument("--arm", default="pqm", help="(pqm)")
    parser.add_argument(
        "--longest", nargs="+", type=float, default=[30.0, 20.0, 12.0, 6.0], help="(30 20 12 6)"
    )
    parser.add_argument("--adapter-only", action="store_true", help="without the model in full precision")
    parser.add_argument("--draws", type=int, default=5, help="recordings of each speaker (5)")
    options = parser.parse_args(given)
    if options.results is None:
        print(
            "segments: left out; it wants --results of an experiment with a Whisper and a pre-trained adapter"
        )
        return
    prepare(options)
    import torch

    from benchmarks._tuned import weights_of
    from saml.config.load import load
    from saml.runtime import layout
    from saml.runtime.layout import place

    torch.set_num_threads(options.threads)
    config = load([options.results / "config.yaml"])
    adapter = place(options.results, layout.PRETRAINED, arm=options.arm, seed=config["seeds"][0])
    models = {options.arm: {"adapter": adapter / "adapter.safetensors"}}
    if not options.adapter_only:
        models = {"full precision": {"weights": weights_of(options.results, "fp32")}, **models}
    report = Report("segments", "how long may a segment of a long recording be?", options)
    with tempfile.TemporaryDirectory() as folder:
        spoken = [
            _joined(options.results, speaker, Path(folder), [options.seed, draw])
            for speaker in config["tuning"]["speakers"]
            for draw in range(options.draws)
        ]
        for name, model in models.items():
            _compare(report, options, name, model, spoken)
    report.finish()


def _compare(
    report: Report, options: argparse.Namespace, name: str, model: dict[str, Any], spoken: list[Joined]
) -> None:
    """Add a row for each length of segments, and how each differs from the first."""
    from benchmarks._scores import compared

    found: dict[str, dict[str, Any]] = {}
    counts: dict[str, Any] = {}
    runs = {
        f"{longest:g} s": _run(f"{longest:g} s", found, counts, spoken, {**model, "longest": longest})
        for longest in options.longest
    }
    reference = next(iter(runs))
    timings = interleave(runs, repeats=options.repeats, warm_up=0)
    report.compare(f"{name}, {len(spoken)} recordings", timings, reference=reference, more=found)
    for length in list(runs)[1:]:
        against = compared(counts[reference], counts[length], options.seed)
        report.note(f"{name}, {length} against {reference}: {against}")


def _run(
    name: str,
    found: dict[str, dict[str, Any]],
    counts: dict[str, Any],
    spoken: Sequence[Joined],
    how: dict[str, Any],
) -> Callable[[], None]:
    """Transcribes the recordings and notes their errors."""
    from benchmarks._scores import pooled
    from saml.evaluation.wer import count, errors, pool, reference_units
    from saml.transcribe.command import transcribe_files

    def run() -> None:
        written = list(transcribe_files(files=[one.path for one in spoken], **how))
        own = [
            count(one.text, transcript.text, ["released"])["released"]["words"]
            for one, transcript in zip(spoken, written, strict=True)
        ]
        counts[name] = {}
        for one, words in zip(spoken, own, strict=True):
            counts[name].setdefault(one.speaker, []).append((errors(words), reference_units(words)))
        total = pool(own)
        found[name] = {
            "segments": sum(len(transcript.segments) for transcript in written),
            **pooled(counts[name]),
            "deletions": total["deletions"],
            "insertions": total["insertions"],
        }

    return run


def _joined(results: Path, speaker: str, folder: Path, seed: list[int]) -> Joined:
    """A recording of a speaker's utterances in a drawn order, with a pause of faint noise after each."""
    import numpy as np
    import soundfile

    from saml.audio import SAMPLING_RATE
    from saml.corpora.audio import read_cut

    drawn = np.random.default_rng(seed)
    parts, texts = [], []
    cuts = _cuts(results, speaker)
    for index in drawn.permutation(len(cuts)):
        pause = drawn.normal(0, 1e-4, round(SAMPLING_RATE * drawn.uniform(*PAUSES)))
        parts += [read_cut(cuts[index])[0], pause.astype(np.float32)]
        texts.append(cuts[index].supervisions[0].text)
    path = folder / f"{speaker}-{seed[-1]}.flac"
    soundfile.write(path, np.concatenate(parts), SAMPLING_RATE)
    return Joined(speaker, path, " ".join(texts))


def _cuts(results: Path, speaker: str) -> list[Any]:
    from saml.corpora.manifests import read_cuts
    from saml.runtime import layout
    from saml.runtime.layout import place

    return read_cuts(place(results, layout.SPEECH, speaker=speaker) / "cuts.jsonl.gz")


if __name__ == "__main__":
    main()
