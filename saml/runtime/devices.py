"""The device to compute on, its precision, and seeds: what makes a run repeatable."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Padded speech that is computed at once: a CPU is fast with what fits its caches, a GPU with large batches.
_SECONDS_AT_ONCE = {"cpu": 30.0, "cuda": 600.0}


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds_at_once(on: torch.device) -> float:
    """How many seconds of speech, padding included, are computed at once on a device."""
    return _SECONDS_AT_ONCE[on.type]


def uses_bfloat16(precision: str) -> bool:
    """Whether a training with this `precision` computes in bfloat16; "auto": where the GPU supports it."""
    if precision == "auto":
        return device().type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"


def make_deterministic() -> None:
    """Only deterministic kernels, so that a run can be repeated byte for byte, on a GPU too."""
    # As use_deterministic_algorithms(True), which would also load torch.compile.
    torch.set_deterministic_debug_mode("error")
    # By default every new tensor is filled, in case it is read before it is written: nothing here does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # fp32 is fp32: by default convolutions round to ten bits on a GPU, matrix products do not.
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: torch's sums of many numbers depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def seed_for(*factors: object) -> int:
    """A seed decided by `factors` alone, different for different factors, the same on every machine."""
    text = "/".join(str(factor) for factor in factors)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def random_state() -> dict[str, torch.Tensor | None]:
    """The state of torch's generators, for a checkpoint: the CPU's, and that of the GPU in use."""
    return {
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(saved: dict[str, torch.Tensor | None]) -> None:
    """Put the generators back into a state from `random_state`."""
    assert saved["random"] is not None
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"] is not None:
        torch.cuda.set_rng_state(saved["random_cuda"])
