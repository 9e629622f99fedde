"""The cost of a speaker among 100 and among 10: the whole stage, as a job runs it.

The stage of `saml adapt` reads models and speech, evaluates every epoch on dev parts and writes files; Python
has started. Few speakers in one multi-adapter batch, many in one, and many in jobs of as many as the few, as
the workflow divides them. Networks and speech are tiny, the worst case: costs that grow with the number of
speakers are not hidden by those that do not.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import Timing, interleave

ROOT = Path(__file__).resolve().parents[1]


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=2)
    parser.add_argument("--size", default="toy", help="toy (default), mini, tiny.en or base.en")
    parser.add_argument("--few", type=int, default=10, help="speakers (10)")
    parser.add_argument("--many", type=int, default=100, help="speakers, a multiple of the few (100)")
    parser.add_argument("--utterances", type=int, default=6, help="of each speaker, one of them for dev (6)")
    parser.add_argument("--batch", type=int, default=4, help="utterances of a speaker in a step (4)")
    parser.add_argument("--epochs", type=int, default=1, help="over a speaker's utterances (1)")
    parser.add_argument("--experts", type=int, default=4, help="of SAML (4)")
    options = parser.parse_args(given)
    if options.many % options.few:
        parser.error("--many must be a multiple of --few")
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("several_speakers", "what does a speaker cost among many?", options)
    with tempfile.TemporaryDirectory() as folder:
        _compare(report, options, Path(folder))
    report.finish()


def _compare(report: Report, options: argparse.Namespace, folder: Path) -> None:
    speakers = [_speaker(folder, f"s{index:03}", index, options) for index in range(options.many)]
    few, many = f"{options.few} speakers", f"{options.many} speakers"
    jobs = {few: (options.few, options.few), f"{many} in one job": (options.many, options.many)}
    jobs[f"{many}, {options.few} in a job"] = (options.many, options.few)
    adapt = _stage(folder, options)
    timings = interleave(
        {name: _jobs(adapt, speakers[:count], size) for name, (count, size) in jobs.items()},
        repeats=options.repeats,
    )
    counts = {name: count for name, (count, _) in jobs.items()}
    more = {
        name: {
            "s/speaker": statistics.median(timing.wall) / counts[name],
            "processor s/speaker": statistics.median(timing.processor) / counts[name],
            "relative cost": _share(timings[few], options.few, timing, counts[name]),
        }
        for name, timing in timings.items()
    }
    group = f"{options.size}, SAML, {options.experts} experts, {options.utterances} utterances a speaker"
    report.compare(group, timings, reference=few, more=more)
    report.note(
        "Costs are processor seconds a speaker, relative to the few: 1 means that size costs nothing."
    )


def _share(few: Timing, some: int, own: Timing, count: int) -> float:
    """The cost of a speaker relative to one among the few: the median over rounds."""
    rounds = zip(few.processor, own.processor, strict=True)
    return statistics.median((mine / count) / (theirs / some) for theirs, mine in rounds)


def _jobs(adapt: Callable[[Sequence[Any]], None], speakers: Sequence[Any], size: int) -> Callable[[], None]:
    """Adapt to all speakers, `size` in a job, one job after another."""

    def run() -> None:
        for first in range(0, len(speakers), size):
            adapt(speakers[first : first + size])

    return run


def _speaker(folder: Path, name: str, index: int, options: argparse.Namespace) -> Any:
    """A speaker with its inputs, written here, and the paths of its outputs."""
    from benchmarks._speech import lengths, make_cuts
    from saml.stages.adapt import Speaker

    own = folder / name
    own.mkdir()
    seconds = lengths("ted", options.utterances, options.seed + index)
    cuts = make_cuts(own, name, seconds, seed=options.seed + index, tail_seconds=1.0)
    ids = [cut.id for cut in cuts]
    fold = {"train": ids[2:], "dev": ids[:1], "test": ids[1:2]}
    (own / "splits.json").write_text(json.dumps({"folds": [fold]}))
    _write(cuts, own / "cuts.jsonl.gz")
    return Speaker(
        speaker=name,
        cuts=own / "cuts.jsonl.gz",
        splits=own / "splits.json",
        out_adapter=own / "adapter.safetensors",
        out_description=own / "adapter.json",
        record=own / "adaptation.jsonl",
    )


def _write(cuts: Sequence[Any], path: Path) -> None:
    from lhotse import CutSet

    CutSet.from_items(cuts).to_file(path)


def _stage(folder: Path, options: argparse.Namespace) -> Callable[[Sequence[Any]], None]:
    """The stage, given everything but the speakers; the base model is written for it."""
    from benchmarks._models import build
    from saml.models.store import save_model
    from saml.stages.adapt import adapt

    weights, description = folder / "model.safetensors", folder / "model.json"
    save_model(build(options.size, seed=options.seed, tail_seconds=1.0), weights, description)
    settings = _settings(options)

    def run(speakers: Sequence[Any]) -> None:
        adapt(
            speakers=speakers,
            experiment="benchmark",
            settings=settings,
            arm="saml",
            seed=options.seed,
            weights=weights,
            description=description,
        )

    return run


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The default configuration's sections for an adaptation of SAML, from fresh experts."""
    from saml.config.load import load

    config = load([ROOT / "config" / "config.yaml"])
    arm = {**config["arms"]["saml"], "experts": options.experts, "pretrained": False}
    adaptation = {
        **config["adaptation"],
        "epochs": options.epochs,
        "batch_utterances": options.batch,
        "interleaved": False,
        "ctc_weight": 0.0,
    }
    return {
        "arm": arm,
        "adapters": config["adapters"],
        "adaptation": adaptation,
        "partition": {"enrolment": None},
    }


if __name__ == "__main__":
    main()
