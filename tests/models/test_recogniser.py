"""What holds for a recogniser of any family: masks, the past only, what is stored."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from saml.models.recogniser import Recogniser, as_module
from saml.models.store import full_state, load_model, save_model
from saml.runtime.errors import SamlError

Speech = tuple[torch.Tensor, torch.Tensor]


def test_a_batch_equals_single_utterances_whatever_the_padding_holds(
    recogniser: Recogniser, speech: Speech
) -> None:
    features, lengths = speech
    together = recogniser.encode(features, lengths)
    assert torch.equal(together.mask, recogniser.frame_mask(lengths))
    for row, length in enumerate(lengths.tolist()):
        alone = recogniser.encode(features[row : row + 1, :length], lengths[row : row + 1])
        real = together.states[row, : alone.states.shape[1]]
        torch.testing.assert_close(alone.states[0], real, atol=1e-4, rtol=1e-4)


def test_logits_look_at_the_past_only(recogniser: Recogniser, speech: Speech) -> None:
    encoded = recogniser.encode(*speech)
    first = recogniser.logits(encoded, torch.tensor([[1, 5, 6, 7]] * 3))
    other = recogniser.logits(encoded, torch.tensor([[1, 5, 9, 8]] * 3))
    assert first.shape == (3, 4, recogniser.tokeniser.size)
    torch.testing.assert_close(first[:, :2], other[:, :2])


def test_model_round_trip_stores_each_tied_weight_once_and_no_computed_positions(
    make_recogniser: Callable[[], Recogniser], speech: Speech, tmp_path: Path
) -> None:
    recogniser = make_recogniser()
    weights, description = tmp_path / "model.safetensors", tmp_path / "model.json"
    save_model(recogniser, weights, description)
    stored = load_file(weights)
    parameters = {id(p): p for p in as_module(recogniser).parameters() if p.requires_grad}
    buffers = [name for name in stored if "running_" in name]
    assert sum(t.numel() for n, t in stored.items() if n not in buffers) == sum(
        p.numel() for p in parameters.values()
    )
    assert recogniser.computed and not set(recogniser.computed) & set(stored)
    chance = torch.get_rng_state()
    loaded, _ = load_model(weights, description)
    assert torch.equal(torch.get_rng_state(), chance), "numbers were drawn although the file's replace them"
    assert loaded.family == recogniser.family and loaded.has_ctc
    torch.testing.assert_close(loaded.encode(*speech).states, recogniser.encode(*speech).states)
    assert full_state(loaded).keys() == stored.keys()


def test_a_loaded_network_has_every_value_of_one_that_was_built(
    make_recogniser: Callable[[], Recogniser], tmp_path: Path
) -> None:
    """Loading starts from a network without values; what is not stored must be computed again."""
    built = make_recogniser()
    weights, description = tmp_path / "model.safetensors", tmp_path / "model.json"
    save_model(built, weights, description)
    loaded, _ = load_model(weights, description)
    ours, theirs = as_module(loaded), as_module(built)
    for kind in ("named_parameters", "named_buffers"):
        found = dict(getattr(ours, kind)(remove_duplicate=False))
        expected = dict(getattr(theirs, kind)(remove_duplicate=False))
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype, name
            assert found[name].requires_grad == tensor.requires_grad, name
    embedding = ours.get_parameter("network.model.decoder.embed_tokens.weight")
    assert loaded.network.get_output_embeddings().weight is embedding


def test_a_model_without_its_tokeniser(make_recogniser: Callable[[], Recogniser], tmp_path: Path) -> None:
    weights, description = tmp_path / "model.safetensors", tmp_path / "model.json"
    save_model(make_recogniser(), weights, description)
    tokeniser = tmp_path / "tokenizer.json"
    tokeniser.write_text(tokeniser.read_text().replace("b", "c"))
    with pytest.raises(SamlError, match=r"^\S+tokenizer\.json: checksum differs"):
        load_model(weights, description)
    tokeniser.unlink()
    with pytest.raises(SamlError, match=r"^\S+tokenizer\.json: no such file"):
        load_model(weights, description)


def test_computed_positions_are_not_trained(recogniser: Recogniser) -> None:
    parameters = dict(as_module(recogniser).named_parameters())
    assert not any(parameters[name].requires_grad for name in recogniser.computed)
