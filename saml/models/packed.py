"""Layers whose NF4 weight stays packed in memory: for machines that a model in float32 does not fit.

A weight is de-quantised when it is needed and forgotten afterwards: an eighth of the memory, bit for bit the
same weights, and more time, because a search needs every weight of the decoder for every token.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saml.models.nf4 import Packed, keep
from saml.models.recogniser import Recogniser, as_module, replace_module

# Weights that are de-quantised at once, at most: 4 MB in float32. The output layer has many more.
_AT_ONCE = 1 << 20


class PackedLinear(nn.Linear):
    """A frozen linear layer with a packed weight `(out, in)`."""

    def __init__(self, replaced: nn.Linear, weight: Packed) -> None:
        nn.Module.__init__(self)  # not Linear's, which would make a weight
        self.in_features, self.out_features = replaced.in_features, replaced.out_features
        self.packed = weight
        self.bias = replaced.bias

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight `(out, in)`, de-quantised anew each time."""
        return self.packed.rows(0, self.out_features)

    def forward(self, input: Tensor) -> Tensor:
        """`(..., in)` to `(..., out)`, some outputs after the others where there are many."""
        step = max(1, _AT_ONCE // self.in_features)
        if step >= self.out_features:
            return F.linear(input, self.weight, self.bias)
        parts = [
            F.linear(input, self.packed.rows(start, min(start + step, self.out_features)))
            for start in range(0, self.out_features, step)
        ]
        result = torch.cat(parts, dim=-1)
        return result if self.bias is None else result + self.bias


class PackedEmbedding(nn.Embedding):
    """A frozen table of embeddings with a packed weight `(entries, dim)`."""

    def __init__(self, replaced: nn.Embedding, weight: Packed) -> None:
        nn.Module.__init__(self)  # not Embedding's, which would make a weight
        self.num_embeddings, self.embedding_dim = replaced.num_embeddings, replaced.embedding_dim
        self.packed = weight

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight `(entries, dim)`, de-quantised anew each time."""
        return self.packed.rows(0, self.num_embeddings)

    def forward(self, input: Tensor) -> Tensor:
        """`(...)` entries to `(..., dim)`; only these entries are de-quantised."""
        distinct, places = input.unique(return_inverse=True)
        return self.packed.chosen(distinct)[places]


def keep_packed(
    recogniser: Recogniser, state: dict[str, Tensor], *, block_size: int, double: bool
) -> set[str]:
    """Give linear layers and embeddings of a network without values their packed weights.

    Other kinds of layers, and weights whose rows are no whole blocks, are left as they are.

    Args:
        recogniser: built on the meta device; layers that share a weight share the packed one.
        state: the stored tensors (see `saml.models.nf4`).
        block_size, double: as the model was quantised.

    Returns:
        The names of the weights that are packed now, which have no values to be filled.
    """
    root = as_module(recogniser)
    weights: dict[int, Packed] = {}
    replaced: set[str] = set()
    for name, module in list(root.named_modules(remove_duplicate=False)):
        kind = _REPLACEMENTS.get(type(module))
        if kind is None or f"{name}.weight" in recogniser.positions:
            continue
        tied = id(module.weight)
        if tied not in weights:
            made = keep(state, f"{name}.weight", module.weight.shape, block_size=block_size, double=double)
            if made is None:
                continue
            weights[tied] = made
        replaced.add(f"{name}.weight")
        replace_module(root, name, kind(module, weights[tied]))
    return replaced


_REPLACEMENTS: dict[type, type[PackedLinear] | type[PackedEmbedding]] = {
    nn.Linear: PackedLinear,
    nn.Embedding: PackedEmbedding,
}
