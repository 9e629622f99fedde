"""Counts by hand, and special cases of both normalisers."""

import hashlib
import importlib.resources
import math
import subprocess
import sys

import pytest

from saml.evaluation import wer as scoring
from saml.runtime.errors import SamlError


def four(hits: int, substitutions: int, deletions: int, insertions: int) -> dict[str, int]:
    return dict(zip(scoring.OPERATIONS, (hits, substitutions, deletions, insertions), strict=True))


def words(reference: str, hypothesis: str, scorer: str = "released") -> dict[str, int]:
    return scoring.count(reference, hypothesis, [scorer])[scorer]["words"]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("bin blue at f two now", "bin blue at f two now", four(6, 0, 0, 0)),
        ("bin blue at f two now", "bin blue at s two now", four(5, 1, 0, 0)),
        ("bin blue at f two now", "bin blue f two", four(4, 0, 2, 0)),
        ("bin blue", "oh bin blue please", four(2, 0, 0, 2)),
        ("one two three four", "one three four five six", four(3, 0, 1, 2)),
        ("bin blue", "", four(0, 0, 2, 0)),
        ("", "bin blue now", four(0, 0, 0, 3)),
        ("", "", four(0, 0, 0, 0)),
    ],
)
def test_words_by_hand(reference: str, hypothesis: str, expected: dict[str, int]) -> None:
    assert words(reference, hypothesis) == expected


def test_characters_by_hand() -> None:
    counts = scoring.count("go now", "go not u", ["released"])["released"]
    # "go now" -> "go not u": w becomes t, then " u" is inserted; the space in the middle is a character too.
    assert counts["characters"] == four(5, 1, 0, 2)
    assert counts["words"] == four(1, 1, 0, 1)
    assert scoring.error_rate(counts["characters"]) == 3 / 6


def levenshtein(reference: list[str], hypothesis: list[str]) -> int:
    """The distance by the textbook recursion, without any library."""
    row = list(range(len(hypothesis) + 1))
    for i, one in enumerate(reference, start=1):
        above, row[0] = row[:], i
        for j, other in enumerate(hypothesis, start=1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (one != other))
    return row[-1]


@pytest.mark.parametrize("seed", range(40))
def test_counts_are_a_shortest_alignment(seed: int) -> None:
    import random

    draw = random.Random(seed)
    reference, hypothesis = ([draw.choice("abcd") for _ in range(draw.randrange(9))] for _ in range(2))
    counts = scoring.count_normalised(" ".join(reference), " ".join(hypothesis))["words"]
    assert scoring.errors(counts) == levenshtein(reference, hypothesis)
    assert scoring.reference_units(counts) == len(reference)
    assert counts["hits"] + counts["substitutions"] + counts["insertions"] == len(hypothesis)


@pytest.mark.parametrize(
    ("text", "released", "whisper"),
    [
        ("Bin BLUE, at F two!", "bin blue at f two", "bin blue at f 2"),
        ("a well-known twenty-five", "a wellknown twentyfive", "a well known 25"),  # the released one joins
        ("one oh five", "one oh five", "105"),
        ("105", "105", "105"),
        ("Mr. Smith's colour", "mr smith's colour", "mister smith is color"),
        ("it's won't can't", "it's won't can't", "it is will not can not"),
        ("uh set um red", "uh set um red", "set red"),
        ("[noise] hello (laughs)", "noise hello laughs", "hello"),
        ("café naïve", "caf nave", "cafe naive"),
        ("  two   spaces ", "two spaces", "2 spaces"),
        ("", "", ""),
    ],
)
def test_normalisers(text: str, released: str, whisper: str) -> None:
    assert scoring.normalise(text, "released") == released
    assert scoring.normalise(text, "whisper") == whisper


def test_formatting_counts_as_errors_under_released_only() -> None:
    reference, hypothesis = "mister smith is twenty-five", "Mr Smith's 25"
    assert scoring.errors(words(reference, hypothesis, "released")) == 4
    assert words(reference, hypothesis, "whisper") == four(4, 0, 0, 0)


