"""How a value is spelled in the files of a configuration, before YAML makes a number or a date of it.

YAML 1.1, which Snakemake and this package read, takes 0024 for the number 20, 12:30 for 750, 1_000 for 1000,
`no` for false and 2024-01-02 for a date. A speaker's id that looks like one of these must be quoted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

Keys = Sequence[Any]


def as_written(files: Sequence[Path], path: Keys, value: object) -> str | None:
    """The spelling of `value` at a key path, in the last of `files` that has it; None where none has.

    A file that cannot be read has no spellings, neither has a value from a command line.
    """
    for root in _nodes(files):
        node = _at(root, path)
        if _is(node, value):
            return str(node.value)
    return None


def key_as_written(files: Sequence[Path], path: Keys, key: object) -> str | None:
    """The spelling of a key of the mapping at a key path, as `as_written`."""
    for root in _nodes(files):
        mapping = _at(root, path)
        for node, _ in mapping.value if isinstance(mapping, yaml.MappingNode) else ():
            if _is(node, key):
                return str(node.value)
    return None


def repeated_keys(files: Sequence[Path]) -> Iterator[str]:
    """A message for each key that a mapping has twice, where YAML would take the last one without a word."""
    for file in files:
        for root in _nodes([file]):
            for node, first in _repeated(root):
                yield (
                    f"{file}, line {node.start_mark.line + 1}: the key {node.value} is in line "
                    f"{first.start_mark.line + 1} too; remove one"
                )


def converted_keys(content: Any, path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """The keys that are no text, each after the key path of the mapping that it is in."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if not isinstance(key, str):
                yield path, key
            yield from converted_keys(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from converted_keys(value, (*path, index))


def reading(value: object) -> str | None:
    """What YAML took a spelling for, in words, as "the number 20"; None for text, lists and mappings."""
    match value:
        case None:
            return "no value"
        case bool():
            return f"the truth value {json.dumps(value)}"
        case int() | float():
            return f"the number {value}"
        case date():
            return f"the date {value}"
        case _:
            return None


def _nodes(files: Sequence[Path]) -> Iterator[yaml.Node]:
    """The content of each file as YAML's nodes, which keep the spelling; the last file first."""
    for file in reversed(files):
        try:
            node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, yaml.YAMLError, ValueError, RecursionError):
            continue
        if node is not None:
            yield node


def _repeated(root: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """The nodes of keys that are in a mapping already, each with that of the first."""
    left, seen = [root], set()
    while left:
        node = left.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))  # an alias leads here again
        if isinstance(node, yaml.SequenceNode):
            left += node.value
            continue
        keys: dict[str, yaml.Node] = {}
        for key, value in node.value:
            left.append(value)
            if isinstance(key, yaml.ScalarNode) and keys.setdefault(key.value, key) is not key:
                yield key, keys[key.value]


def _at(node: Any, path: Keys) -> Any:
    """The node at a key path; None where there is none."""
    for part in path:
        if isinstance(node, yaml.SequenceNode):
            node = node.value[part] if isinstance(part, int) and part < len(node.value) else None
        else:
            node = _entry(node, part)
    return node


def _entry(mapping: Any, key: object) -> Any:
    """The node of a key's value, which may come by a merge key `<<`."""
    if not isinstance(mapping, yaml.MappingNode):
        return None
    merged = None
    for node, value in mapping.value:
        if node.value == key or _is(node, key):
            return value
        if node.value == "<<":
            merged = value
    return _entry(merged, key)


def _is(node: Any, value: object) -> bool:
    """Whether a node is an unquoted scalar that YAML reads as `value`; true is not 1."""
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return False
    try:
        read = yaml.safe_load(node.value)
    except (yaml.YAMLError, ValueError):
        return False
    return type(read) is type(value) and read == value
