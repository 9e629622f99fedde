"""The same recording under several ids: found by its samples, named, and kept in one part."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from saml.corpora import folder
from saml.corpora.duplicates import first_of_each, identical, report_identical
from saml.corpora.splits import PARTS, split_for_use, split_speaker
from saml.corpora.utterances import Utterance, pool_parts
from saml.runtime.errors import SamlError

# Five recordings, each under the ids u<n>a and u<n>b.
IDS = [f"u{number}{copy}" for number in range(5) for copy in "ab"]
COPIES = [[f"u{number}a", f"u{number}b"] for number in range(5)]


def test_groups_of_equal_checksums() -> None:
    checksums = {"c": "1", "a": "2", "b": "1", "d": "", "e": "", "f": "3"}
    assert identical(checksums) == [["b", "c"]]
    assert first_of_each("abc", [["b", "c"], ["x", "y"]]) == {"a": "a", "b": "b", "c": "b"}
    assert first_of_each("ac", [["b", "c"]]) == {"a": "a", "c": "c"}


@pytest.mark.parametrize("scheme", ["contiguous", "random", "folds"])
def test_copies_are_in_the_same_part_of_every_fold(scheme: str) -> None:
    settings = {"scheme": scheme, "folds": 5, "seed": 3}
    found = split_speaker("anna", dict.fromkeys(IDS), settings, COPIES)
    alone = split_speaker("anna", dict.fromkeys(IDS[::2]), settings)
    assert found["copies"] == COPIES and "copies" not in alone
    for fold, single in zip(found["folds"], alone["folds"], strict=True):
        for part in PARTS:
            assert fold[part] == [f"{name[:-1]}{copy}" for name in single[part] for copy in "ab"]


def test_copies_are_no_further_recordings() -> None:
    with pytest.raises(SamlError, match=r"has 4 utterances, fewer than partition.folds \(5\)"):
        split_speaker("anna", dict.fromkeys(IDS[:8]), {"scheme": "folds", "folds": 5, "seed": 3}, COPIES)


def test_the_adapter_to_use_keeps_copies_together() -> None:
    (fold,) = split_for_use("anna", IDS, {"folds": 5, "seed": 3}, COPIES)["folds"]
    assert len(fold["dev"]) == 2 and len({name[:-1] for name in fold["dev"]}) == 1
    assert sorted(fold["train"] + fold["dev"]) == IDS


def test_copies_are_in_the_same_part_of_a_pool() -> None:
    rows = [Utterance(name, "anna", Path(), "", None, "base") for name in IDS]
    parts = pool_parts(rows, 0.4, 1, COPIES)
    assert all(parts[first] == parts[second] for first, second in COPIES)
    assert sorted(parts.values()).count("dev") == 4


def test_few_are_named_and_the_rest_counted(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [[f"a{number}", f"b{number}"] for number in range(7)]
    report_identical(groups, {name: "anna" for group in groups for name in group}, "they stay together")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "the same recording under 2 ids: a0 (anna), b0 (anna); they stay together"
    assert len(lines) == 6 and lines[-1].startswith("... and 2 further recordings")


def test_a_copy_in_another_container_is_found_by_the_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = np.random.default_rng(1).integers(-3000, 3000, 8_000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    soundfile.write(tmp_path / "b.flac", samples, 16_000)
    shutil.copy(tmp_path / "a.wav", tmp_path / "c.wav")
    soundfile.write(tmp_path / "d.wav", samples[::-1], 16_000)
    lines = ["utterance\tspeaker\tfile\ttext"]
    lines += [f"{name[0]}\t{speaker}\t{name}\tone" for name, speaker in zip(
        ("a.wav", "b.flac", "c.wav", "d.wav"), ("anna", "anna", "bert", "anna"), strict=True
    )]  # fmt: skip
    (tmp_path / "manifest.tsv").write_text("\n".join(lines))
    own: dict[str, Any] = {"root": str(tmp_path), "manifest": "manifest.tsv", "roles": {}, "dev_share": 0.0}
    own |= {"seed": 1, "heldout_utterances": None, "synthetic_speech": {"voices": 0}}
    folder.prepare_corpus({"name": "folder", "on_bad_utterance": "error", "folder": own}, tmp_path / "audio")
    said = capsys.readouterr().err
    assert "the same recording under 3 ids: a (anna), b (anna), c (bert); they stay" in said
