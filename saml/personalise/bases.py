"""A base model to personalise: an experiment that has run, or somebody else's Whisper, imported once.

An imported Whisper has a folder of its own in the cache, laid out as an experiment's results: config.yaml,
models/base, models/nf4, and the adapters that this package ships for it. It is made once for each checkpoint,
configuration and version of this package, and not written again.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import saml
from saml.config.load import canonical, load, save, stage_settings
from saml.models.checkpoints.hub import HUB, is_hub_name
from saml.models.checkpoints.source import checkpoint_path, checksums
from saml.models.checkpoints.transformers import mel_bins, open_checkpoint
from saml.runtime import layout
from saml.runtime.cache import cache_folder
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object, write_atomically
from saml.runtime.layout import place
from saml.stages.import_base import import_base
from saml.stages.quantise import quantise

PACKAGE = Path(saml.__file__).resolve().parent
# The defaults of all experiments (config/config.yaml: a link here, a copy in a wheel), and what differs for a
# Whisper that is personalised.
DEFAULTS = PACKAGE / "config" / "defaults.yaml"
WHISPER = Path(__file__).with_name("whisper.yaml")
# Adapters that were pre-trained on other speakers, a folder for each.
SHIPPED = Path(__file__).with_name("shipped")

PRETRAINED_ARM, FRESH_ARM = "pqm", "nf4-lora"
# Of the shipped adapters.
START_SEED = 1


def is_experiment(base: str) -> bool:
    """Whether `base` is the folder of an experiment's results, and not a checkpoint."""
    return (Path(base) / "config.yaml").is_file() and not (Path(base) / "config.json").is_file()


def imported(base: str, cache: Path | None = None) -> Path:
    """The folder of an imported Whisper; it is imported and quantised first where that has not been done.

    Args:
        base: a name on the hub (openai/whisper-tiny.en, with or without hf://), a folder of transformers' or
            faster-whisper's, or a `.pt` of OpenAI's.
        cache: where imported models lie; None: `cache_folder`.

    Raises:
        SamlError: there is no such model, it is damaged, or no Whisper with a vocabulary of its own.
    """
    config = configuration(base)
    path = checkpoint_path(config["model"])
    config["model"]["whisper"]["features"]["bins"] = mel_bins(config["model"])
    opened = open_checkpoint(config["model"])
    if opened.caution is not None:
        print(f"warning: {path}: {opened.caution}", file=sys.stderr)
    marks = canonical(
        {
            "files": checksums(path),
            "model": {**config["model"]["whisper"], "checkpoint": None},
            "quantisation": config["quantisation"],
            "version": saml.__version__,
        }
    )
    name = f"{_readable(base)}-{hashlib.sha256(marks.encode()).hexdigest()[:12]}"
    folder = (cache_folder() if cache is None else cache) / name
    _make(config, folder)
    written = folder / "config.yaml"
    if not written.is_file() or load([written]) != config:
        save(config, written)
    return folder


def starts(folder: Path) -> bool:
    """Whether there is an adapter to start from that was pre-trained on other speakers."""
    return (place(folder, layout.PRETRAINED, arm=PRETRAINED_ARM, seed=START_SEED) / "adapter.json").is_file()


def configuration(base: str) -> dict[str, Any]:
    """The configuration of a Whisper that is personalised."""
    config = load([DEFAULTS, WHISPER])
    named = base if base.startswith(HUB) or Path(base).exists() or not is_hub_name(base) else f"{HUB}{base}"
    config["model"]["whisper"]["checkpoint"] = named
    return config


def about_start(folder: Path, arm: str) -> str:
    """What an arm's adapter starts from, and what that means for whoever spoke the recordings."""
    if arm == FRESH_ARM:
        return (
            "no adapter that was pre-trained on other speakers is shipped for this model (or --start none): "
            "the adapter starts from nothing, which takes more recordings to help, and may harm"
        )
    description = place(folder, layout.PRETRAINED, arm=PRETRAINED_ARM, seed=START_SEED) / "adapter.json"
    speech = read_json_object(description).get("speech", "other speakers")
    return (
        f"the adapter starts from one that was pre-trained on {speech}; with another accent take "
        "--start none, which made fewer errors"
    )


def _readable(base: str) -> str:
    """The last part of a name, with letters that are safe in a path."""
    last = Path(base.removeprefix(HUB).partition("@")[0]).name or "whisper"
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in last).lstrip(".")


def _make(config: Mapping[str, Any], folder: Path) -> None:
    """Import, quantise and find a shipped adapter, each where it has not been done."""
    base, nf4 = (place(folder, layout.MODEL, model=model) for model in ("base", "nf4"))
    if not (base / "model.json").is_file():
        print(f"importing the model into {folder} (once)", file=sys.stderr)
        import_base(
            experiment=config["experiment"],
            settings=stage_settings(config, ["model"]),
            out_weights=base / "model.safetensors",
            out_description=base / "model.json",
            record=base / "run.jsonl",
        )
    if not (nf4 / "model.json").is_file():
        quantise(
            experiment=config["experiment"],
            settings=stage_settings(config, ["quantisation"]),
            weights=base / "model.safetensors",
            description=base / "model.json",
            out_weights=nf4 / "model.safetensors",
            out_description=nf4 / "model.json",
            record=nf4 / "run.jsonl",
        )
    wanted = read_json_object(nf4 / "model.json")["sha256"]
    for found in sorted(SHIPPED.glob("*/adapter.json")):
        if read_json_object(found).get("base_sha256") == wanted:
            start = place(folder, layout.PRETRAINED, arm=PRETRAINED_ARM, seed=START_SEED)
            for name in ("adapter.safetensors", "adapter.json"):
                content = found.with_name(name).read_bytes()
                # Written once and whole: another process may be reading it, and a cache may be read-only.
                if not (start / name).is_file() or (start / name).read_bytes() != content:
                    write_atomically(start / name, content)


def arm_of(folder: Path, start: str) -> str:
    """The arm to adapt: from the shipped adapter, or from nothing; `start` is "auto", "shipped" or "none".

    Raises SamlError where "shipped" is wanted and none is.
    """
    if start == "shipped" and not starts(folder):
        raise SamlError("--start shipped: no adapter is shipped for this model; leave the option out")
    return PRETRAINED_ARM if starts(folder) and start != "none" else FRESH_ARM


def refuse_without_start(folder: Path, arms: Sequence[str], seed: int | None) -> None:
    """Raise SamlError for an arm of an imported Whisper that has nothing to start from."""
    known = [PRETRAINED_ARM, FRESH_ARM] if starts(folder) else [FRESH_ARM]
    for arm in arms:
        if arm not in known:
            raise SamlError(
                f"--arms: {arm} has nothing to start from with this Whisper; choose {' or '.join(known)}"
            )
        if arm == PRETRAINED_ARM and seed not in (None, START_SEED):
            raise SamlError(
                f"--seed {seed}: the shipped adapter has seed {START_SEED} alone; leave the option out, or "
                "take --start none"
            )
