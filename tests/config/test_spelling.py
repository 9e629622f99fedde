"""What YAML makes of ids without quotes is named as it is spelled in the file."""

from pathlib import Path

import pytest

from saml.config.load import load, validate
from saml.config.spelling import as_written, key_as_written
from saml.runtime.errors import SamlError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
DEFAULT = ROOT / "config" / "config.yaml"


def refused(*files: Path) -> str:
    """What `validate` says of the default configuration with these files over it."""
    with pytest.raises(SamlError) as error:
        validate(load([DEFAULT, *files]), SCHEMA, [DEFAULT, *files])
    return str(error.value)


def file(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# What the number is follows from YAML 1.1 (yaml.org/type): base 8 after a zero, base 60 with colons.
@pytest.mark.parametrize(
    ("spelled", "read"),
    [
        ("0024", f"the number {2 * 8 + 4}"),
        ("12:30", f"the number {12 * 60 + 30}"),
        ("1_000", "the number 1000"),
        ("1.0e+3", "the number 1000.0"),
        ("0x1F", "the number 31"),
        ("0b11", "the number 3"),
        ("7", "the number 7"),
        (".inf", "the number inf"),
        ("yes", "the truth value true"),
        ("off", "the truth value false"),
        ("Null", "no value"),
        ("2024-01-02", "the date 2024-01-02"),
    ],
)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("target_speakers[1]", "target_speakers: [anna, {}]"),
        ("target_speakers[0]", "target_speakers:\n  - {}\n  - anna"),
        ("tuning.speakers[0]", "tuning: {{speakers: [{}]}}"),
        ("initial_speakers[0]", "initial_speakers: [{}]"),
        ("corpus.folder.roles.base[0]", "corpus: {{folder: {{roles: {{base: [{}]}}}}}}"),
        (
            "corpus.librispeech.roles.base.named[0]",
            "corpus: {{librispeech: {{roles: {{base: {{named: [{}]}}}}}}}}",
        ),
        ("corpus.tedlium3.reserved[0]", "corpus: {{tedlium3: {{reserved: [{}]}}}}"),
        ("experiment", "experiment: {}"),
    ],
)
def test_ids_that_yaml_converts(tmp_path: Path, key: str, text: str, spelled: str, read: str) -> None:
    said = refused(file(tmp_path, text.format(spelled) + "\n"))
    assert said == f'config: {key}: {spelled} was read as {read}; put it in quotes: "{spelled}"'


@pytest.mark.parametrize("spelled", ["'0024'", '"no"', "1e3", "019", "anna", "0o17"])
def test_ids_that_stay_text(tmp_path: Path, spelled: str) -> None:
    path = file(tmp_path, f"initial_speakers: [a, b, c, d, e, {spelled}]\n")
    validate(load([DEFAULT, path]), SCHEMA, [DEFAULT, path])


def test_names_that_yaml_converts(tmp_path: Path) -> None:
    said = refused(file(tmp_path, "arms: {no: {precision: fp32, adapted: false}}\n"))
    assert said == 'config: arms: the key no was read as the truth value false; put it in quotes: "no"'


def test_an_entry_without_a_value(tmp_path: Path) -> None:
    said = refused(file(tmp_path, "target_speakers:\n  -\n"))
    assert said == "config: target_speakers[0]: is empty; write its text in quotes"


def test_the_file_that_decides_is_quoted(tmp_path: Path) -> None:
    first = file(tmp_path, "target_speakers: [20]\n")
    second = tmp_path / "second.yaml"
    second.write_text("target_speakers: [0024]\n", encoding="utf-8")
    assert "0024 was read as the number 20;" in refused(first, second)
    assert "20 was read as the number 20;" in refused(second, first)


def test_two_ids_that_yaml_makes_one_are_not_called_repeated(tmp_path: Path) -> None:
    assert "yes was read as" in refused(file(tmp_path, "target_speakers: [yes, on]\n"))


def test_a_value_that_is_in_no_file(tmp_path: Path) -> None:
    """As one from Snakemake's --config, which may have replaced another of the file."""
    path = file(tmp_path, "target_speakers: ['20', 0024, yes]\narms: {1: x}\n")
    assert as_written([path], ["target_speakers", 0], 20) is None  # quoted
    assert as_written([path], ["target_speakers", 1], 21) is None
    assert as_written([path], ["target_speakers", 2], 1) is None  # true equals 1 in Python
    assert as_written([path], ["target_speakers", 3], 20) is None
    assert as_written([path, tmp_path / "nowhere"], ["target_speakers", 1], 20) == "0024"
    assert key_as_written([path], ["arms"], 1) == "1"
    assert key_as_written([path], ["arms"], 2) is None


def test_values_that_come_by_an_alias_or_a_merge_key(tmp_path: Path) -> None:
    path = file(tmp_path, "a: &a {named: [0024]}\nb: {<<: *a, other: 1}\nc: *a\n")
    assert as_written([path], ["b", "named", 0], 20) == "0024"
    assert as_written([path], ["c", "named", 0], 20) == "0024"


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    path = file(tmp_path, "seeds: [1]\ntuning: {speakers: [x], seed: 1,\n  speakers: [y]}\nseeds: [2]\n")
    said = refused(path)
    assert said.startswith(f"config: {path}, line 4: the key seeds is in line 1 too; remove one (and 1 more)")


def test_json_is_read_as_snakemake_reads_it(tmp_path: Path) -> None:
    """1e-3 is a number in JSON, and text in YAML 1.1."""
    path = file(tmp_path, '{"tuning": {"grid": [1e-3]}}')
    assert load([path]) == {"tuning": {"grid": [0.001]}}
    assert load([file(tmp_path, "tuning: {grid: [1e-3]}")]) == {"tuning": {"grid": ["1e-3"]}}
