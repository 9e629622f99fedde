"""torch's Adam and AdamW without torch.compile's machinery.

Their methods are wrapped so that torch.compile leaves them alone; the first call of one loads all of it, and
that takes as long as loading torch itself. Nothing is compiled here, so these are the methods inside: the
same arithmetic, states and hooks.
"""

from inspect import unwrap
from typing import TypeVar

import torch

_Optimiser = TypeVar("_Optimiser", bound=torch.optim.Optimizer)
_WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def _plain(optimiser: type[_Optimiser]) -> type[_Optimiser]:
    # torch's wrapper of step, too, turns gradients off.
    methods = {"step": torch.no_grad()(unwrap(optimiser.step))}
    methods |= {name: unwrap(getattr(optimiser, name)) for name in _WRAPPED}
    return type(optimiser.__name__, (optimiser,), methods)


Adam = _plain(torch.optim.Adam)
AdamW = _plain(torch.optim.AdamW)
