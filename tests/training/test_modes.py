"""What is in training mode when: dropout in every training step, batch norm of the frozen base never."""

from pathlib import Path
from typing import Any

import pytest
import torch

from saml.models.recogniser import as_module
from saml.training import engine
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM


def test_dropout_is_on_again_after_validation(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adaptation: the dev part, then twice a step and the dev part again."""
    computed, seen = engine.utterance_losses, []

    def noted(recogniser: Any, *arguments: Any, **options: Any) -> Any:
        dropout = {layer.dropout.training for layer in recogniser.layers.values()}
        modules = as_module(recogniser.base).modules()
        norms = {module.training for module in modules if isinstance(module, torch.nn.BatchNorm1d)}
        seen.append((dropout, norms))
        return computed(recogniser, *arguments, **options)

    monkeypatch.setattr(engine, "utterance_losses", noted)
    run.adapt(made, "modes", SAML_ARM, "saml")
    step, dev = ({True}, {False}), ({False}, {False})
    assert seen == [dev, step, dev, step, dev]
