"""Does an adapter help speakers of another kind than those it was pre-trained on, or does it hurt them?

Takes the pre-trained adapter of an arm, which nobody was adapted to, and decodes utterances of two other
corpora: CMU AN4 (American English; names, numbers, commands; speakers of the role `pool`) and LibriSpeech
(read books). The model in full precision and in NF4 has the whole 30 s; with the adapter it has the silence
that the adapter was trained with, and the whole 30 s. Wants --results of an experiment with a Whisper,
SAML_FOLDER_ROOT (AN4) and SAML_LIBRISPEECH_ROOT; without them it says so and ends.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

VARIABLES = ("SAML_FOLDER_ROOT", "SAML_LIBRISPEECH_ROOT")
NF4 = "NF4, 30 s"


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--results", type=Path, help="results/<experiment>, with a pre-trained adapter")
    parser.add_argument("--arm", default="pqm", help="(pqm)")
    parser.add_argument("--an4", type=int, default=4, help="the first utterances of each speaker (4)")
    parser.add_argument("--librispeech", nargs="+", default=["19", "26"], help="speakers (19 26)")
    parser.add_argument("--utterances", type=int, default=20, help="the first of each of these (20)")
    parser.add_argument("--part", default="train-clean-100", help="their part (train-clean-100)")
    parser.add_argument("--beams", type=int, default=4, help="(4)")
    options = parser.parse_args(given)
    lacking = ["--results"] * (options.results is None) + [
        one for one in VARIABLES if not os.environ.get(one)
    ]
    if lacking:
        print(f"transfer: left out; it wants {', '.join(lacking)} (an experiment with a Whisper)")
        return
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("transfer", "does an adapter help other speakers, or hurt them?", options)
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in {"AN4": _an4(options), "LibriSpeech": _librispeech(options)}.items():
            _compare(report, options, name, rows, Path(folder))
    report.finish()


def _an4(options: argparse.Namespace) -> list[Any]:
    from saml.corpora.folder import read_rows

    rows = [row for row in read_rows({"root": None, "manifest": None, "roles": {}}) if row.role == "pool"]
    own: dict[str, list[Any]] = {}
    for row in sorted(rows, key=lambda row: str(row.utterance)):
        own.setdefault(row.speaker, []).append(row)
    return [row for speaker in sorted(own) for row in own[speaker][: options.an4]]


def _librispeech(options: argparse.Namespace) -> list[Any]:
    from saml.corpora.librispeech import read_speaker, root_folder

    part = root_folder({"root": None}) / options.part
    return [
        row
        for speaker in options.librispeech
        for row in read_speaker(part / speaker, "target")[: options.utterances]
    ]


def _compare(report: Report, options: argparse.Namespace, name: str, rows: list[Any], folder: Path) -> None:
    from benchmarks._scores import compared, pooled
    from benchmarks.whisper_context import cuts_of
    from saml.config.load import load

    config = load([options.results / "config.yaml"])
    cuts = cuts_of(rows, config["model"], folder, name)
    own: dict[str, list[Any]] = {}
    for row, cut in zip(rows, cuts, strict=True):
        own.setdefault(row.speaker, []).append(cut)
    ways = {
        "full precision, 30 s": ("fp32", False, True),
        NF4: ("nf4", False, True),
        f"{options.arm}, as trained": ("nf4", True, False),
        f"{options.arm}, 30 s": ("nf4", True, True),
    }
    counts: dict[str, dict[str, Any]] = {}
    looped: dict[str, int] = {}
    runs = {way: _run(way, how, counts, looped, own, options, config) for way, how in ways.items()}
    timings = interleave(runs, repeats=options.repeats, warm_up=0)  # what counts are errors
    found = {way: {**pooled(counts[way]["whisper"]), "looped": looped[way]} for way in ways}
    for way in ways:
        found[way]["WER %, released"] = pooled(counts[way]["released"])["WER %"]
    group = f"{name}, {len(rows)} utterances of {len(own)} speakers, scorer whisper"
    report.compare(group, timings, reference=NF4, more=found)
    for way in ways:
        if way != NF4:
            against = compared(counts[NF4]["whisper"], counts[way]["whisper"], options.seed)
            report.note(f"{name}, {way} against {NF4}: {against}")


def _run(
    way: str,
    how: tuple[str, bool, bool],
    counts: dict[str, dict[str, Any]],
    looped: dict[str, int],
    own: Mapping[str, Sequence[Any]],
    options: argparse.Namespace,
    config: Mapping[str, Any],
) -> Callable[[], None]:
    """Decodes every speaker and notes under `way` the errors, by scorer, and the outputs that looped."""
    from benchmarks._scores import add_counts
    from saml.decoding.transcription import Search, best_outputs

    search = Search(**{**config["decoding"], "ctc_weight": 0.0, "beams": options.beams})
    precision, adapted, whole = how

    def run() -> None:
        recogniser = _recogniser(options.results, config, options.arm if adapted else None, precision)
        counts[way], looped[way] = {"released": {}, "whisper": {}}, 0
        cuts = [cut for cuts in own.values() for cut in cuts]
        found = best_outputs(recogniser, cuts, search, whole_context=whole)
        outputs = {cut.id: output for cut, output in zip(cuts, found, strict=True)}
        for scorer, into in counts[way].items():
            for speaker, cuts in own.items():
                add_counts(into, speaker, cuts, [outputs[cut.id] for cut in cuts], scorer)
        looped[way] = sum(bool(output.guard) for output in outputs.values())

    return run


def _recogniser(results: Path, config: Mapping[str, Any], arm: str | None, precision: str) -> Any:
    """The model, with the arm's pre-trained adapter where one is named."""
    from benchmarks._tuned import weights_of
    from saml.adapters.store import load_adapter
    from saml.decoding.transcription import adapted
    from saml.models.store import load_model
    from saml.runtime import layout
    from saml.runtime.layout import place

    weights = weights_of(results, precision)
    base, content = load_model(weights, weights.with_suffix(".json"))
    if arm is None:
        return base
    folder = place(results, layout.PRETRAINED, arm=arm, seed=config["seeds"][0])
    stored = load_adapter(folder / "adapter.safetensors", folder / "adapter.json", content)
    recogniser = adapted(base, stored)
    recogniser.load_state(stored.folds[0])
    return recogniser


if __name__ == "__main__":
    main()
