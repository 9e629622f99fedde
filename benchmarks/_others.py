"""Other people's Whispers, where they are installed: none of them is a requirement of ours."""

import argparse
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from benchmarks._models import SIZES, build, whispers_tokeniser
from benchmarks._speech import TOKENS_PER_SECOND, noise
from saml.features.batching import collate

_MISSING = "is not installed (no requirement of ours), and is left out."


def room(cut: MonoCut) -> int:
    """How many tokens an utterance may have: for everybody the same."""
    return 10 + math.ceil(TOKENS_PER_SECOND * cut.duration)


def found(
    options: argparse.Namespace, folder: Path
) -> tuple[dict[str, Callable[..., Callable[[], None]]], list[str]]:
    """By name what makes a contender of cuts and beams; and a sentence about each that is not there.

    `folder` is for models in other people's formats.
    """
    there: dict[str, Callable[..., Callable[[], None]]] = {}
    lacking = []
    if importlib.util.find_spec("whisper") is None:
        lacking.append(f"openai-whisper {_MISSING}")
    elif SIZES[options.size][4] != SIZES["base.en"][4]:
        lacking.append("openai-whisper wants Whisper's own vocabulary, and is left out.")
    else:
        model = _openai_model(options)
        there["openai-whisper, one by one, 30 s"] = lambda cuts, beams: _openai(model, cuts, beams, options)
    if not all(map(importlib.util.find_spec, ("faster_whisper", "ctranslate2"))):
        lacking.append(f"faster-whisper {_MISSING}")
    elif SIZES[options.size][4] != SIZES["base.en"][4]:
        lacking.append("faster-whisper wants Whisper's own vocabulary, and is left out.")
    else:
        theirs = _faster_model(folder / "ctranslate2", options)
        there["faster-whisper, int8, 30 s"] = lambda cuts, beams: _faster(theirs, cuts, beams, options.seed)
    return there, lacking


def _openai_model(options: argparse.Namespace) -> Any:
    """A network of this size with random weights, as `whisper.load_model` would make it."""
    from whisper.model import ModelDimensions, Whisper

    width, layers, heads, _, ids, _ = SIZES[options.size]
    torch.manual_seed(options.seed)
    sizes = ModelDimensions(80, 1500, width, heads, layers, ids, 448, width, heads, layers)
    model = Whisper(sizes)
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)  # else whatever is in memory
    return model.to(options.device).eval()


def _openai(
    model: Any, cuts: Sequence[MonoCut], beams: int, options: argparse.Namespace
) -> Callable[[], None]:
    from whisper import DecodingOptions, decode
    from whisper.tokenizer import get_tokenizer

    features = [collate([cut])[0].transpose(1, 2).to(options.device) for cut in cuts]
    never = [get_tokenizer(multilingual=False).eot]  # random weights must not end a text early
    hows = [
        DecodingOptions(
            language="en",
            without_timestamps=True,
            beam_size=beams if beams > 1 else None,
            sample_len=room(cut),
            suppress_tokens=never,
            fp16=options.device == "cuda",
        )
        for cut in cuts
    ]

    def run() -> None:
        for own, how in zip(features, hows, strict=True):
            decode(model, own, how)

    return run


def _faster_model(folder: Path, options: argparse.Namespace) -> Any:
    """The same random weights in CTranslate2's format, written into `folder`, their products in int8."""
    from ctranslate2.converters import TransformersConverter
    from faster_whisper import WhisperModel
    from transformers import WhisperFeatureExtractor, WhisperTokenizerFast

    ours = folder / "transformers"
    network = build(options.size, seed=options.seed).network
    network.generation_config.suppress_tokens = network.generation_config.begin_suppress_tokens = []
    network.save_pretrained(ours)
    tokeniser = whispers_tokeniser(options.size)
    end = {name: "<|endoftext|>" for name in ("unk_token", "bos_token", "eos_token")}
    WhisperTokenizerFast(tokenizer_object=tokeniser, **end).save_pretrained(ours)
    WhisperFeatureExtractor().save_pretrained(ours)
    copied = ["tokenizer.json", "preprocessor_config.json"]
    folder /= "model"
    TransformersConverter(str(ours), copy_files=copied).convert(str(folder), quantization="int8")
    return WhisperModel(
        str(folder),
        device=options.device,
        compute_type="int8",
        cpu_threads=options.threads,
        local_files_only=True,
    )


def _faster(model: Any, cuts: Sequence[MonoCut], beams: int, seed: int) -> Callable[[], None]:
    """As its documentation tells, without second tries and without leaving anything out.

    A text gets half of CTranslate2's `max_length` at most, which counts the prompt.
    """
    end, prompt = model.hf_tokenizer.token_to_id("<|endoftext|>"), 2
    speech = [noise(cut.duration, seed * 10_000 + index) for index, cut in enumerate(cuts)]

    def run() -> None:
        for cut, samples in zip(cuts, speech, strict=True):
            segments, _ = model.transcribe(
                samples,
                language="en",
                beam_size=beams,
                temperature=0.0,
                condition_on_previous_text=False,
                without_timestamps=True,
                compression_ratio_threshold=None,
                log_prob_threshold=None,
                no_speech_threshold=None,
                suppress_tokens=[end],
                max_new_tokens=2 * room(cut) - prompt,
            )
            list(segments)

    return run
