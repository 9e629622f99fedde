"""One speaker's adapter in all runtimes, beside the model without it: word errors, size, memory, speed.

Wants the folder that `saml personalise` wrote, or an experiment's results. Each recording is transcribed by
the adapter of the fold that has not heard it, so that errors are those of new recordings. Without the adapter
it is the full-precision model, and NF4 for ours. All keep as many beams, take one recording at a time, and
treat loops as each of them does. Every runtime has a process of its own; what is not installed is left out,
with the reason.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report, Row

ROOT = Path(__file__).parents[1]


class Way(NamedTuple):
    """A runtime and what is exported for it: the format, how it rounds weights; the programs it takes."""

    runtime: str
    to: str | None
    quantise: str | None
    programs: tuple[str, ...] = ()


# Ours hears with an adapter what that was trained on, as `saml transcribe` does; or 30 s, as the others do.
WHOLE = "saml, NF4, 30 s"
WAYS = {
    "saml, NF4": Way("saml", None, None),
    WHOLE: Way("saml", None, None),
    "transformers, float32": Way("transformers", "transformers", None),
    "faster-whisper, float32": Way("faster-whisper", "ctranslate2", None, ("ctranslate2", "faster_whisper")),
    "faster-whisper, int8": Way("faster-whisper", "ctranslate2", "int8", ("ctranslate2", "faster_whisper")),
    "whisper.cpp, f16": Way("whisper.cpp", "ggml", None, ("pywhispercpp",)),
    "whisper.cpp, q8_0": Way("whisper.cpp", "ggml", "q8_0", ("pywhispercpp", "gguf")),
    "whisper.cpp, q5_0": Way("whisper.cpp", "ggml", "q5_0", ("pywhispercpp", "gguf")),
}
UNADAPTED, ADAPTED = "without the adapter", "with the adapter"


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("own", type=Path, nargs="?", help="the folder that saml personalise wrote")
    parser.add_argument("--speaker", help="(default: the first)")
    parser.add_argument("--arm", default="pqm", help="(pqm)")
    parser.add_argument("--beams", type=int, default=4, help="(4)")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS), help="(default: all)")
    options = parser.parse_args(given)
    if options.own is None:
        print("runtimes: left out; it wants the folder that saml personalise wrote")
        return
    prepare(options)
    report = Report("runtimes", "what does one adapter do in each runtime?", options)
    speech = Speech(options)
    for name in options.only:
        lacking = [program for program in WAYS[name].programs if importlib.util.find_spec(program) is None]
        if lacking:
            report.note(f"{name}: left out, {' and '.join(lacking)} not installed (no requirement of ours)")
            continue
        for adapted in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                report.add(_measured(name, WAYS[name], speech, adapted, options.threads, Path(folder)))
    report.note(f"{len(speech.references)} recordings of {speech.speaker}, {speech.seconds:.0f} s")
    report.finish()


class Speech:
    """A speaker's recordings and adapter, from the folder of a personalisation."""

    def __init__(self, options: argparse.Namespace) -> None:
        from saml.adapters.base_model import model_of
        from saml.corpora.manifests import file_of, read_cuts
        from saml.export.source import full_precision_of
        from saml.runtime import layout
        from saml.runtime.files import read_json_object
        from saml.runtime.layout import place, speaker_id

        speakers = sorted(path.name for path in (options.own / "speakers").iterdir())
        self.speaker = options.speaker or speaker_id(speakers[0])
        data = place(options.own, layout.SPEECH, speaker=self.speaker)
        folder = place(options.own, layout.ADAPTED, speaker=self.speaker, arm=options.arm, seed=1)
        self.beams = options.beams
        self.cuts = data / "cuts.jsonl.gz"
        self.adapter = folder / "adapter.safetensors"
        self.weights = model_of(self.adapter)
        self.whole = full_precision_of(self.weights)
        self.tests = [fold["test"] for fold in read_json_object(data / "splits.json")["folds"]]
        tested = {name for test in self.tests for name in test}
        cuts = [cut for cut in read_cuts(self.cuts) if cut.id in tested]
        self.files = {cut.id: str(file_of(cut)) for cut in cuts}
        self.references = {cut.id: cut.supervisions[0].text for cut in cuts}
        self.seconds = sum(cut.duration for cut in cuts)


