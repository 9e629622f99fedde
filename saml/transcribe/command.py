"""`saml transcribe`: which model and adapters, and where transcripts go."""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from saml.adapters.base_model import model_of
from saml.decoding.transcription import Search
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically
from saml.transcribe.models import open_model, set_language
from saml.transcribe.recordings import Recording, transcripts
from saml.transcribe.writing import Transcript, place, written

# An adapter knows utterances of some seconds.
_ADAPTED_SECONDS = 12.0
# Seconds of speech in a batch, padding included, by --memory.
_BATCH_SECONDS = {"normal": 120.0, "low": 30.0}


def print_transcripts(
    *,
    files: Sequence[Path],
    style: str = "text",
    out: Path | None = None,
    base: str | None = None,
    weights: Path | None = None,
    adapters: Path | None = None,
    **options: object,
) -> None:
    """Transcribe recordings and write transcripts to standard output, or each to a file in `out`.

    Args:
        files: the recordings, or "-" for standard input.
        style: the format (see `saml.transcribe.writing.FORMATS`).
        out: folder for a file for each recording; None: standard output.
        base: a Whisper to import, in place of `weights`.
        weights: the model.
        adapters: a table of recordings, each with its adapter, in place of `files`.
        options: further ones of `transcribe_files`.

    Raises:
        SamlError: options contradict each other, or as `transcribe_files`.
    """
    if adapters is not None and (files or options.get("adapter") is not None):
        raise SamlError(
            f"--adapters {adapters}: the table names recordings and adapters; give none of them beside it"
        )
    chosen = _table(adapters) if adapters is not None else [(path, None) for path in files]
    if not chosen:
        raise SamlError("there is no recording; name some, or - for standard input")
    paths = [path for path, _ in chosen]
    if style in ("srt", "vtt") and out is None and len(paths) > 1:
        raise SamlError(f"--format {style}: several recordings need a file each; give --out FOLDER")
    if out is not None:
        _refuse_equal_names(paths, out, style)
    for transcript in transcribe_files(
        files=paths,
        weights=weights,
        base=base,
        adapters=[adapter for _, adapter in chosen] if adapters is not None else None,
        **options,  # type: ignore[arg-type]
    ):
        _write(transcript, style, out)


def transcribe_files(
    *,
    files: Sequence[Path],
    weights: Path | None = None,
    description: Path | None = None,
    base: str | None = None,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    adapters: Sequence[Path | None] | None = None,
    fold: int = 0,
    beams: int = 4,
    guard: bool = True,
    longest: float | None = None,
    language: str | None = None,
    task: str = "transcribe",
    memory: str = "normal",
) -> Iterator[Transcript]:
    """The transcript of each of `files`, in their order.

    Args:
        files: recordings of any length.
        weights: the model; None: the one that the adapter was trained on, found by its checksum, or `base`.
        description: its JSON; None: the file beside `weights` with the suffix .json.
        base: a Whisper (see `saml.personalise.bases.imported`), in place of `weights`: in full precision
            without an adapter and with `memory` "normal", else in NF4.
        adapter: an adapter of this model, or None.
        adapter_description: its JSON; None: the file beside `adapter` with the suffix .json.
        adapters: in place of `adapter`, one for each of `files`; they share batches.
        fold: index of the adapter's fold, if it was trained with cross-validation.
        beams: hypotheses kept; 1 is greedy search.
        guard: decode texts that repeat themselves again (see `saml.decoding.looping`).
        longest: seconds of a segment, at most; None: 12 with an adapter, else as much as the model takes.
        language: of a multilingual Whisper (see `set_language`).
        task: "transcribe", or "translate" into English.
        memory: "low": NF4 weights stay packed, and batches are small.

    Raises:
        SamlError: a file is not audio, the model is not found, or model and adapters do not match.
    """
    distinct, indices = _distinct(adapters or [adapter])
    described = [(path, path.with_suffix(".json")) for path in distinct]
    if adapter is not None and adapter_description is not None:
        described = [(adapter, adapter_description)]
    weights = _weights(weights, base, distinct, memory)
    transcriber = open_model(weights, description, described, fold=fold, packed=memory == "low")
    set_language(transcriber.recogniser, language, task)
    search = Search(
        beams=beams,
        batch_seconds=_BATCH_SECONDS[memory],
        max_tokens_per_second=30.0,
        ctc_weight=0.0,
        guard=guard,
    )
    if longest is not None and not 1.0 <= longest <= transcriber.longest:
        raise SamlError(f"--longest {longest:g}: the model takes from 1 to {transcriber.longest:g} s")
    recordings = [
        Recording(path, indices[number] if adapters is not None else 0) for number, path in enumerate(files)
    ]
    usual = min(_ADAPTED_SECONDS, transcriber.longest) if transcriber.adapted else transcriber.longest
    yield from transcripts(transcriber, recordings, search, longest or usual)


def _weights(weights: Path | None, base: str | None, adapters: Sequence[Path], memory: str) -> Path:
    """The model's file."""
    if weights is not None and base is not None:
        raise SamlError("--weights and --base both name the model; give one of them")
    if base is not None:
        # Imported here for start-up: only who names a Whisper needs what imports it.
        from saml.personalise.bases import imported

        precision = "nf4" if adapters or memory == "low" else "base"
        return imported(base) / "models" / precision / "model.safetensors"
    if weights is not None:
        return weights
    if not adapters:
        raise SamlError("there is no model; name one with --base openai/whisper-tiny.en, or --weights")
    return model_of(adapters[0])


def _distinct(adapters: Sequence[Path | None]) -> tuple[list[Path], list[int]]:
    """The different adapters, in their order, and the index of each of `adapters` among them."""
    given = [adapter for adapter in adapters if adapter is not None]
    if given and len(given) < len(adapters):
        raise SamlError("some recordings have no adapter, and others have; transcribe them in two calls")
    distinct = list(dict.fromkeys(given))
    return distinct, [distinct.index(adapter) for adapter in given]


def _table(path: Path) -> list[tuple[Path, Path | None]]:
    """A table with the columns `file` and `adapter`, separated by tabs; paths are relative to its folder."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SamlError(f"{path}: cannot be read as a table ({error})") from None
    result: list[tuple[Path, Path | None]] = []
    for number, row in enumerate(rows, start=2):
        if not row.get("file") or not row.get("adapter"):
            raise SamlError(
                f"{path}, line {number}: needs a file and an adapter, in columns of these names, separated "
                "by tabs"
            )
        result.append((path.parent / row["file"], path.parent / row["adapter"]))
    return result


def _refuse_equal_names(paths: Sequence[Path], out: Path, style: str) -> None:
    seen: dict[Path, Path] = {}
    for path in paths:
        written_to = place(out, path, style)
        if written_to in seen:
            raise SamlError(
                f"{seen[written_to]} and {path}: would both be written to {written_to}; rename one"
            )
        seen[written_to] = path


def _write(transcript: Transcript, style: str, out: Path | None) -> None:
    if out is None:
        name = f"{transcript.path}\t" if style == "text" else ""
        sys.stdout.write(name + written(transcript, style))
        sys.stdout.flush()
        return
    path = place(out, transcript.path, style)
    write_atomically(path, written(transcript, style).encode())
    print(path)
