"""Into which weights should an adapter be merged, and what does it cost to make one LoRA of a mixture?

Takes the adapters that `snakemake tune` adapted to the tuning speakers at one learning rate, and decodes the
tuning speakers' test parts with the whole 30 s, as other programs do: on NF4 weights, which the adapters were
trained on, and on full precision. A mixture is decoded as it is, and collapsed at the mean route of the
speaker's train part. Tuning speakers are no target speakers. Without an experiment it says so and ends.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--results", type=Path, help="results/<experiment>, after `snakemake tune`")
    parser.add_argument("--arm", default="pqm", help="(pqm)")
    parser.add_argument("--rate", type=float, default=3e-4, help="the learning rate of the trials (0.0003)")
    parser.add_argument("--beams", type=int, default=4, help="(4)")
    options = parser.parse_args(given)
    if options.results is None:
        print("merging: left out; it wants --results of an experiment with a Whisper, after `snakemake tune`")
        return
    prepare(options)
    import torch

    from benchmarks._scores import compared, pooled
    from saml.config.load import load

    torch.set_num_threads(options.threads)
    config = load([options.results / "config.yaml"])
    counts: dict[str, Any] = {}
    ways = _ways(options, config)
    runs = {name: _run(name, way, counts, options, config) for name, way in ways.items()}
    timings = interleave(runs, repeats=options.repeats, warm_up=0)  # what counts are errors
    report = Report("merging", "into which weights, and as a mixture or as one LoRA?", options)
    reference = next(iter(ways))
    report.compare(options.arm, timings, reference=reference, more={n: pooled(c) for n, c in counts.items()})
    for name in list(ways)[1:]:
        report.note(f"{name} against {reference}: {compared(counts[reference], counts[name], options.seed)}")
    report.finish()


def _ways(options: Any, config: Mapping[str, Any]) -> dict[str, tuple[str, bool]]:
    """The precision of the weights and whether the mixture is collapsed, by name."""
    from benchmarks._tuned import tuned_adapter, weights_of
    from saml.models.store import read_description

    content = read_description(weights_of(options.results, "nf4").with_suffix(".json"))
    speaker = config["tuning"]["speakers"][0]
    stored = tuned_adapter(options.results, config, options.arm, options.rate, speaker, content)
    if stored.spec.experts == 1:
        return {"NF4": ("nf4", False), "full precision": ("fp32", False)}
    return {
        "mixture, NF4": ("nf4", False),
        "collapsed, NF4": ("nf4", True),
        "collapsed, full precision": ("fp32", True),
    }


def _run(
    name: str,
    way: tuple[str, bool],
    counts: dict[str, Any],
    options: Any,
    config: Mapping[str, Any],
) -> Callable[[], None]:
    """Decodes every tuning speaker with the speaker's own adapter, and notes errors under `name`."""
    from benchmarks._scores import add_counts
    from benchmarks._tuned import parts_of
    from saml.decoding.transcription import Search, best_outputs

    search = Search(**{**config["decoding"], "ctc_weight": 0.0, "beams": options.beams})

    def run() -> None:
        counts[name] = {}
        for speaker in config["tuning"]["speakers"]:
            parts = parts_of(options.results, speaker)
            recogniser = _recogniser(options, config, speaker, parts["train"], *way)
            outputs = best_outputs(recogniser, parts["test"], search, whole_context=True)
            add_counts(counts[name], speaker, parts["test"], outputs)

    return run


def _recogniser(
    options: Any,
    config: Mapping[str, Any],
    speaker: str,
    train: Sequence[Any],
    precision: str,
    collapsed: bool,
) -> Any:
    """A model with the adapter of a speaker, which was trained on the NF4 weights."""
    from benchmarks._tuned import tuned_adapter, weights_of
    from saml.adapters.adapted import AdaptedRecogniser
    from saml.adapters.compress import collapse
    from saml.models.store import load_model
    from saml.stages.routes import mean_routes

    weights = {name: weights_of(options.results, name) for name in ("nf4", "fp32")}
    base, content = load_model(weights["nf4"], weights["nf4"].with_suffix(".json"))
    stored = tuned_adapter(options.results, config, options.arm, options.rate, speaker, content)
    spec, state = stored.spec, stored.folds[0]
    if collapsed:
        mixture = AdaptedRecogniser(base, spec, seed=0)
        mixture.load_state(state)
        spec, state = collapse(mixture, mean_routes(mixture, train))
    if collapsed or precision != "nf4":
        base, _ = load_model(weights[precision], weights[precision].with_suffix(".json"))
    recogniser = AdaptedRecogniser(base, spec, seed=0)
    recogniser.load_state(state)
    return recogniser


if __name__ == "__main__":
    main()
