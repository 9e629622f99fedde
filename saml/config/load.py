"""The configuration of an experiment: reading, validation, and the sections that a stage depends on.

`load` merges files as Snakemake does, `validate` reports problems in one line, `stage_settings` selects the
sections of a stage. The workflow and `saml doctor` use all three, so both see the same configuration.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from saml.config.checks import problems
from saml.config.messages import key_messages, message, position
from saml.config.model_checks import labels_in_models_style as labels_in_models_style
from saml.config.model_checks import spares_ctc
from saml.config.settings import ARM_SECTIONS
from saml.config.speaker_ids import plain_ids
from saml.config.spelling import repeated_keys
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically

LONGEST_MESSAGE = 300  # characters
LARGEST = 1_000_000  # values of a configuration


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


def validate(config: Mapping[str, Any], schema_path: Path, files: Sequence[Path] = ()) -> None:
    """Check `config` against the JSON schema in the YAML file `schema_path`, then with `saml.config.checks`.

    Ids of speakers are brought to the form that corpora give them, in place.

    Args:
        config: the merged configuration.
        schema_path: the schema.
        files: the files that `config` was read from, to quote what YAML made a number of.

    Raises:
        SamlError: one line `config: <key path>: <problem>` for the first problem, with the number of others.
    """
    _refuse_endless(config, "config")
    messages = [*repeated_keys(files), *key_messages(config, files)]
    if not messages:
        errors = sorted(_validator(_read(schema_path)).iter_errors(config), key=position)
        messages = [message(error, files) for error in errors]
        messages = messages or list(plain_ids(config)) or list(problems(config))
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


def readable(settings: Mapping[str, Any], *, sort: bool = False) -> str:
    """`settings` on one line as a person reads them, in YAML: `{draws: 10000, scorers: [released]}`.

    For the jobs whose parameters stand in the report, which would show the quotation marks of JSON escaped.
    The order of keys is kept, since that of arms is the order of a table's rows, or they are sorted.
    """
    plain = json.loads(json.dumps(settings))  # see `save`
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=sort, allow_unicode=True, width=math.inf)
    return text.strip()


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
        content = _parsed(path.read_text(encoding="utf-8"))
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


def _parsed(text: str) -> Any:
    """JSON where it is JSON, else YAML, as Snakemake reads it: 1e-3 is a number in JSON alone."""
    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)


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


def _one_line(text: str) -> str:
    """`text` without line breaks and other control characters, truncated to LONGEST_MESSAGE."""
    line = " ".join("".join(_printable(text)).split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 4] + " ..."


def _printable(text: str) -> Iterator[str]:
    return (character if character.isprintable() else " " for character in text)
