"""Adapters on disk: safetensors, and a small JSON that says which base, which arm and which settings.

An adapter trained by cross-validation has one set of tensors a fold, all in one file under `fold<k>/`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from saml import __version__
from saml.adapters.spec import AdapterSpec
from saml.models.store import FORMAT, as_described, read_description, read_tensors, refuse_missing
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically

State = dict[str, Tensor]


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter as read: file, specification, a state per fold (one where there are none), description."""

    path: Path
    spec: AdapterSpec
    folds: list[State]
    description: dict[str, Any]

    @property
    def is_personal(self) -> bool:
        """Whether it was adapted to a speaker; a pre-trained one belongs to no speaker."""
        return "speaker" in self.description

    def states_for(self, digests: Sequence[str]) -> list[State]:
        """The state for each of a speaker's folds, given the digests of their training (`Fold.digest`).

        A pre-trained adapter has one state for all. Raises SamlError for one that was adapted to other
        utterances, or to folds that were drawn differently; without digests in its description, their number
        decides.
        """
        if not self.is_personal:
            return self.folds[:1] * len(digests)
        trained_on = self.description.get("trained_on", list(digests))
        if len(self.folds) != len(digests) or trained_on != list(digests):
            raise SamlError(
                f"{self.path}: was adapted to other train and dev utterances than the splits have now, so it "
                "may have been trained on what it is tested on; adapt again"
            )
        return self.folds


def save_adapter(
    weights: Path,
    description: Path,
    *,
    spec: AdapterSpec,
    folds: Sequence[State],
    base: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> None:
    """Write an adapter.

    Args:
        weights: the safetensors file to write; `description` the JSON.
        spec: what kind of adapter it is.
        folds: its state, or one state for each fold.
        base: the description of the model that it was trained on.
        origin: arm, speaker, seed and settings: whatever says how it came about.
    """
    many = len(folds) > 1
    tensors = {
        f"fold{index}/{name}" if many else name: tensor
        for index, state in enumerate(folds)
        for name, tensor in state.items()
    }
    data = save(tensors)
    write_atomically(weights, data)
    content = {
        "format": FORMAT,
        "saml": __version__,
        "family": base["family"],
        "base_sha256": base["sha256"],
        "base_precision": base["precision"],
        "sha256": hashlib.sha256(data).hexdigest(),
        "spec": spec.as_dict(),
        **({"folds": len(folds)} if many else {}),
        **origin,
    }
    write_atomically(description, (json.dumps(content, indent=2) + "\n").encode())


def refuse_other_spec(stored: StoredAdapter, spec: AdapterSpec, path: Path, arm: str) -> None:
    """Raise SamlError, naming what differs, unless an adapter was made as arm `arm` would make it now.

    Shapes alone would not tell: scale, mixing rule and temperature leave them as they are.
    """
    theirs, ours = stored.spec.as_dict(), spec.as_dict()
    different = [name for name in ours if theirs[name] != ours[name]]
    if different:
        raise SamlError(f"{path}: made with other {', '.join(different)} than arm {arm} has; pre-train again")


def load_adapter(weights: Path, description: Path, base: Mapping[str, Any]) -> StoredAdapter:
    """Read an adapter for the model described by `base`.

    Raises SamlError when a file is missing or damaged, or the adapter was trained on another base.
    """
    refuse_missing(weights)
    content = read_description(description)
    if content.get("base_sha256") != base["sha256"]:
        raise SamlError(f"{weights}: this adapter belongs to another base model; adapt again on this one")
    with as_described(description, weights):
        tensors = read_tensors(weights, content["sha256"])
        spec = AdapterSpec(**content["spec"])
        _refuse_larger(spec, tensors)
        folds = _folds(tensors, content["folds"]) if "folds" in content else [tensors]
    return StoredAdapter(weights, spec, folds, content)


def _refuse_larger(spec: AdapterSpec, tensors: State) -> None:
    """Raise ValueError for a specification of more than is stored, which could take all of the memory."""
    stored = max((max(tensor.shape, default=0) for tensor in tensors.values()), default=0)
    for name in ("experts", "feed_forward_experts", "rank"):
        size = getattr(spec, name)
        if type(size) is not int or not 0 <= size <= stored:
            raise ValueError(f"{name} {size}")


def _folds(tensors: State, count: int) -> list[State]:
    """A state for each fold. Raises ValueError for a tensor that is of none, or a fold without any."""
    by_name: dict[str, State] = {}
    for name, tensor in tensors.items():
        fold, _, own = name.partition("/")
        by_name.setdefault(fold, {})[own] = tensor
    names = [f"fold{index}" for index in range(len(by_name))]
    if count != len(names) or set(names) != by_name.keys():
        raise ValueError(f"{count} folds, but tensors of {', '.join(by_name)}")
    return [by_name[name] for name in names]
