"""Any input is processed correctly or rejected in one line; Hypothesis searches for counter-examples."""

import copy
import csv
import io
import json
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from saml.config import load as config
from saml.corpora import folder
from saml.corpora.registry import folder_name, speaker_id
from saml.corpora.split_files import read_splits
from saml.corpora.stm import read_stm
from saml.evaluation.wer import SCORERS, count, errors, normalise, reference_units
from saml.features.store import ArchiveReader, ArchiveWriter
from saml.reporting.hypotheses import read_lines
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object
from saml.runtime.text import plain_line
from saml.tracking import read_record

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
CONFIG = config.load([ROOT / "config/config.yaml"])

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@contextmanager
def refused_in_one_line() -> Iterator[None]:
    """A SamlError is accepted if it is one line."""
    try:
        yield
    except SamlError as error:
        assert str(error) and "\n" not in str(error)


@contextmanager
def written(content: bytes, name: str = "given") -> Iterator[Path]:
    """A file with this content."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, name)
        path.write_bytes(content)
        yield path


@given(st.lists(TEXT.filter(bool), min_size=2, max_size=4, unique=True))
def test_folder_names_of_speakers_are_unique_and_safe(speakers: list[str]) -> None:
    names = [folder_name(speaker) for speaker in speakers]
    assert [speaker_id(name) for name in names] == speakers and len(set(names)) == len(speakers)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-%"
    assert all(set(name) <= set(letters) and not name.startswith(".") for name in names)


@pytest.mark.parametrize("scorer", SCORERS)
@given(reference=TEXT, hypothesis=TEXT)
def test_any_texts_are_scored(scorer: str, reference: str, hypothesis: str) -> None:
    counts = count(reference, hypothesis, [scorer])[scorer]
    words, recognised = normalise(reference, scorer).split(), normalise(hypothesis, scorer).split()
    assert reference_units(counts["words"]) == len(words)
    assert counts["words"]["hits"] + counts["words"]["substitutions"] + counts["words"]["insertions"] == len(
        recognised
    )
    assert (errors(counts["words"]) == 0) == (words == recognised)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), max_size=3), st.sampled_from(["", "../", "/", "a/../../"]))
def test_no_manifest_leads_out_of_its_folder(rows: list[tuple[str, ...]], start: str) -> None:
    lines = ["utterance\tspeaker\tfile\ttext"]
    lines += ["\t".join((row[0], row[1], start + row[2], row[3])) for row in rows]
    with written("\n".join(lines).encode(), "manifest.tsv") as path, refused_in_one_line():
        for row in folder.read_rows({"root": str(path.parent), "manifest": path.name}):
            assert Path(os.path.normpath(row.path)).is_relative_to(path.parent)


READERS: dict[str, Callable[[Path], Any]] = {
    "an object": read_json_object,
    "hypotheses": lambda path: list(read_lines(path)),
    "a record": read_record,
    "folds": lambda path: read_splits(path, {"a", "b"}),
    "a configuration": lambda path: config.load([path]),
    "an STM file": lambda path: list(read_stm(path)),
}


@pytest.mark.parametrize("reader", READERS)
@given(
    content=st.binary(max_size=60)
    | TEXT.map(str.encode)
    | VALUES.map(lambda value: json.dumps(value).encode())
)
def test_any_content_of_a_file_is_read_or_rejected(reader: str, content: bytes) -> None:
    with written(content) as path, refused_in_one_line():
        READERS[reader](path)


def paths(section: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key path of a configuration."""
    if isinstance(section, dict):
        for key, value in section.items():
            yield (*above, key)
            yield from paths(value, (*above, key))


@given(st.sampled_from(sorted(paths(CONFIG))), VALUES)
def test_any_value_of_any_key_is_accepted_or_rejected(path: tuple[str, ...], value: Any) -> None:
    chosen = copy.deepcopy(CONFIG)
    section = chosen
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with refused_in_one_line():
        config.validate(chosen, SCHEMA)


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_every_changed_byte_of_stored_features_is_detected(
    frames: int, bins: int, data: st.DataObject
) -> None:
    matrix = np.random.default_rng(frames * 10 + bins).standard_normal((frames, bins)).astype(np.float32)
    with written(b"", "features.bin") as path:
        with ArchiveWriter(path) as archive:
            key = archive.write("", matrix)
        assert np.array_equal(ArchiveReader(path).read(key), matrix)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        with pytest.raises(SamlError, match="features.bin: a checksum differs"):
            ArchiveReader(path).read(key)


@given(TEXT)
def test_any_storage_key_is_read_or_rejected(key: str) -> None:
    assume(len(key) < 30)
    with written(bytes(16)) as path, refused_in_one_line():
        ArchiveReader(path).read(key)


@given(TEXT)
def test_texts_that_look_alike_are_one_text(text: str) -> None:
    """Decomposed, with typographic quotes or with characters of no width: the same for both scorers."""
    plain = plain_line(text)
    assert plain_line(plain) == plain
    for other in (
        unicodedata.normalize("NFD", plain),
        plain.replace("'", "\u2019").replace('"', "\u201d").replace(" ", "\u00a0"),
        "\u200b".join(plain),
    ):
        assert plain_line(other) == plain
        assert all(normalise(other, scorer) == normalise(plain, scorer) for scorer in SCORERS)


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@pytest.mark.parametrize("name", ["manifest.tsv", "metadata.csv", "metadata.jsonl"])
@given(
    head=st.lists(st.sampled_from(["utterance", "speaker", "file", "file_name", "text", "role"]) | FIELDS),
    rows=st.lists(st.lists(FIELDS, max_size=6), max_size=4),
    quoted=st.booleans(),
    cut=st.integers(0, 3),
)
def test_any_table_is_listed_or_rejected(
    name: str, head: list[str], rows: list[list[str]], quoted: bool, cut: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, name)
        if name.endswith("jsonl"):
            lines = [json.dumps(dict(zip(head, row, strict=False))) for row in rows]
            data = "\n".join(lines).encode()
        else:
            table = io.StringIO()
            quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
            csv.writer(table, delimiter="," if name.endswith("csv") else "\t", quoting=quoting).writerows(
                [head, *rows]
            )
            data = table.getvalue().encode()
        path.write_bytes(data[: len(data) - cut])
        own = {"root": place, "manifest": name}
        with refused_in_one_line():
            for row in folder.read_rows(own):
                assert row.utterance and row.speaker and row.path.is_relative_to(place)


@pytest.mark.parametrize("name", ["manifest.tsv", "metadata.csv", "metadata.jsonl"])
@given(content=st.binary(max_size=200))
def test_any_bytes_for_a_table_are_listed_or_rejected(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place, name).write_bytes(content)
        with refused_in_one_line():
            folder.read_rows({"root": place, "manifest": name})
