"""A model as transformers' folder, for `pipeline("automatic-speech-recognition")` and all built on it."""

from pathlib import Path

from tokenizers import Tokenizer

from saml.compat.torchaudio import ensure
from saml.models.tokenisers.byte_level import NO_TIMESTAMPS, WhisperTokeniser
from saml.models.whisper import WhisperRecogniser

ensure()
from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperTokenizer  # noqa: E402
from transformers.models.whisper.tokenization_whisper import LANGUAGES  # noqa: E402
from transformers.utils import logging  # noqa: E402

_TASKS = ("transcribe", "translate")


def write_huggingface(recogniser: WhisperRecogniser, out: Path) -> None:
    """Write weights (32 bits), configuration, generation settings, tokeniser and feature extractor."""
    tokeniser = recogniser.tokeniser
    assert isinstance(tokeniser, WhisperTokeniser)
    logging.disable_progress_bar()  # for one small file
    network = recogniser.network
    network.generation_config = generation_config(recogniser)
    network.save_pretrained(out)
    tokenizer_of(tokeniser).save_pretrained(out)
    WhisperFeatureExtractor(feature_size=recogniser.settings["features"]["bins"]).save_pretrained(out)


def generation_config(recogniser: WhisperRecogniser) -> GenerationConfig:
    """How `generate` begins and what it suppresses: as the model does here."""
    tokeniser = recogniser.tokeniser
    assert isinstance(tokeniser, WhisperTokeniser)
    ids = Tokenizer.from_str(tokeniser.to_json()).get_vocab(with_added_tokens=True)
    several = {}
    if tokeniser.multilingual:
        several = {
            "lang_to_id": {f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES if f"<|{code}|>" in ids},
            "task_to_id": {task: ids[f"<|{task}|>"] for task in _TASKS},
            "language": "en",
            "task": "transcribe",
        }
    return GenerationConfig(
        bos_token_id=tokeniser.end,
        eos_token_id=tokeniser.end,
        pad_token_id=tokeniser.end,
        decoder_start_token_id=tokeniser.prompt[0],
        no_timestamps_token_id=ids[NO_TIMESTAMPS],
        max_initial_timestamp_index=50,
        max_length=recogniser.max_tokens,
        is_multilingual=tokeniser.multilingual,
        return_timestamps=False,
        suppress_tokens=list(tokeniser.describe()["never"]),
        begin_suppress_tokens=list(tokeniser.never_first),
        **several,
    )


def tokenizer_of(tokeniser: WhisperTokeniser) -> WhisperTokenizer:
    """transformers' tokeniser of the same tokens."""
    return WhisperTokenizer(tokenizer_object=Tokenizer.from_str(tokeniser.to_json()))
