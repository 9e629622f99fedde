"""NF4 weights that stay packed: bit for bit the results of those that are de-quantised once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.models.nf4 import pack, quantisable
from saml.models.packed import PackedEmbedding, PackedLinear
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import full_state, load_model, save_model
from saml.runtime.errors import SamlError


def stored(recogniser: Recogniser, folder: Path, *, block_size: int = 32, double: bool = False) -> Path:
    """The recogniser in NF4 on disk; returns the path of its weights."""
    state = full_state(recogniser)
    packed: dict[str, torch.Tensor] = {}
    names = quantisable(recogniser)
    for name in names:
        packed |= pack(state[name], name, block_size=block_size, double=double)
    kept = {name: tensor for name, tensor in state.items() if name not in names}
    path = folder / "nf4.safetensors"
    how = {"block_size": block_size, "double": double}
    save_model(recogniser, path, path.with_suffix(".json"), quantisation=how, state={**kept, **packed})
    return path


def both(path: Path) -> tuple[Recogniser, Recogniser]:
    """The model de-quantised, and packed."""
    description = path.with_suffix(".json")
    return load_model(path, description)[0], load_model(path, description, packed=True)[0]


@pytest.mark.parametrize("double", [False, True])
def test_packed_or_not_the_logits_are_the_same(
    make_recogniser: Callable[[], Recogniser],
    speech: tuple[torch.Tensor, torch.Tensor],
    tmp_path: Path,
    double: bool,
) -> None:
    plain, packed = both(stored(make_recogniser(), tmp_path, double=double))
    tokens = torch.tensor([[1, 5, 9], [1, 7, 7], [1, 3, 4]])
    with torch.inference_mode():
        expected, found = (one.logits(one.encode(*speech), tokens) for one in (plain, packed))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_layers_are_packed_and_small(make_recogniser: Callable[[], Recogniser], tmp_path: Path) -> None:
    """Of 32 weights 16 bytes of codes and 4 of their scale, in place of 128 bytes; none is held twice."""
    plain, packed = both(stored(make_recogniser(), tmp_path))
    modules = dict(as_module(packed).named_modules(remove_duplicate=False))
    replaced = {name: one for name, one in modules.items() if isinstance(one, PackedLinear | PackedEmbedding)}
    assert any(isinstance(one, PackedEmbedding) for one in replaced.values())
    originals = dict(as_module(plain).named_modules(remove_duplicate=False))
    linear = {name for name, one in originals.items() if isinstance(one, nn.Linear)}
    assert linear <= replaced.keys()
    names = [name for name, _ in as_module(packed).named_parameters(remove_duplicate=False)]
    assert not {f"{name}.weight" for name in replaced} & set(names)
    buffers = {id(one.packed): one.packed for one in replaced.values()}
    assert len(buffers) == len({id(originals[name].weight) for name in replaced})
    weights = {id(originals[name].weight): originals[name].weight.numel() for name in replaced}
    held = sum(one.codes.nbytes + one.absmax.nbytes for one in buffers.values())
    assert held == sum(weights.values()) / 32 * 20


def test_adapters_go_on_packed_layers(
    make_recogniser: Callable[[], Recogniser],
    speech: tuple[torch.Tensor, torch.Tensor],
    tmp_path: Path,
) -> None:
    spec = AdapterSpec(experts=2, feed_forward_experts=1, rank=1, alpha=4.0, dropout=0.0, routed=True)
    results = []
    for one in both(stored(make_recogniser(), tmp_path)):
        adapted = AdaptedRecogniser(one, spec, seed=3)
        generator = torch.Generator().manual_seed(1)
        state = adapted.state()
        adapted.load_state({name: torch.randn(own.shape, generator=generator) for name, own in state.items()})
        with torch.inference_mode():
            results.append(adapted.logits(adapted.encode(*speech), torch.tensor([[1, 5]] * 3)))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_an_output_layer_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of 12 rows, 5 at a time, against the product with what bitsandbytes gives back."""
    from saml.models import packed
    from saml.models.nf4 import keep, unpack

    torch.manual_seed(0)
    weight, bias = torch.randn(12, 64), torch.randn(12)
    tensors = pack(weight, "w", block_size=64, double=False)
    kept = keep(tensors, "w", weight.shape, block_size=64, double=False)
    assert kept is not None
    linear = nn.Linear(64, 12)
    with torch.no_grad():
        linear.bias.copy_(bias)
    monkeypatch.setattr(packed, "_AT_ONCE", 5 * 64)
    x = torch.randn(3, 64)
    expected = x @ unpack(tensors, "w", weight.shape, block_size=64, double=False).T + bias
    torch.testing.assert_close(PackedLinear(linear, kept)(x), expected)


def test_rows_that_are_no_whole_blocks_are_de_quantised(
    make_recogniser: Callable[[], Recogniser],
    speech: tuple[torch.Tensor, torch.Tensor],
    tmp_path: Path,
) -> None:
    """Layers have 32 or 64 inputs here: those with 32, the tied output too, have half a block of 64 a row."""
    plain, packed = both(stored(make_recogniser(), tmp_path, block_size=64))
    tokens = torch.tensor([[1, 5, 9], [1, 7, 7], [1, 3, 4]])
    with torch.inference_mode():
        expected, found = (one.logits(one.encode(*speech), tokens) for one in (plain, packed))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    for module in as_module(packed).modules():
        if isinstance(module, PackedLinear):
            assert module.in_features % 64 == 0
        elif type(module) is nn.Linear:
            assert module.in_features % 64 and module.weight.dtype == torch.float32


def test_full_precision_cannot_stay_packed(make_recogniser: Callable[[], Recogniser], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(make_recogniser(), path, path.with_suffix(".json"))
    with pytest.raises(SamlError, match="is in full precision"):
        load_model(path, path.with_suffix(".json"), packed=True)
