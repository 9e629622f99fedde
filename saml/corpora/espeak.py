"""Speech synthesis with espeak-ng: library and voices of PyPI's espeakng-loader, called through ctypes."""

import ctypes
import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from saml.runtime.errors import SamlError

# From espeak-ng's speak_lib.h.
_SYNCHRONOUS = 2  # retrieval mode: audio goes to the callback, and a call returns when all audio is delivered
_UTF8, _SSML, _PHONEMES = 1, 0x10, 0x100
_RATE, _PITCH = 1, 3
_POSITION_CHARACTER = 1

# espeak-ng knows British English only as "en".
_LANGUAGE_CODES = {"en-gb": "en"}


@dataclass(frozen=True)
class Voice:
    """A synthetic voice: accent, vocal tract (espeak's "variant"), words per minute, pitch from 0 to 99."""

    language: str
    variant: str
    rate: int
    pitch: int


def variants() -> frozenset[str]:
    """The variants that this espeak-ng has; an unknown variant would silently give the default voice."""
    return frozenset(os.listdir(_data_folder() / "voices" / "!v"))


def speak(voice: Voice, texts: Sequence[str]) -> tuple[int, list[np.ndarray]]:
    """Synthesise every text: the sampling rate in Hz, and for each text its samples `(samples,)` in int16.

    Texts are SSML and may contain espeak phonemes in double square brackets. The same voice and texts give
    the same samples: the library is loaded again for each call, because its oscillators keep their phase
    from sentence to sentence. Raises SamlError when espeak rejects the voice or produces silence.
    """
    if voice.variant not in variants():
        raise SamlError(
            f"espeak has no voice variant {voice.variant!r}; it has {', '.join(sorted(variants()))}"
        )
    code = _LANGUAGE_CODES.get(voice.language, voice.language)
    with _library() as (library, rate, chunks):
        if library.espeak_SetVoiceByName(f"{code}+{voice.variant}".encode()) != 0:
            raise SamlError(
                f"espeak rejects the voice {voice.language}+{voice.variant}; "
                "choose another language or variant"
            )
        library.espeak_SetParameter(_RATE, voice.rate, 0)
        library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        return rate, [_speak_one(library, chunks, voice, text) for text in texts]


def _speak_one(library: Any, chunks: list[bytes], voice: Voice, text: str) -> np.ndarray:
    chunks.clear()
    data = text.encode() + b"\0"
    flags = _UTF8 | _SSML | _PHONEMES
    status = library.espeak_Synth(data, len(data), 0, _POSITION_CHARACTER, 0, flags, None, None)
    samples = np.frombuffer(b"".join(chunks), dtype=np.int16)
    if status != 0 or not samples.any():
        raise SamlError(
            f"espeak produces no speech with {voice.language}+{voice.variant} for {text!r}; "
            "choose another voice"
        )
    return samples


@contextmanager
def _library() -> Iterator[tuple[Any, int, list[bytes]]]:
    """A newly loaded espeak-ng: the library, its sampling rate, and the list that receives its audio."""
    library = ctypes.CDLL(_loader().get_library_path())
    chunks: list[bytes] = []
    receive = _callback_type()(lambda samples, count, events: _receive(chunks, samples, count))
    try:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(_data_folder()).encode(), 0)
        if rate <= 0:
            raise SamlError("espeak-ng cannot be initialised; reinstall the package espeakng-loader")
        library.espeak_SetSynthCallback(receive)
        # Breath noise; espeak's default seed is the time of day.
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        yield library, rate, chunks
    finally:
        library.espeak_Terminate()
        # ctypes itself cannot unload a library; `_handle` is documented as public.
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))


def _receive(chunks: list[bytes], samples: Any, count: int) -> int:
    """espeak's callback: collect samples; 0 means continue. The last call of a text has no samples."""
    if samples and count > 0:
        chunks.append(ctypes.string_at(samples, 2 * count))
    return 0


@cache
def _callback_type() -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def _data_folder() -> Path:
    return Path(_loader().get_data_path())


@cache
def _loader() -> ModuleType:
    """The package that contains espeak-ng. Imported here, because only synthetic speech needs it."""
    try:
        return importlib.import_module("espeakng_loader")
    except ImportError:
        raise SamlError("synthetic speech needs the package espeakng-loader; pip install it") from None