# Texts of equal sound, with their word errors under `released` and under `whisper`.
TRAPS = [
    ("a well-known fact", "a well known fact", 2, 0),  # hyphens: `released` joins, `whisper` separates
    ("twenty-five", "twenty five", 2, 0),
    ("e-mail", "email", 0, 2),  # ... which costs where the other form is one word
    ("go-", "go", 0, 0),
    ("twenty five", "25", 2, 0),  # digits
    ("one oh five", "105", 3, 0),
    ("two two", "22", 2, 0),
    ("a four", "a 4", 1, 0),
    ("the first", "the 1st", 1, 0),
    ("one hundred and one", "101", 4, 0),
    ("five percent", "5%", 2, 0),
    ("five dollars", "$5", 2, 0),
    ("Mr. Smith", "mr smith", 0, 0),  # titles
    ("mister smith", "mr smith", 1, 0),
    ("missus jones", "mrs jones", 1, 0),
    ("doctor who", "dr who", 1, 0),
    ("it is", "it's", 2, 0),  # contractions
    ("will not", "won't", 2, 0),
    ("can not", "can't", 2, 0),
    ("i would go", "i'd go", 2, 0),
    ("let us go", "let's go", 2, 0),
    ("cannot", "can not", 2, 2),  # no contraction
    (
        "don't",
        "dont",
        1,
        2,
    ),  # without its apostrophe it is another word, and `whisper` splits the other into two
    ("it\u2019s", "it's", 0, 0),  # texts that look alike are equal: apostrophes, ...
    ("a cafe\u0301 here", "a caf\u00e9 here", 0, 0),  # ... letters composed or not, ...
    ("wi\u00adfi", "wifi", 0, 0),  # ... and what nobody sees
    ("don`t", "don't", 1, 2),  # but what is ASCII counts as in the published code
    ("o'clock", "oclock", 1, 2),  # "o" is read as a digit
    ("smith's book", "smith is book", 2, 0),  # a real error that `whisper` forgives: it takes any 's for "is"
    ("the colour", "the color", 1, 0),  # spelling
    ("ok", "okay", 1, 1),
    ("uh", "um", 1, 0),  # fillers: nothing is left of the reference ...
    ("", "uh", 1, 0),  # ... nor of the hypothesis
    ("uh", "go", 1, 1),
    ("", "go", 1, 1),
    ("", "", 0, 0),
    ("[noise] yes", "yes", 1, 0),
]


@pytest.mark.parametrize(("reference", "hypothesis", "released", "whisper"), TRAPS)
def test_differences_of_formatting(reference: str, hypothesis: str, released: int, whisper: int) -> None:
    assert scoring.errors(words(reference, hypothesis, "released")) == released
    assert scoring.errors(words(reference, hypothesis, "whisper")) == whisper


def test_a_reference_left_empty_by_a_scorer_makes_all_words_insertions() -> None:
    counts = scoring.count("uh", "hello there", ["released", "whisper"])
    assert counts["whisper"]["words"] == four(0, 0, 0, 2)
    assert counts["whisper"]["characters"] == four(0, 0, 0, len("hello there"))
    assert counts["released"]["words"] == four(0, 1, 0, 1)


def test_count_has_the_shape_of_the_hypotheses_file() -> None:
    counts = scoring.count("set red", "set", ["whisper", "released"])
    assert list(counts) == ["whisper", "released"]
    for scorer in counts.values():
        assert list(scorer) == ["words", "characters"]
        assert all(list(unit) == list(scoring.OPERATIONS) for unit in scorer.values())
        assert all(type(number) is int for unit in scorer.values() for number in unit.values())


def test_rates_are_of_pooled_counts() -> None:
    # 1 of 2 and 1 of 8 words: pooled 2 of 10, not the mean of 50 % and 12.5 %.
    pooled = scoring.pool([four(1, 1, 0, 0), four(7, 0, 1, 0)])
    assert pooled == four(8, 1, 1, 0)
    assert scoring.error_rate(pooled) == 0.2
    assert scoring.pool([]) == four(0, 0, 0, 0)


def test_rates_at_the_edges() -> None:
    assert scoring.error_rate(four(0, 0, 0, 0)) == 0.0
    assert scoring.error_rate(four(0, 0, 0, 2)) == math.inf
    assert scoring.error_rate(four(0, 1, 0, 2)) == 3.0
    assert scoring.relative_reduction(0.4, 0.3) == pytest.approx(0.25)
    assert scoring.relative_reduction(0.2, 0.3) == pytest.approx(-0.5)
    assert scoring.relative_reduction(0.0, 0.0) == 0.0
    assert scoring.relative_reduction(0.0, 0.1) == -math.inf


def test_an_unknown_scorer_is_named() -> None:
    with pytest.raises(SamlError, match="no scorer 'sclite'; there are released, whisper"):
        scoring.count("a", "a", ["sclite"])


def test_the_spelling_table_is_the_published_one() -> None:
    file = importlib.resources.files("saml.evaluation") / "data" / "whisper_english_spelling.json"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest == "6607f948be9824d2e1b2fa2223cd94c06c45afa4e05ea0e3d5e1f2bdffde2465"
    assert len(scoring.spelling_table()) == 1739


def test_scoring_needs_neither_torch_nor_torchaudio() -> None:
    code = (
        "import sys; from saml.evaluation.wer import count; count('a', 'a', ['whisper']);"
        "assert not {'torch', 'torchaudio'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
