"""Whispers of any size with random weights, alike for us and for transformers."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from saml.models.tokenisers.byte_level import WhisperTokeniser
from saml.models.whisper import WhisperRecogniser

# isort: split
from transformers.utils import logging

logging.set_verbosity_error()  # tables are what is to be read
logging.disable_progress_bar()

_REAL = 51864  # token ids of Whisper's English-only models, 50,257 of them ordinary
# Width, layers of encoder and decoder, heads, feed-forward width, token ids, ordinary tokens.
SIZES: dict[str, tuple[int, int, int, int, int, int]] = {
    "toy": (32, 1, 2, 64, 400, 280),
    "mini": (192, 2, 3, 768, _REAL, 50257),
    "tiny.en": (384, 4, 6, 1536, _REAL, 50257),
    "base.en": (512, 6, 8, 2048, _REAL, 50257),
}


def build(size: str, *, seed: int, tail_seconds: float | None = None) -> WhisperRecogniser:
    """A recogniser with seeded random weights, in evaluation mode; always the same for one seed."""
    torch.manual_seed(seed)
    recogniser = WhisperRecogniser(_settings(size, tail_seconds), _tokeniser(size))
    recogniser.eval()
    return recogniser


def write_theirs(size: str, folder: Path, *, seed: int) -> Path:
    """The same weights as transformers stores them, in float32."""
    build(size, seed=seed).network.save_pretrained(folder)
    return folder


def load_4bit(folder: Path, device: str) -> Any:
    """transformers' Whisper with NF4 weights through bitsandbytes, as its documentation tells.

    Compute type float32, which is the fast one on most CPUs, or bfloat16 on a GPU.
    """
    from transformers import BitsAndBytesConfig, WhisperForConditionalGeneration

    compute = torch.bfloat16 if device == "cuda" else torch.float32
    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    return WhisperForConditionalGeneration.from_pretrained(
        folder, quantization_config=how, dtype=compute, device_map={"": device}, local_files_only=True
    )


def _settings(size: str, tail_seconds: float | None) -> dict[str, Any]:
    """A config's `model.whisper` section."""
    width, layers, heads, feed_forward, _, _ = SIZES[size]
    return {
        "characters": None,
        "hidden_size": width,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "heads": heads,
        "encoder_feed_forward": feed_forward,
        "decoder_feed_forward": feed_forward,
        "max_target_positions": 448,
        "dropout": 0.0,
        "ctc_head": False,
        "features": {"bins": 80, "pad_seconds": 30.0, "tail_seconds": tail_seconds},
    }


def whispers_tokeniser(size: str) -> Tokenizer:
    """As many ordinary tokens as Whisper has, and special ones in its order.

    The ordinary ones are all bytes, then pairs of them, "aa", "ab" and so on first.
    """
    ordinary = SIZES[size][5]
    letters = sorted(
        pre_tokenizers.ByteLevel.alphabet(), key=lambda letter: (not "a" <= letter <= "z", letter)
    )
    pairs = [(a, b) for a in letters for b in letters][: ordinary - len(letters)]
    tokens = [*letters, *(a + b for a, b in pairs)]
    numbers = {token: number for number, token in enumerate(tokens)}
    tokeniser = Tokenizer(models.BPE(vocab=numbers, merges=pairs))
    tokeniser.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokeniser.decoder = decoders.ByteLevel()
    languages = ["en", *(f"other{number}" for number in range(98))]
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nocaptions", "notimestamps"]
    special = ["endoftext", "startoftranscript", *languages, *tasks]
    tokeniser.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in special])
    return tokeniser


def _tokeniser(size: str) -> WhisperTokeniser:
    return WhisperTokeniser(whispers_tokeniser(size), size=SIZES[size][4], multilingual=False)


def write_nf4(size: str, folder: Path, *, seed: int) -> tuple[Path, Path]:
    """A network of ours in NF4, as an experiment stores it: the weights and their description."""
    from saml.models.store import save_model
    from saml.stages.quantise import quantise

    full, nf4 = ((folder / f"{name}.safetensors", folder / f"{name}.json") for name in ("full", "nf4"))
    save_model(build(size, seed=seed), *full)
    quantise(
        experiment="benchmark",
        settings={"quantisation": {"block_size": 64, "double": True}},
        weights=full[0],
        description=full[1],
        out_weights=nf4[0],
        out_description=nf4[1],
        record=folder / "run.jsonl",
    )
    return nf4
