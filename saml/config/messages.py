"""Messages about a configuration that does not fit the schema: the key path, what is wrong, what to write."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonschema import ValidationError

from saml.config.checks import suggestion
from saml.config.spelling import as_written, converted_keys, key_as_written, reading

# Keys of earlier versions and their new names.
RENAMED = {
    "passes": "'epochs'",
    "general": "'heldout'",
    "general_utterances": "'heldout_utterances'",
    "made_speech": "'synthetic_speech'",
    "encodings": "'embeddings'",
    "letter_case": "'text_style': plain for lower, transcript for keep",
    "speakers_per_job": "Snakemake's own --groups and --group-components; see slurm/config.yaml",
}


def position(error: ValidationError) -> tuple[int, str]:
    """The order of errors: unknown and missing keys first, as they explain others.

    `[yes, on]` is listed twice, as true, and the types say why.
    """
    order = {"additionalProperties": 0, "required": 1, "uniqueItems": 3}
    return order.get(str(error.validator), 2), _path(error.absolute_path)


def key_messages(config: Mapping[str, Any], files: Sequence[Path]) -> Iterator[str]:
    """A message for each key that YAML did not read as text, as spelled in `files`."""
    for path, key in converted_keys(config):
        spelled = key_as_written(files, path, key)
        where = f"{_path(path)}: the key"
        yield f"{where} {_was_read(str(key) if spelled is None else spelled, key)}"


def message(error: ValidationError, files: Sequence[Path]) -> str:
    """The message for an error; a value that YAML did not read as text is quoted as spelled in `files`."""
    path = list(error.absolute_path)
    found: Any = error.instance
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties":
            known = schema["properties"]
            unknown = next(key for key in found if key not in known)
            if unknown in RENAMED:
                return f"{_path([*path, unknown])}: this key is now {RENAMED[unknown]}"
            return f"{_path([*path, unknown])}: unknown key{suggestion(str(unknown), known)}"
        case "required":
            missing = next(key for key in schema["required"] if key not in found)
            return f"{_path([*path, missing])}: this key is missing"
        case "uniqueItems":
            return f"{_path(path)}: {_twice(found)!r} is listed twice"
        case "minItems" | "maxItems" | "minLength" | "minProperties":
            extent = "long" if error.validator == "maxItems" else "short"
            return f"{_path(path)}: {found!r} is too {extent}"
        case "enum":
            known = ", ".join("null" if value is None else str(value) for value in schema["enum"])
            return f"{_path(path)}: {found!r} is not one of {known}"
        case "pattern":
            return f"{_path(path)}: {found!r} may hold only letters, digits, '_', '.' and '-'"
        case "type":
            spelled = as_written(files, path, found) if "string" in schema["type"] else None
            if spelled is not None:
                return f"{_path(path)}: {_was_read(spelled, found)}"
            return f"{_path(path)}: {error.message}{_hint(schema['type'], found)}"
        case _:
            return f"{_path(path)}: {error.message}"


def _path(parts: Iterable[str | int]) -> str:
    """A key path as text: `adaptation.learning_rate.expert`, `seeds[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "configuration"


def _twice(items: Any) -> Any:
    return next(item for index, item in enumerate(items) if item in items[:index])


def _hint(wanted: str | list[str], value: object) -> str:
    """The correction where YAML reads a value differently from what was probably meant."""
    if "string" in wanted and reading(value) is not None:
        return "; put it in quotes"
    if "array" in wanted:
        return "; write a list, as [1, 2]"
    if "object" in wanted and value is None:
        return "; a key without a value is null: give it its keys, or leave it out"
    if wanted == "integer" and isinstance(value, bool):
        return "; write a number"
    if "number" in wanted and isinstance(value, str) and _reads_as_number(value):
        return "; YAML reads a number with an exponent as text unless it is written like 1.0e-3"
    if "boolean" in wanted and isinstance(value, str) and value.lower() in ("true", "false"):
        return f"; on Snakemake's command line it is {value.capitalize()}, in a file without quotes"
    return ""


def _was_read(spelled: str, value: object) -> str:
    """What YAML made of a spelling that was meant as text, and how to write it."""
    if not spelled:
        return "is empty; write its text in quotes"
    return f'{spelled} was read as {reading(value)}; put it in quotes: "{spelled}"'


def _reads_as_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
