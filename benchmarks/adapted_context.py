"""How much silence must an adapted Whisper hear? WER of the adapters of a sweep, at several contexts.

Takes the adapters that `snakemake tune` adapted to the tuning speakers at one learning rate, trained at the
experiment's own context, and decodes the tuning speakers' test parts with more silence and with the whole
30 s. Tuning speakers are no target speakers. Without an experiment it says so and ends.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

WHOLE = "30 s"


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--results", type=Path, help="results/<experiment>, after `snakemake tune`")
    parser.add_argument("--arms", nargs="+", default=["pqm", "saml"], help="(pqm saml)")
    parser.add_argument("--rate", default="0.001", help="the learning rate of the trials (0.001)")
    parser.add_argument("--tails", nargs="+", type=float, default=[1.0, 3.0, 10.0], help="seconds of silence")
    options = parser.parse_args(given)
    if options.results is None:
        print("adapted_context: left out; it wants --results of an experiment with a Whisper, after `tune`")
        return
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("adapted_context", "how much silence must an adapted Whisper hear?", options)
    for arm in options.arms:
        runs, found = _runs(options.results, arm, options.rate, options.tails)
        timings = interleave(runs, repeats=options.repeats, warm_up=0)  # what counts are errors
        report.compare(f"test parts of the tuning speakers, {arm}", timings, reference=WHOLE, more=found)
    report.finish()


def _runs(
    results: Path, arm: str, rate: str, tails: Sequence[float]
) -> tuple[dict[str, Callable[[], None]], dict[str, dict[str, Any]]]:
    """A run for each context, and where each notes what came out."""
    from saml.config.load import load

    config = load([results / "config.yaml"])
    runs: dict[str, Callable[[], None]] = {}
    found: dict[str, dict[str, Any]] = {}
    for tail in [*tails, None]:
        name = WHOLE if tail is None else f"{tail:g} s of silence"
        runs[name] = _run(name, found, results, config, arm, rate, tail)
    return runs, found


def _run(
    name: str,
    found: dict[str, dict[str, Any]],
    results: Path,
    config: Any,
    arm: str,
    rate: str,
    tail: float | None,
) -> Callable[[], None]:
    """Decodes every tuning speaker with the speaker's own adapter and notes errors under `name`."""
    from saml.decoding.transcription import Search, best_outputs
    from saml.evaluation.wer import count, error_rate, pool, reference_units

    search = Search(**{**config["decoding"], "ctc_weight": 0.0})

    def run() -> None:
        counts: list[Any] = []
        looped = 0
        for speaker in config["tuning"]["speakers"]:
            recogniser, cuts = _adapted(results, config, arm, rate, speaker, tail)
            outputs = best_outputs(recogniser, cuts, search, whole_context=tail is None)
            looped += sum(bool(output.guard) for output in outputs)
            pairs = zip(cuts, outputs, strict=True)
            counts += [count(cut.supervisions[0].text, output.text, ["released"]) for cut, output in pairs]
        total = pool(one["released"]["words"] for one in counts)
        found[name] = {"words": reference_units(total), "WER %": 100 * error_rate(total), "looped": looped}

    return run


def _adapted(
    results: Path, config: Any, arm: str, rate: str, speaker: str, tail: float | None
) -> tuple[Any, list[Any]]:
    """The model with a speaker's adapter, hearing so much silence, and the speaker's test part."""
    from benchmarks._tuned import parts_of, tuned_adapter, weights_of
    from saml.adapters.adapted import AdaptedRecogniser
    from saml.decoding.encoder_batches import with_context
    from saml.models.store import load_model

    weights = weights_of(results, config["arms"][arm]["precision"])
    base, content = load_model(weights, weights.with_suffix(".json"))
    stored = tuned_adapter(results, config, arm, float(rate), speaker, content)
    recogniser = AdaptedRecogniser(base, stored.spec, seed=0)
    recogniser.load_state(stored.folds[0])
    chosen = parts_of(results, speaker)["test"]
    if tail is not None:
        base.settings["features"]["tail_seconds"] = tail
        chosen = [with_context(cut, cut.num_frames + round(100 * tail)) for cut in chosen]
    return recogniser, chosen


if __name__ == "__main__":
    main()
