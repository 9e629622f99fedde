"""Which sentences are shown: by hand, from their errors before and after."""

from saml.reporting.examples import Example, chosen


def sentence(speaker: str, name: str, before: int, after: int) -> Example:
    return Example(name, "said", "before", "after", before, after, speaker)


def names(found: list[Example]) -> list[str]:
    return [one.utterance for one in found]


def test_each_kind_has_at_most_two_of_different_speakers() -> None:
    """Means: 3 errors before, 2 after."""
    sentences = [
        sentence("ann", "much better", 9, 0),
        sentence("ann", "better", 6, 0),
        sentence("bob", "a little better", 3, 2),
        sentence("bob", "the same", 0, 0),
        sentence("eve", "worse", 0, 3),
        sentence("joe", "much worse", 0, 7),
    ]
    found = chosen(sentences)
    assert list(found) == ["Largest gain", "Typical", "Worst"]
    assert names(found["Largest gain"]) == ["much better", "a little better"]
    assert names(found["Worst"]) == ["much worse", "worse"]
    assert names(found["Typical"])[0] == "a little better"
    assert {one.speaker for one in found["Typical"]} == {"bob", "eve"}


def test_without_a_change_all_are_typical() -> None:
    assert names(chosen([sentence("ann", "same", 1, 1)])["Typical"]) == ["same"]
    assert list(chosen([sentence("ann", "same", 1, 1)])) == ["Typical"]
    assert chosen([]) == {}
