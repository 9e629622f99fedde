"""What does a speaker's adapter cost other speakers, and how much of that does half of it win back?

Takes the adapters of an experiment that has run, multiplies what they add to the model by each factor (0 is
the model without them), and decodes with each the speaker's own test part and the held-out speakers. Without
an experiment it says so and ends.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--results", type=Path, help="results/<experiment>, after `snakemake all`")
    parser.add_argument("--arms", nargs="+", default=["pqm"], help="(pqm)")
    parser.add_argument("--factors", nargs="+", type=float, default=[1.0, 0.5, 0.0], help="(1 0.5 0)")
    parser.add_argument("--speakers", type=int, help="the first of the target speakers (all)")
    options = parser.parse_args(given)
    if options.results is None:
        print("scaled_adapters: left out; it wants --results of an experiment, after `snakemake all`")
        return
    prepare(options)
    import torch

    from saml.config.load import load

    torch.set_num_threads(options.threads)
    report = Report("scaled_adapters", "what does an adapter cost other speakers?", options)
    config = load([options.results / "config.yaml"])
    speakers = config["target_speakers"][: options.speakers]
    for arm in options.arms:
        found: dict[str, Decoded] = {}
        runs = {
            _name(factor): _run(found, options.results, config, arm, speakers, factor)
            for factor in options.factors
        }
        # What counts are errors, not times.
        timings = interleave(runs, repeats=options.repeats, warm_up=0)
        reference = _name(options.factors[0])
        more = {name: decoded.columns() for name, decoded in found.items()}
        report.compare(f"{len(speakers)} speakers, {arm}", timings, reference=reference, more=more)
        _note_differences(report, arm, found, reference, options.seed)
    report.finish()


@dataclass
class Decoded:
    """Counts of `_scores` with each speaker's adapter times one factor.

    `own`: of the speakers' test parts; `heldout`: of held-out speakers, for each adapter.
    """

    own: dict[str, Any] = field(default_factory=dict)
    heldout: list[dict[str, Any]] = field(default_factory=list)
    looped: int = 0

    def columns(self) -> dict[str, Any]:
        """As in the table."""
        from benchmarks._scores import pooled, summed

        own, heldout = pooled(self.own)["WER %"], pooled(summed(self.heldout))["WER %"]
        return {"WER own %": own, "WER held-out %": heldout, "looped": self.looped}


def _note_differences(
    report: Report, arm: str, found: Mapping[str, Decoded], reference: str, seed: int
) -> None:
    """Each factor against the first one, with intervals."""
    from benchmarks._scores import compared, summed

    for name, decoded in found.items():
        if name != reference:
            own = compared(found[reference].own, decoded.own, seed)
            heldout = compared(summed(found[reference].heldout), summed(decoded.heldout), seed)
            report.note(f"{arm}, {name} against {reference}: own {own}; held-out {heldout}")


def _name(factor: float) -> str:
    return f"adapter x {factor:g}"


def _run(
    found: dict[str, Decoded],
    results: Path,
    config: Any,
    arm: str,
    speakers: Sequence[str],
    factor: float,
) -> Callable[[], None]:
    """Decodes every speaker's test part and the held-out pool, and notes the errors."""
    from benchmarks._scores import add_counts, counts_by_speaker
    from saml.decoding.transcription import Search, best_outputs

    search = Search(**config["decoding"])

    def run() -> None:
        decoded = found[_name(factor)] = Decoded()
        heldout: list[Any] = []
        for speaker in speakers:
            recogniser, own, pool = _scaled(results, config, arm, speaker, factor)
            # Without adapters the model is the same for all speakers, and hears the whole context.
            if factor != 0 or not heldout:
                heldout = best_outputs(recogniser, pool, search, whole_context=factor == 0)
            outputs = best_outputs(recogniser, own, search, whole_context=factor == 0)
            decoded.looped += sum(bool(output.guard) for output in [*outputs, *heldout])
            add_counts(decoded.own, speaker, own, outputs)
            decoded.heldout.append(counts_by_speaker(pool, heldout))

    return run


def _scaled(
    results: Path, config: Any, arm: str, speaker: str, factor: float
) -> tuple[Any, list[Any], list[Any]]:
    """The model with a speaker's adapter times `factor`, the speaker's test part, and held-out speakers'."""
    from saml.adapters.adapted import AdaptedRecogniser
    from saml.adapters.store import load_adapter
    from saml.corpora.manifests import read_cuts
    from saml.corpora.split_files import read_splits
    from saml.models.store import load_model
    from saml.runtime import layout
    from saml.runtime.layout import place

    folder = place(results, layout.MODEL, model=layout.model_name(config["arms"][arm]["precision"]))
    base, content = load_model(folder / "model.safetensors", folder / "model.json")
    own = place(results, layout.ADAPTED, speaker=speaker, arm=arm, seed=config["seeds"][0])
    stored = load_adapter(own / "adapter.safetensors", own / "adapter.json", content)
    spec = replace(stored.spec, alpha=factor * stored.spec.alpha)
    recogniser = AdaptedRecogniser(base, spec, seed=0)
    recogniser.load_state(stored.folds[0])
    speech = place(results, layout.SPEECH, speaker=speaker)
    cuts = {cut.id: cut for cut in read_cuts(speech / "cuts.jsonl.gz")}
    fold = read_splits(speech / "splits.json", cuts)[0]
    pool = read_cuts(place(results, layout.POOL, role="heldout") / "cuts.jsonl.gz")
    return recogniser, [cuts[utterance] for utterance in fold.test], pool


if __name__ == "__main__":
    main()
