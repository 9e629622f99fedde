"""A Whisper as OpenAI stores it, against transformers' network with the same weights."""

import base64
from pathlib import Path

import pytest
import torch

from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.store import load_model
from saml.runtime.errors import SamlError
from saml.stages.import_base import import_base
from tests.models.conftest import section

RANKS = 256
SIZE = RANKS + 8 + 99 + 1501
DIMS = {"n_mels": 80, "n_audio_ctx": 70, "n_audio_state": 32, "n_audio_head": 2, "n_audio_layer": 2}
DIMS |= {"n_vocab": SIZE, "n_text_ctx": 40, "n_text_state": 32, "n_text_head": 2, "n_text_layer": 1}


def openai_names() -> dict[str, str]:
    """OpenAI's names, written out by hand from its module tree, to transformers'."""
    names = {
        "encoder.positional_embedding": "encoder.embed_positions.weight",
        "decoder.positional_embedding": "decoder.embed_positions.weight",
        "decoder.token_embedding.weight": "decoder.embed_tokens.weight",
    }
    both = ("weight", "bias")
    pairs = [("encoder.conv1", "encoder.conv1"), ("encoder.conv2", "encoder.conv2")]
    pairs += [("encoder.ln_post", "encoder.layer_norm"), ("decoder.ln", "decoder.layer_norm")]
    for stack, layers in (("encoder", 2), ("decoder", 1)):
        for k in range(layers):
            block, layer = f"{stack}.blocks.{k}", f"{stack}.layers.{k}"
            pairs += [(f"{block}.attn_ln", f"{layer}.self_attn_layer_norm")]
            pairs += [(f"{block}.mlp_ln", f"{layer}.final_layer_norm")]
            pairs += [(f"{block}.mlp.0", f"{layer}.fc1"), (f"{block}.mlp.2", f"{layer}.fc2")]
            kinds = [("attn", "self_attn")] + ([("cross_attn", "encoder_attn")] if stack == "decoder" else [])
            for theirs, ours in kinds:
                for one, other in (("query", "q"), ("value", "v"), ("out", "out")):
                    pairs += [(f"{block}.{theirs}.{one}", f"{layer}.{ours}.{other}_proj")]
                names[f"{block}.{theirs}.key.weight"] = f"{layer}.{ours}.k_proj.weight"
        if stack == "decoder":
            pairs += [("decoder.blocks.0.cross_attn_ln", "decoder.layers.0.encoder_attn_layer_norm")]
    names |= {f"{one}.{kind}": f"{other}.{kind}" for one, other in pairs for kind in both}
    return {one: f"model.{other}" for one, other in names.items()}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    """A `.pt` in half precision, a table of bytes beside it, and transformers' network of those weights."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(5)
    layers = {"encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes = {"d_model": 32, "max_source_positions": 70, "max_target_positions": 40, "vocab_size": SIZE}
    tokens = {
        "pad_token_id": RANKS,
        "bos_token_id": RANKS,
        "eos_token_id": RANKS,
        "decoder_start_token_id": RANKS + 1,
    }
    config = WhisperConfig(**layers, **heads, **sizes, **tokens, begin_suppress_tokens=None)
    network = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1 and "encoder.embed_positions" not in name:
                parameter.mul_(4.0)
            parameter.copy_(parameter.half())
    state = network.state_dict()
    names = openai_names()
    assert set(names.values()) == set(state) - {"proj_out.weight"}
    path = tmp_path / "openai" / "tiny.pt"
    path.parent.mkdir()
    torch.save(
        {"dims": DIMS, "model_state_dict": {one: state[other].half() for one, other in names.items()}}, path
    )
    lines = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(RANKS)]
    (path.parent / "multilingual.tiktoken").write_text("\n".join(lines))
    return path, network.eval()


def test_imported_logits_are_those_of_transformers(
    made: tuple[Path, torch.nn.Module], tmp_path: Path
) -> None:
    path, theirs = made
    out = tmp_path / "base"
    import_base(
        experiment="test",
        settings={"model": section(path, characters=None)},
        out_weights=out / "model.safetensors",
        out_description=out / "model.json",
        record=out / "run.jsonl",
    )
    recogniser, content = load_model(out / "model.safetensors", out / "model.json")
    features = torch.randn(2, 140, 80, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[RANKS + 1, 5, 6, 3, 9], [RANKS + 1, 8, 4, 30, 2]])
    with torch.inference_mode():
        logits = recogniser.logits(recogniser.encode(features, torch.tensor([140, 90])), tokens)
        expected = theirs(input_features=features.transpose(1, 2), decoder_input_ids=tokens).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert content["settings"]["positions"] == "float16" and content["settings"]["characters"] is None
    assert recogniser.tokeniser.encode("ab") == [ord(" "), ord("a"), ord("b")]


def test_what_is_none_is_named(made: tuple[Path, torch.nn.Module]) -> None:
    path, _ = made
    whole = torch.load(path, weights_only=True)

    def refused(message: str, content: object) -> None:
        torch.save(content, path)
        with pytest.raises(SamlError, match=message):
            read_recogniser(open_checkpoint(section(path, characters=None)))

    weights = whole["model_state_dict"]
    lacking = {name: tensor for name, tensor in weights.items() if name != "encoder.conv1.bias"}
    refused("tensor model.encoder.conv1.bias is missing", {**whole, "model_state_dict": lacking})
    more = {**weights, "encoder.more": torch.zeros(1)}
    refused("tensor model.encoder.more is left over", {**whole, "model_state_dict": more})
    other = {**weights, "decoder.ln.bias": torch.zeros(5)}
    refused(
        r"model.decoder.layer_norm.bias has shape \(5,\), not \(32,\)", {**whole, "model_state_dict": other}
    )
    with pytest.raises(SamlError, match="tokens are no characters; say model.whisper.characters: null"):
        open_checkpoint(section(path))
    refused("encoder and decoder differ in width", {**whole, "dims": {**DIMS, "n_text_state": 64}})
    refused("not a Whisper as OpenAI publishes them", {"dims": DIMS})
    refused("holds other objects than tensors, or is damaged; name a checkpoint in safetensors", Path("code"))
