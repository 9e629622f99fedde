"""The steps of a personalisation for one speaker: the pipeline's own stages, each done once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saml.config.load import labels_in_models_style, stage_settings
from saml.config.settings import start_of
from saml.corpora.manifests import read_cuts
from saml.corpora.splits import split_for_use
from saml.personalise.resume import Step
from saml.personalise.speech import speech_folder
from saml.runtime import layout
from saml.runtime.files import read_json_object
from saml.runtime.layout import place
from saml.stages.adapt import Speaker, adapt
from saml.stages.decode import Decoding, decode
from saml.stages.label import label, write_labels
from saml.stages.prepare import write_splits

Config = Mapping[str, Any]

# Between two checkpoints of a training; one is written after each epoch in any case.
CHECKPOINT_SECONDS = 60.0
# The splits of a speaker: of the cross-validation, and of the adapter to use.
TESTED, TO_USE = "splits.json", "use.json"


def model_of(results: Path, arm: Config) -> tuple[Path, Path]:
    """The weights that an arm builds on, and their description."""
    folder = place(results, layout.MODEL, model=layout.model_name(arm["precision"]))
    return folder / "model.safetensors", folder / "model.json"


def pretrained_of(results: Path, arm: str, seed: int) -> tuple[Path, Path]:
    """An arm's pre-trained adapter, and its description."""
    folder = place(results, layout.PRETRAINED, arm=arm, seed=seed)
    return folder / "adapter.safetensors", folder / "adapter.json"


def split_to_use(config: Config, out: Path, speaker: str) -> None:
    """Write the splits of the adapter to use, from those of the cross-validation."""
    tested, to_use = (speech_folder(out, speaker) / name for name in (TESTED, TO_USE))
    splits = read_json_object(tested)
    utterances = [utterance for part in splits["folds"][0].values() for utterance in part]
    write_splits(split_for_use(speaker, utterances, config["partition"], splits.get("copies", ())), to_use)


def label_step(
    config: Config,
    results: Path,
    out: Path,
    speaker: str,
    written: Sequence[Mapping[str, Any]] | None = None,
) -> Step:
    """Write labels in the style of the experiment's base model.

    `written` are that model's hypotheses where it has transcribed the recordings already, else None.
    """
    folder = speech_folder(out, speaker)
    base = place(results, layout.MODEL, model="base")
    settings = stage_settings(config, ["decoding"])
    cuts, labelled = folder / "cuts.jsonl.gz", folder / "labelled.jsonl.gz"

    def run() -> None:
        if written is not None:
            texts = {line["utterance"]: line["hypothesis"] for line in written}
            chosen = read_cuts(cuts)
            write_labels(chosen, [texts[cut.id] for cut in chosen], labelled)
            return
        label(
            experiment=config["experiment"],
            settings=settings,
            whose=speaker,
            weights=base / "model.safetensors",
            description=base / "model.json",
            cuts=cuts,
            labelled=labelled,
            record=folder / "labels" / "run.jsonl",
            corpus="folder",
        )

    return Step(labelled, settings, [base / "model.json", cuts], run)


def tested_step(config: Config, results: Path, out: Path, arm: str, speaker: str, seed: int) -> Step:
    """Train the adapters of the cross-validation."""
    splits = speech_folder(out, speaker) / TESTED
    record = tested_folder(out, speaker, arm, seed) / "adaptation.jsonl"
    return _adapt_step(config, results, arm, speaker, seed, splits, record)


def to_use_step(config: Config, results: Path, out: Path, arm: str, speaker: str, seed: int) -> Step:
    """Train the adapter to use, on all recordings."""
    splits = speech_folder(out, speaker) / TO_USE
    record = place(out, layout.TO_USE, speaker=speaker, arm=arm, seed=seed) / "run.jsonl"
    return _adapt_step(config, results, arm, speaker, seed, splits, record)


def _adapt_step(
    config: Config, results: Path, arm: str, speaker: str, seed: int, splits: Path, record: Path
) -> Step:
    """Adapt to `splits`; the adapter is written beside `record`."""
    weights, description = model_of(results, config["arms"][arm])
    start: tuple[Path | None, Path | None] = (None, None)
    if config["arms"][arm]["pretrained"]:
        start = pretrained_of(results, start_of(config["arms"], arm), seed)
    cuts = splits.parent / ("labelled.jsonl.gz" if labels_in_models_style(config) else "cuts.jsonl.gz")
    own = Speaker(
        speaker=speaker,
        cuts=cuts,
        splits=splits,
        out_adapter=record.parent / "adapter.safetensors",
        out_description=record.parent / "adapter.json",
        record=record,
    )
    settings = stage_settings(config, ["arm", "adapters", "adaptation", "partition.enrolment"], arm)

    def run() -> None:
        adapt(
            experiment=config["experiment"],
            settings=settings,
            arm=arm,
            speakers=[own],
            seed=seed,
            weights=weights,
            description=description,
            adapter=start[0],
            adapter_description=start[1],
            work=record.parent / layout.WORK,
            checkpoint_seconds=CHECKPOINT_SECONDS,
            corpus="folder",
        )

    files = [description, cuts, splits, *([start[0]] if start[0] is not None else [])]
    return Step(own.out_adapter, {**settings, "seed": seed}, files, run)


def decode_step(config: Config, results: Path, out: Path, arm: str, speaker: str, seed: int) -> Step:
    """Decode the test parts."""
    weights, description = model_of(results, config["arms"][arm])
    adapted = config["arms"][arm]["adapted"]
    folder = tested_folder(out, speaker, arm, seed)
    own = Decoding(
        hypotheses=folder / "hypotheses.jsonl",
        record=folder / "run.jsonl",
        speaker=speaker,
        cuts=speech_folder(out, speaker) / "cuts.jsonl.gz",
        splits=speech_folder(out, speaker) / "splits.json",
        adapter=folder / "adapter.safetensors" if adapted else None,
        adapter_description=folder / "adapter.json" if adapted else None,
        adaptation_record=folder / "adaptation.jsonl" if adapted else None,
    )
    settings = stage_settings(config, ["arm", "decoding", "scoring.scorers"], arm)

    def run() -> None:
        decode(
            experiment=config["experiment"],
            settings=settings,
            arm=arm,
            seed=seed,
            weights=weights,
            description=description,
            decodings=[own],
            corpus="folder",
        )

    files = [path for path in (description, own.cuts, own.splits, own.adapter) if path is not None]
    return Step(own.hypotheses, settings, files, run)


def tested_folder(out: Path, speaker: str, arm: str, seed: int) -> Path:
    """The folder of the adapter that is tested, and of its hypotheses."""
    return place(out, layout.ADAPTED, speaker=speaker, arm=arm, seed=seed)
