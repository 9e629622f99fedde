"""Averages by icefall: by itself where it can be imported, and else by a stand-in with its manners."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from saml.compat.icefall import mean_state
from saml.runtime.errors import SamlError

SETTING = "base_training.average_by: icefall"


class StandIn(ModuleType):
    """`icefall.checkpoint` as far as it is used: files with the key "model", summed and divided."""

    def average_checkpoints(self, filenames: list[Path]) -> dict[str, Tensor]:
        states = [torch.load(file)["model"] for file in filenames]
        return {name: sum(state[name] for state in states) / len(states) for name in states[0]}


@pytest.fixture(params=["stand-in", "icefall"])
def icefall(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "icefall":
        pytest.importorskip("icefall", exc_type=Exception)
    else:
        monkeypatch.setitem(sys.modules, "icefall", ModuleType("icefall"))
        monkeypatch.setitem(sys.modules, "icefall.checkpoint", StandIn("icefall.checkpoint"))


@pytest.mark.usefixtures("icefall")
def test_the_mean_is_that_of_each_tensor() -> None:
    states = [{"a": torch.tensor([1.0, n]), "b.c": torch.full((2, 2), 3.0 * n)} for n in (2.0, 4.0, 6.0)]
    before = [{name: tensor.clone() for name, tensor in state.items()} for state in states]
    mean = mean_state(states, SETTING)
    torch.testing.assert_close(mean, {"a": torch.tensor([1.0, 4.0]), "b.c": torch.full((2, 2), 12.0)})
    torch.testing.assert_close(states, before)


def test_icefall_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icefall", None)
    with pytest.raises(SamlError, match="^base_training.average_by: icefall wants icefall, .* or say saml$"):
        mean_state([{"a": torch.ones(1)}], SETTING)
