"""A tiny checkpoint as transformers writes it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.ctranslate2_writer import network_in, whisper_content, write_folder

CHARACTERS = " abcdefghijklmnopqrstuvwxyz'"


@pytest.fixture
def write_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a checkpoint: `changes` to its configuration, weights of type `dtype`."""

    def write(dtype: torch.dtype = torch.float16, **changes: Any) -> Path:
        return save_checkpoint(tmp_path / "tiny-checkpoint", dtype, **changes)

    return write


def save_checkpoint(folder: Path, dtype: torch.dtype = torch.float16, **changes: Any) -> Path:
    """A Whisper of width 32 with 70 positions and random weights, written by transformers itself."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    sizes = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 48, "max_target_positions": 40}
    layers = {"encoder_layers": 2, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "decoder_start_token_id": 1, "eos_token_id": 2}
    settings = {**sizes, **layers, **heads, **tokens, "vocab_size": 31, "max_source_positions": 70, **changes}
    torch.manual_seed(5)
    network = WhisperForConditionalGeneration(WhisperConfig(**settings, begin_suppress_tokens=None))
    with torch.no_grad():  # large enough for logits to differ visibly
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1 and "encoder.embed_positions" not in name:
                parameter.mul_(4.0)
    network.to(dtype).save_pretrained(folder)
    tokens_of = {"<pad>": 0, "<s>": 1, "</s>": 2} | {c: 3 + i for i, c in enumerate(CHARACTERS)}
    (folder / "vocab.json").write_text(json.dumps(tokens_of))
    return folder


SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
SPECIAL += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
BPE = 256 + 15  # ordinary tokens of the tiny vocabulary: the bytes and 15 merges
IDS = {name: BPE + number for number, name in enumerate(SPECIAL)}


def whisper_tokeniser(special: list[str] = SPECIAL) -> Any:
    """transformers' own tokeniser of Whisper, with 15 merges learned here and its special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import WhisperTokenizer

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=BPE, initial_alphabet=alphabet, show_progress=False)
    learned.train_from_iterator([" it's the cat that sat on the mat, the cat's hat"] * 9, trainer)
    model = json.loads(learned.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return WhisperTokenizer(model["vocab"], merges, additional_special_tokens=special[1:])


def save_bpe_checkpoint(
    folder: Path, *, multilingual: bool = False, files: str = "new", **changes: Any
) -> Path:
    """A checkpoint with Whisper's kind of vocabulary, in files of transformers 5 (`new`) or of old.

    `changes` are of its configuration.
    """
    tokens = {"bos_token_id": IDS[SPECIAL[0]], "eos_token_id": IDS[SPECIAL[0]]}
    tokens |= {"pad_token_id": IDS[SPECIAL[0]], "decoder_start_token_id": IDS[SPECIAL[1]]}
    tokens |= {"vocab_size": BPE + len(SPECIAL) + 5}  # 5 timestamps
    save_checkpoint(folder, torch.float32, **{**tokens, **changes})
    (folder / "vocab.json").unlink()
    said = {"is_multilingual": multilingual, "suppress_tokens": [3], "begin_suppress_tokens": [4]}
    (folder / "generation_config.json").write_text(json.dumps(said))
    tokeniser = whisper_tokeniser()
    tokeniser.save_pretrained(folder)
    if files == "old":
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        (folder / "tokenizer.json").unlink()
        vocabulary = {**model["vocab"], SPECIAL[0]: BPE}  # OpenAI's English one has the end among its tokens
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        lines = [
            "#version: 0.2",
            *(merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]),
        ]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n")
        added = {name: IDS[name] for name in SPECIAL[1:]}
        (folder / "added_tokens.json").write_text(json.dumps(added))
    return folder


def section(folder: Path | str, **changes: Any) -> dict[str, Any]:
    """A config's `model` section that names the checkpoint in `folder`."""
    own = {
        "checkpoint": str(folder),
        "characters": " 'abcdefghijklmnopqrstuvwxyz",
        "text_style": "plain",
        "ctc_head": False,
        "features": {"bins": 80, "pad_seconds": 1.4, "tail_seconds": None},
    }
    return {"family": "whisper", "whisper": {**own, **changes}}


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A tiny Whisper with Whisper's own vocabulary, as transformers writes it."""
    return save_bpe_checkpoint(tmp_path / "original")


@pytest.fixture
def written(tmp_path: Path, original: Path) -> Callable[[str], Path]:
    """A function that writes the original in CTranslate2's format, of one kind."""

    def write(kind: str) -> Path:
        return write_folder(tmp_path / "faster", original, whisper_content(network_in(original), kind))

    return write
