"""What the training stages share."""

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lhotse import CutSet, MonoCut

from saml import __version__
from saml.corpora.manifests import read_manifest
from saml.corpora.splits import PARTS, UNTESTED
from saml.features.batching import by_length
from saml.features.log_mel import batches
from saml.runtime.errors import SamlError
from saml.runtime.files import checksum, read_json_object

# What a checkpoint of the training loop holds: of another number it is not taken up.
_CHECKPOINT = 2


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_bfloat16(how: Mapping[str, Any]) -> bool:
    """Whether a training computes in bfloat16: as its `precision` says; `auto` is where a GPU has it."""
    precision = how.get("precision", "fp32")
    if precision == "auto":
        return device().type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(precision == "bf16")


def make_deterministic() -> None:
    """Only deterministic kernels, so that a run can be repeated byte for byte, on a GPU too."""
    # As use_deterministic_algorithms(True), which loads torch.compile to tell it too.
    torch.set_deterministic_debug_mode("error")
    # Else every new tensor is filled first, in case somebody reads it unwritten: nothing here does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # fp32 is fp32: by default convolutions round to ten bits on a GPU, matrix products do not.
    torch.backends.cudnn.allow_tf32 = False


def read_cuts(path: Path) -> list[MonoCut]:
    """The cuts of a manifest, in its order. Raises SamlError when the file is missing or damaged."""
    return list(read_manifest(CutSet, path))


@dataclass(frozen=True)
class Fold:
    """Utterance ids of one division of a target speaker's speech."""

    train: list[str]
    dev: list[str]
    test: list[str]

    @property
    def heard(self) -> str:
        """A digest of what adapting to this fold hears: of its train and dev parts, in any order."""
        parts = [sorted(self.train), sorted(self.dev)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_splits(path: Path, known: Container[str], *, untested: bool = False) -> list[Fold]:
    """The folds of a target speaker: a file that a user may have replaced, so everything in it is checked.

    With `untested`, the file may be one of `partition.split_for_use`, whose test part is empty.

    Raises SamlError, naming file, fold and utterance, when it is no such file, a part is missing or empty, an
    utterance is not among the `known` ids, stands in two parts or twice in one, or is tested in two folds.
    """
    content = read_json_object(path)
    try:
        folds = [{part: list(fold[part]) for part in PARTS} for fold in content["folds"]]
    except (KeyError, TypeError) as error:
        raise SamlError(f"{path}: not a file of folds with train, dev and test ({error!r})") from None
    if not folds:
        raise SamlError(f"{path}: there is no fold; make the file again, or give it one")
    may_be_empty = ("test",) if untested and content.get("scheme") == UNTESTED else ()
    for index, fold in enumerate(folds):
        for part, ids in fold.items():
            if not ids and part not in may_be_empty:
                raise SamlError(f"{path}: fold {index} has nothing in its {part} part")
            for utterance in ids:
                if not isinstance(utterance, str) or utterance not in known:
                    raise SamlError(f"{path}: fold {index}: the speaker has no utterance {utterance!r}")
        _refuse_repetition([(u, part) for part in PARTS for u in fold[part]], f"{path}: fold {index}")
    _refuse_repetition(
        [(u, f"test of fold {index}") for index, fold in enumerate(folds) for u in fold["test"]], str(path)
    )
    return [Fold(**fold) for fold in folds]


def _refuse_repetition(uses: Iterable[tuple[str, str]], where: str) -> None:
    """Raise SamlError naming an utterance that has two of the `uses` (utterance, what for), or one twice."""
    seen: dict[str, str] = {}
    for utterance, use in uses:
        if utterance in seen:
            twice = f"twice in {use}" if seen[utterance] == use else f"in {seen[utterance]} and {use}"
            raise SamlError(f"{where}: utterance {utterance!r} is {twice}")
        seen[utterance] = use


def identity(
    settings: Mapping[str, Any], seed: object, cuts: Iterable[MonoCut], *inputs: Path | None
) -> dict[str, Any]:
    """Everything that the result of a training depends on, by which a checkpoint knows its own job.

    Features count by their bytes, not only by the manifest that names them; so do all other `inputs`. What
    one kind of device began, another does not go on with.
    """
    archives = sorted({Path(cut.features.storage_path) for cut in cuts})
    files = [path for path in inputs if path is not None] + archives
    return {
        "settings": settings,
        "seed": seed,
        "saml": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device().type == "cuda" else "cpu",
        "checkpoint": _CHECKPOINT,
        "inputs": [checksum(path) for path in files],
    }


def section_for_arm(settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A section of the config with what the arm's own entry says over it: `arms.<arm>.<section>`.

    So learning rates that were chosen for one arm stand in that arm's entry.
    """
    own: Mapping[str, Any] = settings["arm"].get(section, {})
    return {**settings[section], **own}


def seed_for(*factors: object) -> int:
    """A seed decided by `factors` alone, different for different factors, the same on every machine."""
    text = "/".join(str(factor) for factor in factors)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def shuffled(cuts: Sequence[MonoCut], how: Mapping[str, Any], seed: int, index: int) -> list[list[MonoCut]]:
    """The batches of epoch `index`, of `batch_utterances` each."""
    return batches(cuts, max_utterances=how["batch_utterances"], seed=seed, epoch=index)


def in_order(cuts: Sequence[MonoCut], *, max_seconds: float = 60.0) -> list[list[MonoCut]]:
    """Batches for judging: sorted by length, nothing at random."""
    return [[cut for _, cut in part] for part in by_length([(None, cut) for cut in cuts], max_seconds)]
