"""A plain LoRA in a whole recogniser against PEFT's in the same one: output, loss and gradients."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from saml.adapters import AdaptedRecogniser, AdapterSpec, find_sites
from saml.compat.torchaudio import ensure
from saml.models.recogniser import Recogniser, as_module

SPEC = AdapterSpec(experts=1, feed_forward_experts=1, rank=2, alpha=4.0, dropout=0.0)


def test_one_expert_is_pefts_lora(
    make_recogniser: Callable[[], Recogniser], speech: tuple[torch.Tensor, torch.Tensor]
) -> None:
    ensure()
    from peft import LoraConfig, inject_adapter_in_model

    ours, theirs = AdaptedRecogniser(make_recogniser(), SPEC, seed=1), make_recogniser()
    names = [name for _, name, _ in find_sites(theirs, theirs.sites)]
    how = LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=names)
    inject_adapter_in_model(how, as_module(theirs))
    torch.manual_seed(2)
    pairs = []
    for name in names:
        layer = as_module(theirs).get_submodule(name)
        for own, other in (("down", layer.lora_A), ("up", layer.lora_B)):
            parameter = ours.expert_parameters()[f"{name}.{own}"]
            torch.nn.init.normal_(parameter, std=0.3)
            other["default"].weight.data.copy_(parameter[0, 0])
            pairs.append((parameter, other["default"].weight))
    assert len(pairs) == len(ours.expert_parameters())  # none of ours is left out
    tokens, targets = torch.tensor([[1, 5, 6, 7]] * 3), torch.tensor([[5, 6, 7, 2]] * 3)
    logits = [each.logits(each.encode(*speech), tokens) for each in (ours, theirs)]
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)
    for each in logits:
        F.cross_entropy(each.flatten(0, 1), targets.flatten()).backward()
    for one, other in pairs:
        torch.testing.assert_close(one.grad[0, 0], other.grad, atol=1e-5, rtol=1e-3)
    assert any(one.grad.abs().max() > 1e-4 for one, _ in pairs)
