"""The configuration of an experiment: reading, validation, and the sections that a stage depends on.

`load` merges files as Snakemake does, `validate` reports problems in one line, `stage_settings` selects the
sections of a stage. The workflow and `saml doctor` use all three, so both see the same configuration.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from saml.config.checks import problems, suggestion
from saml.config.model_checks import spares_ctc
from saml.config.settings import ARM_SECTIONS
from saml.config.speaker_ids import plain_ids
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically

LONGEST_MESSAGE = 300  # characters
LARGEST = 1_000_000  # values of a configuration

# Keys of earlier versions and their new names.
RENAMED = {
    "passes": "'epochs'",
    "general": "'heldout'",
    "general_utterances": "'heldout_utterances'",
    "made_speech": "'synthetic_speech'",
    "encodings": "'embeddings'",
    "speakers_per_job": "Snakemake's own --groups and --group-components; see slurm/config.yaml",
}


def load(paths: Iterable[Path]) -> dict[str, Any]:
    """The configuration in the YAML files `paths`: later files override earlier ones.

    Mappings merge key by key; lists and other values are replaced.

    Raises:
        SamlError: a file is missing, is not YAML, or is not a mapping.
    """
    config: dict[str, Any] = {}
    for path in paths:
        _merge(config, _read(path))
    return config


def save(config: Mapping[str, Any], path: Path) -> None:
    """Write the merged configuration as YAML that `load` reads back; missing folders are created.

    Raises:
        SamlError: the folder or the file cannot be written.
    """
    plain = json.loads(json.dumps(config))  # Snakemake's configuration may have mappings of its own types
    text = "# The configuration of the latest run: files merged, overrides applied.\n"
    text += yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise SamlError(f"{path}: cannot write the configuration here ({error.strerror})") from None


def validate(config: Mapping[str, Any], schema_path: Path) -> None:
    """Check `config` against the JSON schema in the YAML file `schema_path`, then with `saml.config.checks`.

    Ids of speakers are brought to the form that corpora give them, in place.

    Raises:
        SamlError: one line "config: <key path>: <problem>" for the first problem, with the number of others.
    """
    _refuse_endless(config, "config")
    errors = sorted(_validator(_read(schema_path)).iter_errors(config), key=_position)
    messages = [_message(error) for error in errors] or list(plain_ids(config)) or list(problems(config))
    if messages:
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        raise SamlError(_one_line(f"config: {messages[0]}") + more)


def stage_settings(
    config: Mapping[str, Any], sections: Iterable[str], arm: str | None = None
) -> dict[str, Any]:
    """The settings that a stage depends on: the named sections, without other corpora, families and arms.

    The section "arm" is the entry of `arm`, without its overrides of sections that are not named; it needs
    `arm`. "scoring.scorers" is that key of `scoring` only.

    Raises:
        KeyError: there is no such section or key.
    """
    settings: dict[str, Any] = {}
    for name in sections:
        section, _, key = name.partition(".")
        content = _section(config, section, arm)
        if not key:
            settings[section] = content
        elif section in settings:
            settings[section] = {**settings[section], key: content[key]}
        else:
            settings[section] = {key: content[key]}
    if arm is not None and "arm" in settings:
        others = {name for name in ARM_SECTIONS if name not in settings}
        settings["arm"] = {key: value for key, value in settings["arm"].items() if key not in others}
    return settings


def speech_settings(config: Mapping[str, Any], sections: Iterable[str]) -> dict[str, Any]:
    """`stage_settings` of a stage that prepares speech for a model, and whether there is no CTC loss.

    `ctc: false` says that the model has a CTC head and no training uses it. The weights themselves would
    prepare all speech again when one changes.
    """
    settings = stage_settings(config, sections)
    return {**settings, "ctc": False} if spares_ctc(config) else settings


def canonical(settings: Mapping[str, Any]) -> str:
    """`settings` as JSON in a canonical form: the order of keys in a file changes nothing."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _section(config: Mapping[str, Any], name: str, arm: str | None) -> Any:
    if name == "arm":
        return config["arms"][arm]
    if name == "corpus":
        return _chosen(config["corpus"], chosen=config["corpus"]["name"])
    if name == "model":
        return _chosen(config["model"], chosen=config["model"]["family"])
    return config[name]


def _chosen(section: Mapping[str, Any], *, chosen: str) -> dict[str, Any]:
    """`section` without the sub-sections of other corpora or families than `chosen`."""
    return {key: value for key, value in section.items() if key == chosen or not isinstance(value, Mapping)}


def _merge(config: dict[str, Any], update: Mapping[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, Mapping):
            if key not in config or not isinstance(config[key], dict):
                config[key] = {}
            _merge(config[key], value)
        else:
            config[key] = value


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError) and not path.is_absolute()
        advice = "; start saml in the repository, or give the path from this folder" if missing else ""
        raise SamlError(f"{path}: cannot read this configuration ({error.strerror}){advice}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: invalid UTF-8, or an impossible date
        raise SamlError(_one_line(f"{path}: not valid YAML: {error}")) from None
    except RecursionError:
        raise SamlError(f"{path}: not valid YAML: nested too deeply") from None
    if not isinstance(content, dict):
        raise SamlError(f"{path}: a configuration must be a mapping of keys to values")
    _refuse_endless(content, str(path))
    return content


def _refuse_endless(content: Any, name: str) -> None:
    """Raise SamlError, beginning with `name`, for a value inside itself or for millions of values.

    A few lines of YAML can expand to either, by aliases.
    """
    sizes: dict[int, int | None] = {}  # of each collection, by its identity; None while it is counted

    def size(value: Any) -> int:
        if not isinstance(value, Mapping | list):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = None
            values = value.values() if isinstance(value, Mapping) else value
            sizes[id(value)] = 1 + sum(map(size, values))
        found = sizes[id(value)]
        if found is None:
            raise SamlError(f"{name}: an alias is inside the value that it names")
        return found

    try:
        values = size(content)
    except RecursionError:
        raise SamlError(f"{name}: nested too deeply") from None
    if values > LARGEST:
        raise SamlError(f"{name}: {values} values, aliases counted in full, are more than {LARGEST}")


def _is_integer(_: object, value: object) -> bool:
    """Without 10.0, which is an integer in JSON schema and a float in Python."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: object, value: object) -> bool:
    """Without .nan and .inf, which comparisons with a minimum do not reject."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _validator(schema: Mapping[str, Any]) -> Any:
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer).redefine("number", _is_number)
    return extend(Draft202012Validator, type_checker=types)(schema)


def _position(error: ValidationError) -> tuple[int, str]:
    """The order of errors: unknown and missing keys first, as they explain others."""
    order = {"additionalProperties": 0, "required": 1}
    return order.get(str(error.validator), 2), _path(error.absolute_path)


def _message(error: ValidationError) -> str:
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
    if "string" in wanted and isinstance(value, bool | int | float):
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


def _reads_as_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _one_line(text: str) -> str:
    """`text` without line breaks and other control characters, truncated to LONGEST_MESSAGE."""
    line = " ".join("".join(_printable(text)).split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 4] + " ..."


def _printable(text: str) -> Iterator[str]:
    return (character if character.isprintable() else " " for character in text)
