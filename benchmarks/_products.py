"""The matrix products of a computation: counted, and done again by themselves."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# Kinds of operation, by how torch's profiler names them: the first pattern that is found in a name counts.
_KINDS = {
    "products": r"aten::(mm|addmm_?)$",
    "products in batches": r"aten::(bmm|baddbmm_?)$",
    "attention": r"scaled_dot_product",
    "convolutions": r"convolution|conv1d",
    "copies": r"aten::(copy_|cat|index_select|index_add_|clone|contiguous)$",
    "random numbers and masks": r"aten::(random_|ge|bernoulli_|native_dropout)$",
    "other element by element": r"aten::(mul_?|add_?|gelu\w*|native_layer_norm\w*)$",
}
# Where the two factors stand among what an operation is given, by its name in torch's profiler.
_FACTORS = {
    **dict.fromkeys(("aten::mm", "aten::bmm"), (0, 1)),
    **dict.fromkeys(("aten::addmm", "aten::addmm_", "aten::baddbmm", "aten::baddbmm_"), (1, 2)),
}

Shapes = tuple[torch.Size, torch.Size]


@dataclass
class Products:
    """What was counted.

    Attributes:
        in_attention: floating-point operations of fused attention.
        often: the shapes of products, and how often each was computed.
    """

    in_attention: float = 0.0
    often: Counter[Shapes] = field(default_factory=Counter)

    @property
    def in_products(self) -> float:
        """Floating-point operations of `often` alone."""
        return float(sum(2 * a.numel() * b[-1] * times for (a, b), times in self.often.items()))

    @property
    def all(self) -> float:
        """Those of products and fused attention; convolutions are left out."""
        return self.in_products + self.in_attention

    def replay(self, device: str) -> Callable[[], None]:
        """Does nothing but these products, as often, on numbers that are there already."""
        pairs = [
            (torch.rand(a, device=device), torch.rand(b, device=device), times)
            for (a, b), times in self.often.items()
        ]

        def run() -> None:
            for a, b, times in pairs:
                for _ in range(times):
                    torch.matmul(a, b)

        return run


def count(run: Callable[[], Any]) -> Products:
    """Run it twice, once for each kind of product, and count."""
    products = Products()
    with FlopCounterMode(display=False) as counter:
        run()
    each = counter.get_flop_counts()["Global"]
    # The counter knows no product that is added in place; so all of them are counted by their shapes.
    products.in_attention = float(sum(number for name, number in each.items() if "attention" in str(name)))
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
    ) as profile:
        run()
    for event in profile.key_averages(group_by_input_shape=True):
        if event.key in _FACTORS:
            first, second = (torch.Size(event.input_shapes[place]) for place in _FACTORS[event.key])
            products.often[first, second] += event.count
    return products


def shares(run: Callable[[], Any], device: str) -> dict[str, float]:
    """Run it once under torch's profiler: the shares of operations' own time, by kind, the largest first."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profile:
        run()
    own: dict[str, float] = defaultdict(float)
    for event in profile.key_averages():
        time = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        own[kind(event.key)] += time
    return {name: own[name] / sum(own.values()) for name in sorted(own, key=own.__getitem__, reverse=True)}


def kind(operation: str) -> str:
    """Which of the kinds an operation is, by its name."""
    return next((name for name, pattern in _KINDS.items() if re.search(pattern, operation)), "the rest")
