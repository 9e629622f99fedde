"""One runtime transcribing recordings, as a process of its own: `python -m benchmarks._runtimes JOB RESULT`.

JOB is a JSON file with `runtime`, `threads` and `models`: each the path of a model, its recordings, and for
our own runtime the adapter and fold. RESULT gets the texts, seconds, processor seconds and peak memory.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks._arguments import thread_variables
from benchmarks._timing import peak_mb

# One recording's text from its id and its samples at 16 kHz.
Transcribe = Callable[[str, Any], str]


def main(job: Path, result: Path) -> None:
    """Transcribe the recordings of each model; loading, and one recording to warm up, are not timed."""
    given = json.loads(job.read_text())
    thread_variables(given["threads"])
    make = RUNTIMES[given["runtime"]]
    texts: dict[str, str] = {}
    seconds = processor = peak = 0.0
    for model in given["models"]:
        transcribe = make(model, given["threads"])
        samples = {name: _samples(path) for name, path in model["recordings"].items()}
        name = next(iter(samples))
        transcribe(name, samples[name])
        began = time.perf_counter(), time.process_time()
        for name, own in samples.items():
            texts[name] = transcribe(name, own)
        seconds += time.perf_counter() - began[0]
        processor += time.process_time() - began[1]
        peak = peak or peak_mb()  # of one model: what a later one is loaded beside is not the runtime's fault
    content = {"texts": texts, "seconds": seconds, "processor_seconds": processor, "peak_mb": peak}
    result.write_text(json.dumps(content))


def _samples(path: str) -> Any:
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    return samples


def _saml(model: Mapping[str, Any], threads: int) -> Transcribe:
    """The four-bit model, with the adapter beside its weights, with our guard."""
    import torch

    from saml.config.settings import DecodingSettings
    from saml.corpora.manifests import read_cuts
    from saml.decoding.transcription import adapted, best_outputs, load_given
    from saml.models.recogniser import Recogniser
    from saml.models.store import load_model

    torch.set_num_threads(threads)
    weights = Path(model["model"])
    base, content = load_model(weights, weights.with_suffix(".json"))
    adapter = None if model["adapter"] is None else Path(model["adapter"])
    stored = load_given(adapter, adapter and adapter.with_suffix(".json"), content)
    recogniser: Recogniser = base
    if stored is not None:
        recogniser = adapted(base, stored)
        recogniser.load_state(stored.folds[model["fold"]])
    cuts = {cut.id: cut for cut in read_cuts(Path(model["cuts"]))}
    search = DecodingSettings(
        beams=model["beams"], batch_seconds=30.0, max_tokens_per_second=30.0, ctc_weight=0.0, guard=True
    )

    def transcribe(name: str, samples: Any) -> str:
        # With the features that are prepared: to compute them takes a hundredth of the time.
        whole = stored is None or model["whole_context"]
        (output,) = best_outputs(recogniser, [cuts[name]], search, whole_context=whole)
        return output.text

    return transcribe


def _transformers(model: Mapping[str, Any], threads: int) -> Transcribe:
    import torch

    from saml.compat.torchaudio import ensure

    ensure()
    from transformers import pipeline

    torch.set_num_threads(threads)
    recognise = pipeline("automatic-speech-recognition", model=model["model"])

    def transcribe(name: str, samples: Any) -> str:
        given = {"raw": samples, "sampling_rate": 16_000}
        return str(recognise(given, generate_kwargs={"num_beams": model["beams"]})["text"]).strip()

    return transcribe


def _faster_whisper(model: Mapping[str, Any], threads: int) -> Transcribe:
    import ctranslate2
    import faster_whisper

    ctranslate2.set_random_seed(1)  # it samples when it tries again
    path = Path(model["model"])
    recognise = faster_whisper.WhisperModel(
        str(path), device="cpu", compute_type=model["quantise"] or "float32", cpu_threads=threads
    )

    def transcribe(name: str, samples: Any) -> str:
        segments, _ = recognise.transcribe(
            samples,
            language="en",
            beam_size=model["beams"],
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(segment.text.strip() for segment in segments)

    return transcribe


def _whisper_cpp(model: Mapping[str, Any], threads: int) -> Transcribe:
    from pywhispercpp.model import Model

    recognise = Model(
        str(Path(model["model"], "ggml-model.bin")),
        n_threads=threads,
        params_sampling_strategy=int(model["beams"] > 1),
        beam_search={"beam_size": model["beams"], "patience": -1.0},
        print_progress=False,
        print_realtime=False,
    )

    def transcribe(name: str, samples: Any) -> str:
        segments = recognise.transcribe(samples, language="en")
        return " ".join(segment.text.strip() for segment in segments)

    return transcribe


RUNTIMES: dict[str, Callable[[Mapping[str, Any], int], Transcribe]] = {
    "saml": _saml,
    "transformers": _transformers,
    "faster-whisper": _faster_whisper,
    "whisper.cpp": _whisper_cpp,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
