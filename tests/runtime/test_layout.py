"""Where results lie: what protocol.md lists, the same for rules and for what reads the results."""

import subprocess
import sys
from pathlib import Path

import pytest

from saml.runtime import layout
from saml.runtime.errors import SamlError

RESULTS = Path("results/an4")


@pytest.mark.parametrize(
    ("template", "factors", "expected"),
    [
        (layout.CORPUS, {}, "data/corpus"),
        (layout.POOL, {"role": "heldout"}, "data/pools/heldout"),
        (layout.SPEECH, {"speaker": "an é"}, "data/speakers/an%20%C3%A9"),
        (layout.MODEL, {"model": "nf4"}, "models/nf4"),
        (layout.PRETRAINED, {"arm": "saml", "seed": 2}, "pretrained/saml/seed2"),
        (layout.EXPERTS, {"arm": "saml", "seed": 2}, "pretrained/saml/seed2/experts"),
        (layout.ROUTES, {"arm": "saml", "seed": 2, "speaker": "a"}, "pretrained/saml/seed2/routes/a"),
        (layout.ADAPTED, {"arm": "pqm", "seed": 1, "speaker": "a/b"}, "speakers/a%2Fb/pqm/seed1"),
        (layout.HELDOUT, {"arm": "fp32", "seed": 0}, "heldout/fp32/seed0"),
        (layout.ENROLMENT, {"size": 12}, "enrolment/12"),
        (layout.PRUNED, {"kept": "collapsed"}, "pruned/collapsed"),
        (layout.EMBEDDINGS, {"arm": "pqm", "seed": 1, "speaker": ".a"}, "embeddings/%2Ea/pqm/seed1"),
        (
            layout.TRIAL_PRETRAINING,
            {"arm": "pqm", "seed": 1, "rate": "0.003"},
            "tuning/pqm/pretraining/lr0.003/seed1",
        ),
        (layout.TRIAL_START, {"arm": "pqm", "seed": 1}, "tuning/pqm/pretrained/seed1"),
        (
            layout.TRIAL_ADAPTATION,
            {"arm": "pqm", "seed": 1, "rate": "0.003", "speaker": "a~"},
            "tuning/pqm/adaptation/lr0.003/a%7E/seed1",
        ),
        (
            layout.TRIAL_LOSSES,
            {"arm": "pqm", "seed": 1, "rate": "0.003", "kind": "adaptation"},
            "tuning/pqm/judged-adaptation/lr0.003/seed1",
        ),
    ],
)
def test_places(template: str, factors: dict[str, object], expected: str) -> None:
    """A folder with its factors, which `factors` reads back and `pattern` finds."""
    found = layout.place(RESULTS, template, **factors)  # type: ignore[arg-type]
    assert found == RESULTS / expected
    read = layout.factors(template, f"{expected}/more")
    assert read is not None
    if "speaker" in read:
        read["speaker"] = layout.speaker_id(read["speaker"])
    assert read == {name: str(value) for name, value in factors.items()}
    assert Path(expected).match(layout.pattern(template))


def test_a_factor_that_is_missing_or_unknown_is_an_error() -> None:
    with pytest.raises(KeyError, match="seed"):
        layout.place(RESULTS, layout.ADAPTED, speaker="a", arm="saml")
    with pytest.raises(KeyError, match="rate"):
        layout.place(RESULTS, layout.HELDOUT, arm="saml", seed=1, rate="1")


def test_some_factors_stay_wildcards() -> None:
    assert layout.fill(layout.HELDOUT, seed=0) == "heldout/{arm}/seed0"


def test_other_folders_have_no_factors() -> None:
    assert layout.factors(layout.PRUNED, "pruned") is None
    assert layout.factors(layout.PRUNED, "speakers/pruned/saml/seed1") is None
    assert layout.factors(layout.CORPUS, "data/corpus2") is None


@pytest.mark.parametrize(
    ("speaker", "name"),
    [("de_f2-x.1", "de_f2-x.1"), (".hidden", "%2Ehidden"), ("a b/ü~", "a%20b%2F%C3%BC%7E"), ("..", "%2E.")],
)
def test_folders_of_speakers(speaker: str, name: str) -> None:
    assert layout.folder_name(speaker) == name and layout.speaker_id(name) == speaker


def test_a_speaker_has_an_id() -> None:
    with pytest.raises(SamlError, match="id is empty"):
        layout.folder_name("")


def test_models() -> None:
    assert [layout.model_name(precision) for precision in ("fp32", "nf4")] == ["base", "nf4"]


def test_it_is_light() -> None:
    """Every command and every job of a cluster imports it."""
    code = "import sys, saml.runtime.layout; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "numpy", "pandas", "yaml", "transformers", "lhotse"}