def _measured(name: str, way: Way, speech: Speech, adapted: bool, threads: int, folder: Path) -> Row:
    """Export, transcribe in a process of its own, count errors."""
    models = list(_models(way, speech, adapted, folder))
    job, result = folder / "job.json", folder / "result.json"
    job.write_text(json.dumps({"runtime": way.runtime, "threads": threads, "models": models}))
    subprocess.run(
        [sys.executable, "-m", "benchmarks._runtimes", job, result], check=True, cwd=ROOT, stdout=sys.stderr
    )
    found = json.loads(result.read_text())
    wrong, words = errors_of(speech.references, found["texts"])
    return Row(
        group=ADAPTED if adapted else UNADAPTED,
        name=name,
        seconds=found["seconds"],
        processor_seconds=found["processor_seconds"],
        more={
            "WER %": 100 * wrong / words,
            "errors": wrong,
            "size MB": _size(models[0]) / 1e6,
            "peak MB": found["peak_mb"],
            "real-time factor": found["seconds"] / speech.seconds,
            "(processor) ": found["processor_seconds"] / speech.seconds,
        },
    )


def _models(way: Way, speech: Speech, adapted: bool, folder: Path) -> Iterator[dict[str, Any]]:
    """The model of each fold with the recordings that it has not heard, or the one without an adapter."""
    tests = speech.tests if adapted else [[name for test in speech.tests for name in test]]
    for fold, test in enumerate(tests):
        path = speech.weights if way.to is None else folder / str(fold)
        if way.to is not None:
            _export(way, speech, fold if adapted else None, path)
        yield {
            "model": str(path),
            "adapter": str(speech.adapter) if adapted and way.to is None else None,
            "fold": fold,
            "folds": len(speech.tests),
            "quantise": way.quantise,
            "beams": speech.beams,
            "whole_context": way is WAYS[WHOLE],
            "cuts": str(speech.cuts),
            "recordings": {name: speech.files[name] for name in test},
        }


def _export(way: Way, speech: Speech, fold: int | None, out: Path) -> None:
    """What `saml export` writes; without a fold, the full-precision model in the same format."""
    from saml.export.command import GGML_FILE, export
    from saml.export.ctranslate2 import write_ctranslate2
    from saml.export.ggml import write_ggml
    from saml.export.huggingface import write_huggingface
    from saml.models.store import load_model
    from saml.models.whisper import WhisperRecogniser

    assert way.to is not None
    if fold is not None:
        export(
            adapter=speech.adapter,
            to=way.to,
            out=out,
            weights=speech.weights,
            quantise=way.quantise,
            fold=fold,
        )
        return
    out.mkdir()
    model, _ = load_model(speech.whole, speech.whole.with_suffix(".json"))
    assert isinstance(model, WhisperRecogniser)
    if way.to == "transformers":
        write_huggingface(model, out)
    elif way.to == "ctranslate2":
        write_ctranslate2(model, out, way.quantise)
    else:
        write_ggml(model, out / GGML_FILE, way.quantise)


def errors_of(references: Mapping[str, str], texts: Mapping[str, str]) -> tuple[int, int]:
    """Word errors and reference words, by Whisper's normaliser."""
    from saml.evaluation.wer import count, errors, pool, reference_units

    counts = pool(
        count(text, texts[name], ["whisper"])["whisper"]["words"] for name, text in references.items()
    )
    return errors(counts), reference_units(counts)


def _size(model: Mapping[str, Any]) -> float:
    """Bytes of what somebody needs: weights with their tokeniser and description, one fold's adapter."""
    path = Path(model["model"])
    size = float(sum(file.stat().st_size for file in (path.parent if path.is_file() else path).iterdir()))
    if model["adapter"] is not None:
        size += Path(model["adapter"]).stat().st_size / model["folds"]
    return size


if __name__ == "__main__":
    main()
