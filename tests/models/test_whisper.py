"""Whisper against transformers' own forward pass and generation, and its size."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from lhotse import CutSet
from torch import nn

from saml.corpora.folder import read_rows
from saml.decoding.transcription import Search, transcribe
from saml.features.batching import collate
from saml.features.log_mel import LogMel, LogMelConfig
from saml.models.nf4 import pack, quantisable
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import full_state, save_model, stored
from saml.models.whisper import WhisperRecogniser, sinusoids
from saml.runtime.errors import SamlError
from saml.training.data import Examples
from saml.training.losses import utterance_losses
from tests.conftest import TINY_WHISPER
from tests.training.conftest import write_pool

Speech = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def family() -> str:
    return "whisper"


@pytest.fixture
def cuts(tmp_path: Path) -> list:
    return list(CutSet.from_file(write_pool(tmp_path / "pool", ["a", "b"], ["test"] * 3, padded=140)))


def test_logits_and_loss_are_those_of_transformers(recogniser: Recogniser, cuts: list) -> None:
    """Given features and labels transformers shifts the labels itself, counts no -100 and pools tokens."""
    batch = Examples(cuts, recogniser).batch(cuts)
    theirs = recogniser.network(input_features=batch.features.transpose(1, 2), labels=batch.targets)
    ours = recogniser.logits(recogniser.encode(batch.features, batch.lengths), batch.inputs)
    real = batch.targets != -100
    assert not real.all()
    torch.testing.assert_close(ours[real], theirs.logits[real], atol=1e-5, rtol=1e-5)
    losses = utterance_losses(recogniser, batch, ctc_weight=0.0)
    pooled = (losses.loss * losses.tokens).sum() / losses.tokens.sum()
    torch.testing.assert_close(pooled, theirs.loss, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_hypotheses_are_those_of_transformers_given_features(
    recogniser: Recogniser, cuts: list, beams: int
) -> None:
    features, _ = collate(cuts)
    with torch.inference_mode():
        tokens = recogniser.network.generate(
            input_features=features.transpose(1, 2), num_beams=beams, do_sample=False, max_new_tokens=11
        )
    texts = transcribe(
        recogniser,
        cuts,
        Search(beams=beams, batch_seconds=100, max_tokens_per_second=0.01, ctc_weight=0.0, guard=False),
    )
    expected = [recogniser.tokeniser.decode(ids) for ids in tokens.tolist()]
    assert [texts[cut.id] for cut in cuts] == expected and len(set(expected)) > 1


def test_the_mask_is_the_utterance_and_the_states_are_the_context(
    recogniser: Recogniser, speech: Speech
) -> None:
    encoded = recogniser.encode(*speech)
    assert encoded.states.shape == (3, 70, 32) and encoded.mask.shape == (3, 70)
    assert encoded.mask.sum(dim=1).tolist() == [45, 36, 24]  # halved and rounded up


def test_features_are_cut_and_filled_to_the_context(recogniser: Recogniser, speech: Speech) -> None:
    features, lengths = speech
    floor = features.amin(dim=(1, 2), keepdim=True)
    longer = torch.cat([features, floor.expand(3, 80, 80)], dim=1)
    states = recogniser.encode(features, lengths).states
    torch.testing.assert_close(recogniser.encode(longer, lengths).states, states)
    with pytest.raises(SamlError, match="an utterance of 1.5 s is longer than the model's 1.4 s"):
        recogniser.encode(longer, torch.tensor([150, 71, 48]))


def test_the_silence_after_an_utterance_counts(recogniser: Recogniser, speech: Speech) -> None:
    """No padding mask: what stands after the utterance changes its states, as in transformers."""
    features, lengths = speech
    other = features.clone()
    other[2, 80:] = 1.0
    states = [recogniser.encode(each, lengths).states[2, :24] for each in (features, other)]
    assert (states[0] - states[1]).abs().max() > 1e-3


@pytest.fixture
def short(recogniser: Recogniser) -> WhisperRecogniser:
    """It attends to 0.2 s of silence after each utterance, of a context of 1.4 s."""
    features = {**TINY_WHISPER["features"], "tail_seconds": 0.2}
    made = WhisperRecogniser({**TINY_WHISPER, "features": features}, recogniser.tokeniser)
    made.load_state_dict(as_module(recogniser).state_dict())
    return made.eval()


def test_with_a_tail_batch_mates_change_nothing(short: WhisperRecogniser, speech: Speech) -> None:
    features, lengths = speech
    tokens = torch.tensor([[1, 5, 6, 7]] * 3)
    together = short.encode(features, lengths)
    assert together.attended is not None
    assert together.attended.sum(dim=1).tolist() == [55, 46, 34]  # 90, 71 and 48 frames and 20 more, halved
    logits = short.logits(together, tokens)
    for row, length in enumerate(lengths.tolist()):
        alone = short.encode(features[row : row + 1, : length + 20], lengths[row : row + 1])
        own = together.states[row, : alone.states.shape[1]]
        torch.testing.assert_close(alone.states[0], own, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(short.logits(alone, tokens[:1])[0], logits[row], atol=1e-5, rtol=1e-4)


def test_with_a_tail_one_utterance_is_transformers_encoder_without_the_check(
    short: WhisperRecogniser, speech: Speech
) -> None:
    """Its layers one by one, no mask, on the convolutions of the utterance, its tail and silence."""
    features, lengths = speech[0][2:], speech[1][2:]
    encoder = short.network.model.encoder
    silence = torch.full((1, 200, 80), float(features.min()))
    mel = torch.cat([features[:, :68], features[:, 68:], silence], dim=1).transpose(1, 2)
    hidden = nn.functional.gelu(
        nn.functional.conv1d(mel, encoder.conv1.weight, encoder.conv1.bias, padding=1)
    )
    hidden = nn.functional.conv1d(hidden, encoder.conv2.weight, encoder.conv2.bias, stride=2, padding=1)
    hidden = nn.functional.gelu(hidden)[..., :34].transpose(1, 2) + encoder.embed_positions.weight[:34]
    for layer in encoder.layers:
        hidden = layer(hidden, None)
    expected = encoder.layer_norm(hidden)
    torch.testing.assert_close(short.encode(features, lengths).states, expected, atol=1e-5, rtol=1e-4)


def test_with_a_tail_nothing_after_it_counts(short: WhisperRecogniser, speech: Speech) -> None:
    features, lengths = speech
    states = short.encode(features, lengths).states[2, :24]
    for frame, attended in ((60, True), (75, False)):  # the tail ends at frame 68
        other = features.clone()
        other[2, frame:] = 1.0
        change = (short.encode(other, lengths).states[2, :24] - states).abs().max().item()
        assert (change > 1e-3) is attended


@pytest.mark.parametrize("beams", [1, 3])
def test_with_a_tail_hypotheses_are_those_of_utterances_alone(
    short: WhisperRecogniser, cuts: list, beams: int
) -> None:
    search = Search(beams=beams, batch_seconds=100, max_tokens_per_second=0.01, ctc_weight=0.0, guard=False)
    together = transcribe(short, cuts, search)
    assert together == {cut.id: transcribe(short, [cut], search)[cut.id] for cut in cuts}
    assert len(set(together.values())) > 1


def test_positions_are_whispers_sinusoids() -> None:
    """By hand: sin and cos of t times 10000 ** (-k / (d / 2 - 1)); the stored ones of published weights."""
    positions = sinusoids(8, 6)
    for k, rate in enumerate((1.0, 0.01, 0.0001)):
        assert positions[7, k] == pytest.approx(math.sin(7 * rate), abs=1e-7)
        assert positions[7, 3 + k] == pytest.approx(math.cos(7 * rate), abs=1e-7)
    rounded = sinusoids(8, 6, rounded_to="float16")
    assert rounded.dtype == torch.float32 and torch.equal(rounded, positions.half().float())


def test_without_a_ctc_head_there_are_no_ctc_logits(speech: Speech, recogniser: Recogniser) -> None:
    bare = WhisperRecogniser({**TINY_WHISPER, "ctc_head": False}, recogniser.tokeniser)
    assert not bare.has_ctc and not any("ctc" in name for name in stored(bare))
    with pytest.raises(SamlError, match="no CTC head: set ctc_weight to 0"):
        bare.ctc_logits(bare.encode(*speech))


class Vocabulary:
    """As many tokens as Whisper base.en has."""

    size, prompt, end, pad = 51864, (50257, 50362), 50256, 50256
    never = never_first = ()

    def describe(self) -> dict:
        return {}

    def to_json(self) -> str:
        return ""


FULL = {"bins": 80, "pad_seconds": 30, "tail_seconds": None}


def base_en() -> WhisperRecogniser:
    sizes = {"hidden_size": 512, "encoder_layers": 6, "decoder_layers": 6, "heads": 8}
    settings = {**TINY_WHISPER, **sizes, "encoder_feed_forward": 2048, "decoder_feed_forward": 2048}
    settings |= {"max_target_positions": 448, "ctc_head": False, "features": FULL}
    return WhisperRecogniser(settings, Vocabulary())


def test_base_en_has_as_many_parameters_as_published_and_is_as_small() -> None:
    """71.83 million without the encoder's positions, 99.55 % of them quantised: 41.5 MB, or 38.2 with double
    quantisation (counted, not stored: a code a half byte, a scale per 64 of 4 or 1 bytes).
    """
    with torch.device("meta"):
        base = base_en()
    state = {name: tensor.numel() for name, tensor in stored(base).items()}
    total, packed = sum(state.values()), sum(state[name] for name in quantisable(base))
    assert round(total / 1e6, 2) == 71.83 and round(100 * packed / total, 2) == 99.55
    rest = 4 * (total - packed)
    assert round((packed / 2 + packed / 64 * 4 + rest) / 1e6, 1) == 41.5
    assert round((packed / 2 + packed / 64 + packed / 64 / 256 * 4 + rest) / 1e6, 1) == 38.2


@pytest.mark.slow
def test_base_en_is_as_small_on_disk(tmp_path: Path) -> None:
    """Files as the stages write them, of random weights: 287 MB, 41.5 and 38.2, and the names of tensors."""
    base = base_en()
    state, names = full_state(base), quantisable(base)
    kept = {name: tensor for name, tensor in state.items() if name not in names}

    def megabytes(**quantisation: object) -> float:
        packed = dict(kept) if quantisation else None
        for name in names if packed is not None else ():
            packed |= pack(state[name], name, **quantisation)
        path = tmp_path / "model.safetensors"
        save_model(base, path, tmp_path / "model.json", quantisation=quantisation or None, state=packed)
        return path.stat().st_size / 1e6

    assert megabytes() == pytest.approx(287.3, abs=0.06)
    assert megabytes(block_size=64, double=False) == pytest.approx(41.5, abs=0.06)
    assert megabytes(block_size=64, double=True) == pytest.approx(38.2, abs=0.06)


GIVEN = ("SAML_WHISPER_CHECKPOINT", "SAML_FOLDER_ROOT")


@pytest.mark.skipif(not all(os.environ.get(name) for name in GIVEN), reason=f"needs {' and '.join(GIVEN)}")
def test_a_real_checkpoint_on_real_speech() -> None:
    """From audio on: our features and network against transformers' own feature extractor and network."""
    import soundfile
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser

    folder = Path(os.environ[GIVEN[0]])
    seconds = json.loads((folder / "config.json").read_text())["max_source_positions"] / 50
    features = {"bins": 80, "pad_seconds": seconds, "tail_seconds": None}
    model = {"checkpoint": str(folder), "characters": TINY_WHISPER["characters"], "features": features}
    recogniser = read_recogniser(open_checkpoint({"family": "whisper", "whisper": model}))
    theirs = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    extract = WhisperFeatureExtractor(chunk_length=int(seconds))
    ours = LogMel(LogMelConfig("whisper", 80, seconds))
    for row in read_rows({"root": None, "manifest": "manifest.tsv"})[::300]:
        samples, rate = soundfile.read(row.path, dtype="float32")
        found = torch.from_numpy(ours.extract(samples, rate).copy())
        silence = found[-1:].expand(round(100 * seconds) - len(found), -1)
        length = torch.tensor([len(samples) // 160])
        ids = recogniser.tokeniser.encode(row.text)
        with torch.inference_mode():
            encoded = recogniser.encode(torch.cat([found, silence])[None], length)
            logits = recogniser.logits(encoded, torch.tensor([[1, *ids]]))
            inputs = extract(samples, sampling_rate=rate, return_tensors="pt").input_features
            expected = theirs(input_features=inputs, labels=torch.tensor([[*ids, 2]])).logits
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
