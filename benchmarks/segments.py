"""How long may a segment of a long recording be? WER of a Whisper, and of a pre-trained adapter, by segments.

The utterances of each tuning speaker of an experiment, one after another with pauses, are transcribed as one
recording by `saml transcribe`, with segments of several lengths: by the model in full precision, and in NF4
with an adapter as pre-trained, which has not heard these people. Tuning speakers are no target speakers.
Without an experiment it says so and ends.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._harness import Report, arguments, interleave, prepare

# Seconds of a pause: drawn between these.
PAUSES = (0.3, 1.5)


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--results", type=Path, help="results/<experiment>, with a pre-trained adapter")
    parser.add_argument("--arm", default="pqm", help="(pqm)")
    parser.add_argument(
        "--longest", nargs="+", type=float, default=[30.0, 20.0, 12.0, 6.0], help="(30 20 12 6)"
    )
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
    models = {
        "full precision": {"weights": weights_of(options.results, "fp32")},
        options.arm: {"adapter": adapter / "adapter.safetensors"},
    }
    report = Report("segments", "how long may a segment of a long recording be?", options)
    with tempfile.TemporaryDirectory() as folder:
        spoken = {
            _joined(options.results, speaker, Path(folder), options.seed): _text(options.results, speaker)
            for speaker in config["tuning"]["speakers"]
        }
        for name, model in models.items():
            found: dict[str, dict[str, Any]] = {}
            runs = {
                f"{longest:g} s": _run(f"{longest:g} s", found, spoken, {**model, "longest": longest})
                for longest in options.longest
            }
            timings = interleave(runs, repeats=options.repeats, warm_up=0)
            report.compare(name, timings, reference=next(iter(runs)), more=found)
    report.finish()


def _run(
    name: str, found: dict[str, dict[str, Any]], spoken: dict[Path, str], how: dict[str, Any]
) -> Callable[[], None]:
    """Transcribes the recordings and notes their error rate."""
    from saml.evaluation.wer import count, error_rate, pool, reference_units
    from saml.transcribe.command import transcribe_files

    def run() -> None:
        written = list(transcribe_files(files=list(spoken), **how))
        counts = [
            count(said, one.text, ["released"])["released"]["words"]
            for said, one in zip(spoken.values(), written, strict=True)
        ]
        total = pool(counts)
        found[name] = {
            "segments": sum(len(one.segments) for one in written),
            "words": reference_units(total),
            "WER %": 100 * error_rate(total),
        }

    return run


def _joined(results: Path, speaker: str, folder: Path, seed: int) -> Path:
    """A recording of all utterances of a speaker, with a pause of faint noise after each."""
    import numpy as np
    import soundfile

    from saml.audio import SAMPLING_RATE
    from saml.corpora.audio import read_cut

    noise = np.random.default_rng(seed)
    parts = []
    for cut in _cuts(results, speaker):
        pause = noise.normal(0, 1e-4, round(SAMPLING_RATE * noise.uniform(*PAUSES)))
        parts += [read_cut(cut)[0], pause.astype(np.float32)]
    path = folder / f"{speaker}.flac"
    soundfile.write(path, np.concatenate(parts), SAMPLING_RATE)
    return path


def _text(results: Path, speaker: str) -> str:
    return " ".join(cut.supervisions[0].text for cut in _cuts(results, speaker))


def _cuts(results: Path, speaker: str) -> list[Any]:
    """The utterances of a speaker, by id."""
    from benchmarks._tuned import parts_of

    return sorted(
        (cut for part in parts_of(results, speaker).values() for cut in part), key=lambda cut: cut.id
    )


if __name__ == "__main__":
    main()
