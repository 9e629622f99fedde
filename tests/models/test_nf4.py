"""NF4: the 16 published values, bitsandbytes' own de-quantisation, and the size of real files."""

from collections.abc import Callable
from pathlib import Path

import bitsandbytes.functional as bnb
import pytest
import torch

from saml.models.nf4 import pack, quantisable, unpack
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import full_state, load_model, save_model
from saml.runtime.errors import SamlError

# QLoRA (Dettmers et al. 2023), appendix E.
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
]  # fmt: skip


def test_the_sixteen_published_values() -> None:
    """A block that holds scale x value for every published value comes back as it was."""
    weight = torch.tensor(NF4 * 4) * 0.375
    packed = pack(weight, "w", block_size=64, double=False)
    assert packed["w"].shape == (32,) and packed["w.absmax"].tolist() == [0.375]
    codes = [code for byte in packed["w"].tolist() for code in (byte >> 4, byte & 15)]
    assert codes == list(range(16)) * 4
    torch.testing.assert_close(unpack(packed, "w", weight.shape, block_size=64, double=False), weight)


@pytest.mark.parametrize("block_size", [64, 256])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", [(37, 53), (512, 160), (8, 1, 3, 3), (5,)])
def test_equals_bitsandbytes_bit_for_bit(block_size: int, double: bool, shape: tuple[int, ...]) -> None:
    """Also where the last block is not full and the number of weights is odd."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    codes, state = bnb.quantize_4bit(
        weight, blocksize=block_size, compress_statistics=double, quant_type="nf4"
    )
    packed = pack(weight, "w", block_size=block_size, double=double)
    ours = unpack(packed, "w", weight.shape, block_size=block_size, double=double)
    assert torch.equal(ours, bnb.dequantize_4bit(codes, state))


def test_threads_change_no_byte() -> None:
    """A large weight, whose scales (a block's largest number) torch would add up in parallel."""
    weight = torch.zeros(1 << 17, 64)
    weight[:, 0] = torch.randn(1 << 17, generator=torch.Generator().manual_seed(1)).abs()
    before = torch.get_num_threads()
    packed = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            packed.append(pack(weight, "w", block_size=64, double=True))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in packed[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in packed[0].items())


def test_which_weights_are_quantised(recogniser: Recogniser) -> None:
    """All linear, convolution and token-embedding weights, the tied one once; nothing else."""
    names = quantisable(recogniser)
    assert len(names) == len(set(names))
    assert "network.model.decoder.embed_tokens.weight" in names
    assert "network.proj_out.weight" not in names  # tied to the embedding
    assert not set(recogniser.positions) & set(names)
    left = [name for name in full_state(recogniser) if name not in names]
    assert all(
        name.endswith(("bias", "bias_u", "bias_v", "running_mean", "running_var"))
        or "norm" in name
        or name in recogniser.positions
        for name in left
    )


def test_stored_model_round_trip_and_size(recogniser: Recogniser, tmp_path: Path) -> None:
    state = full_state(recogniser)
    names = quantisable(recogniser)
    how = {"block_size": 64, "double": True}
    packed: dict[str, torch.Tensor] = {}
    for name in names:
        packed |= pack(state[name], name, **how)
    weights, description = tmp_path / "model.safetensors", tmp_path / "model.json"
    rest = {name: tensor for name, tensor in state.items() if name not in names}
    save_model(recogniser, weights, description, quantisation=how, state={**rest, **packed})
    loaded, content = load_model(weights, description)
    assert content["precision"] == "nf4"
    own = as_module(loaded).state_dict()
    for name, tensor in state.items():
        if name in names:
            codes, quantised = bnb.quantize_4bit(
                tensor, blocksize=64, compress_statistics=True, quant_type="nf4"
            )
            tensor = bnb.dequantize_4bit(codes, quantised).reshape(tensor.shape)
        assert torch.equal(own[name], tensor), name
    # half a byte a weight, a byte a block, and 4 bytes per 256 blocks and a mean for each tensor
    sizes = [state[name].numel() for name in names]
    blocks = [-(-size // 64) for size in sizes]
    codes_and_scales = (
        sum(-(-size // 2) for size in sizes) + sum(blocks) + sum(4 + 4 * -(-b // 256) for b in blocks)
    )
    plain = sum(4 * tensor.numel() for tensor in rest.values())
    assert sum(t.numel() * t.element_size() for t in {**rest, **packed}.values()) == codes_and_scales + plain


def test_damage_is_named(make_recogniser: Callable[[], Recogniser], tmp_path: Path) -> None:
    weights, description = tmp_path / "model.safetensors", tmp_path / "model.json"
    save_model(make_recogniser(), weights, description)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(SamlError, match=r"model\.safetensors: checksum differs"):
        load_model(weights, description)
    weights.unlink()
    with pytest.raises(SamlError, match="no such file"):
        load_model(weights, description)


def test_tensors_that_do_not_fit_are_named() -> None:
    packed = pack(torch.randn(64), "w", block_size=64, double=True)
    with pytest.raises(SamlError, match="'w.absmax' is missing"):
        unpack({"w": packed["w"]}, "w", torch.Size([64]), block_size=64, double=True)
    with pytest.raises(SamlError, match=r"'w' is torch.uint8 \(32,\), expected torch.uint8 \(64,\)"):
        unpack(packed, "w", torch.Size([128]), block_size=64, double=True)
