"""The decoding stage with CTC's share in the search."""

import json
from pathlib import Path
from typing import Any

import pytest

from saml.models.conformer import ConformerRecogniser
from saml.runtime.errors import SamlError
from tests.training import conftest as run


def decode(made: Path, out: Path, **decoding: Any) -> list[dict[str, Any]]:
    settings = run.settings("decoding", "scoring", arm={"precision": "nf4", "adapted": False})
    run.decode_one(
        experiment="test",
        settings={**settings, "decoding": {**settings["decoding"], **decoding}},
        arm="nf4",
        seed=0,
        weights=made / "nf4.safetensors",
        description=made / "nf4.json",
        heldout_cuts=made / "heldout/cuts.jsonl.gz",
        hypotheses=out / "hypotheses.jsonl",
        record=out / "run.jsonl",
    )
    return [json.loads(line) for line in (out / "hypotheses.jsonl").read_text().splitlines()]


def test_a_share_of_ctc_changes_what_is_heard_and_none_changes_nothing(made: Path, tmp_path: Path) -> None:
    bare = decode(made, tmp_path / "bare")
    assert decode(made, tmp_path / "zero", ctc_weight=0) == bare
    joint = decode(made, tmp_path / "joint", ctc_weight=0.9)
    assert [line["utterance"] for line in joint] == [line["utterance"] for line in bare]
    assert [line["hypothesis"] for line in joint] != [line["hypothesis"] for line in bare]


def test_a_model_without_a_ctc_head_is_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConformerRecogniser, "has_ctc", False)
    with pytest.raises(
        SamlError, match=r"arm nf4: .*nf4\.safetensors has no CTC head.* \(0\.3\) needs; set it to 0"
    ):
        decode(made, tmp_path, ctc_weight=0.3)
    assert not (tmp_path / "hypotheses.jsonl").exists()
