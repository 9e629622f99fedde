"""Splits, counted by hand."""

import itertools

import pytest

from saml.corpora import splits as partition
from saml.runtime.errors import SamlError

SETTINGS = {"scheme": "contiguous", "folds": 5, "seed": 7}


def utterances(count):
    return {f"u{index:04d}": None for index in range(count)}


def split(parts, **changes):
    return partition.split_speaker("anna", parts, {**SETTINGS, **changes})


def sizes(fold):
    return [len(fold[part]) for part in partition.PARTS]


@pytest.mark.parametrize(
    ("count", "expected"),
    # The first two are LibriSpeech's speakers 115 and 210 as in the paper.
    [
        (148, [59, 30, 59]),
        (184, [74, 36, 74]),
        (147, [59, 29, 59]),
        (5, [2, 1, 2]),
        (3, [1, 1, 1]),
        (12, [5, 2, 5]),
    ],
)
def test_two_to_one_to_two(count, expected):
    for scheme in ("contiguous", "random"):
        (fold,) = split(utterances(count), scheme=scheme)["folds"]
        assert sizes(fold) == expected
        assert sorted(fold["train"] + fold["dev"] + fold["test"]) == sorted(utterances(count))


def test_contiguous_is_in_order_of_the_ids():
    shuffled = dict(reversed(utterances(10).items()))
    (fold,) = split(shuffled)["folds"]
    assert fold == {
        "train": ["u0000", "u0001", "u0002", "u0003"],
        "dev": ["u0004", "u0005"],
        "test": ["u0006", "u0007", "u0008", "u0009"],
    }


def test_an_adapter_to_use_has_no_test_part():
    """The group that is test in the first fold is dev, the others are train."""
    parts = utterances(12)
    whole = partition.split_for_use("anna", parts, {**SETTINGS, "scheme": "folds"})
    (fold,) = whole["folds"]
    assert sizes(fold) == [9, 3, 0] and sorted(fold["train"] + fold["dev"]) == sorted(parts)
    assert fold["dev"] == split(parts, scheme="folds")["folds"][0]["test"]
    assert whole == partition.split_for_use("anna", reversed(list(parts)), {**SETTINGS, "scheme": "folds"})
    assert whole["folds"] != partition.split_for_use("anna", parts, {**SETTINGS, "seed": 8})["folds"]
    with pytest.raises(SamlError, match="anna has 1 utterances, too few for an adapter; record more"):
        partition.split_for_use("anna", ["u"], SETTINGS)


def test_random_depends_on_seed_and_speaker_only():
    parts = utterances(50)
    once = split(parts, scheme="random")
    assert once == split(dict(reversed(parts.items())), scheme="random")
    assert once["folds"] != split(parts, scheme="random", seed=8)["folds"]
    other = partition.split_speaker("bert", parts, {**SETTINGS, "scheme": "random"})
    assert once["folds"] != other["folds"]
    assert once["folds"][0]["train"] != sorted(parts)[:20]


def test_folds_test_every_utterance_once():
    folds = split(utterances(13), scheme="folds")["folds"]
    assert len(folds) == 5
    tested = list(itertools.chain.from_iterable(fold["test"] for fold in folds))
    assert sorted(tested) == sorted(utterances(13))
    for index, fold in enumerate(folds):
        assert sorted(fold["train"] + fold["dev"] + fold["test"]) == sorted(utterances(13))
        # The next group is dev, so every utterance is dev once.
        assert fold["dev"] == folds[(index + 1) % 5]["test"]
        assert 2 <= len(fold["test"]) <= 3
    assert split(utterances(13), scheme="folds", seed=8)["folds"] != folds


def test_given_keeps_the_parts_of_the_corpus():
    parts = {"a": "train", "c": "test", "b": "train", "d": "dev"}
    (fold,) = split(parts, scheme="given")["folds"]
    assert fold == {"train": ["a", "b"], "dev": ["d"], "test": ["c"]}
    with pytest.raises(SamlError, match="utterance b of speaker anna has no part"):
        split({**parts, "b": None}, scheme="given")


def test_enrolment_limits_training_and_grows_by_adding():
    whole = list(utterances(30))
    few, more = (partition.enrolled(reversed(whole), limit, "anna") for limit in (3, 7))
    assert len(few) == 3 and len(more) == 7 and few == sorted(few)
    assert set(few) < set(more) < set(whole)
    assert more != whole[:7], "the first of the manifest"
    assert partition.enrolled(whole, None, "anna") == whole == partition.enrolled(whole, 100, "anna")
    assert partition.enrolled(whole, 3, "bert") != few
    # Utterances are ranked independently: the train part of another fold has the same order.
    assert set(partition.enrolled(whole[1:], 3, "anna")) >= set(few) - {whole[0]}
    with pytest.raises(SamlError, match="partition.enrolment: 0 training utterances"):
        partition.enrolled(whole, 0, "anna")


@pytest.mark.parametrize(
    ("count", "changes", "message"),
    [
        (2, {}, "speaker anna has 2 utterances: .* leaves dev empty"),
        (1, {"scheme": "random"}, "leaves train and test empty"),
        (4, {"scheme": "folds"}, "has 4 utterances, fewer than partition.folds"),
        (9, {"scheme": "folds", "folds": 2}, "at least 3"),
        (9, {"scheme": "odd"}, "'odd' is not one of"),
    ],
)
def test_what_cannot_be_split(count, changes, message):
    with pytest.raises(SamlError, match=message):
        split(utterances(count), **changes)


def test_dev_part_of_a_pool():
    ids = list(utterances(94))
    dev = partition.mark_dev(ids, 0.1, 7, "base")
    assert len(dev) == 9 and dev <= set(ids)
    assert dev == partition.mark_dev(list(reversed(ids)), 0.1, 7, "base")
    assert dev != partition.mark_dev(ids, 0.1, 7, "pretrain")
    assert dev != partition.mark_dev(ids, 0.1, 8, "base")
    assert len(partition.mark_dev(ids[:3], 0.1, 7, "base")) == 1
    assert partition.mark_dev(ids, 0, 7, "base") == set()
    with pytest.raises(SamlError, match="leaves no training utterance"):
        partition.mark_dev(ids[:1], 0.1, 7, "base")
