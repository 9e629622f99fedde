"""The hypotheses of an experiment: their files, and their counts as one long table.

The layout (results/README.md), below `results/<experiment>`:

    speakers/<speaker>/<arm>/seed<seed>/hypotheses.jsonl   test part; of adapted arms also held-out utterances
    speakers/<speaker>/<arm>/seed<seed>/adapter.{safetensors,json}
    heldout/<arm>/seed0/hypotheses.jsonl                   held-out utterances of arms that are not adapted

Arms that are not adapted do not vary with the seed and have seed 0.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from saml.corpora.labels import is_formatted
from saml.evaluation.wer import OPERATIONS, UNITS
from saml.runtime.errors import SamlError
from saml.runtime.layout import ADAPTED, HELDOUT, place

Arm = Mapping[str, Any]
Arms = Mapping[str, Arm]

# The columns of the counts: words.hits, words.substitutions, ..., characters.insertions.
COUNTS = [f"{unit}.{operation}" for unit in UNITS for operation in OPERATIONS]


@dataclass(frozen=True)
class Decoded:
    """One file of hypotheses: the arm, the adapted speaker (None: held-out speakers alone), the seed."""

    arm: str
    speaker: str | None
    seed: int

    def folder(self, results: Path) -> Path:
        """Where the decoding's files lie."""
        template = HELDOUT if self.speaker is None else ADAPTED
        return place(results, template, speaker=self.speaker, arm=self.arm, seed=self.seed)


def seeds_of(arm: Arm, seeds: Sequence[int]) -> list[int]:
    """The seeds under which an arm has results."""
    return list(seeds) if arm["adapted"] else [0]


def decodings(
    arms: Arms, speakers: Sequence[str], seeds: Sequence[int], *, heldout: bool = True
) -> Iterator[Decoded]:
    """All files of hypotheses of an experiment, with or without those of held-out speakers alone."""
    for name, arm in arms.items():
        for speaker in speakers:
            for seed in seeds_of(arm, seeds):
                yield Decoded(name, speaker, seed)
        if heldout and not arm["adapted"]:
            yield Decoded(name, None, 0)


def read_counts(
    results: Path,
    arms: Arms,
    speakers: Sequence[str],
    seeds: Sequence[int],
    scorers: Sequence[str],
    *,
    heldout: bool = True,
) -> pd.DataFrame:
    """The counts of all hypotheses, one row per arm, speaker, seed, part, fold, utterance and scorer.

    Columns: arm, speaker (the adapted one; "" if none), seed, part, fold, utterance, looped (whether the
    output needed the guard), formatted (whether it begins with a capital and ends with a mark), scorer and
    COUNTS.
    With `heldout` the files of held-out speakers alone are read too.

    Raises:
        SamlError: a file is missing or damaged, or lacks a scorer; a speaker has no test utterance, or one
            twice, or different ones in different arms and seeds.
    """
    rows: list[list[Any]] = []
    for decoding in decodings(arms, speakers, seeds, heldout=heldout):
        path = decoding.folder(results) / "hypotheses.jsonl"
        for line in read_lines(path):
            rows.extend(_rows(decoding, line, scorers, path))
    columns = [
        "arm",
        "speaker",
        "seed",
        "part",
        "fold",
        "utterance",
        "looped",
        "formatted",
        "scorer",
        *COUNTS,
    ]
    table = pd.DataFrame(rows, columns=columns)
    test = table[(table["part"] == "test") & (table["scorer"] == scorers[0])]
    _check_pairs(test, arms, speakers, seeds)
    return table


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a hypotheses.jsonl. Raises SamlError if it is missing or damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SamlError(f"{path}: cannot read these hypotheses ({error}); run their decoding again") from None
    # Not splitlines(): a transcript may contain characters that it treats as line ends.
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise SamlError(f"{path}: line {number} is not a JSON object; run this decoding again")
        yield value


def _rows(
    decoding: Decoded, line: Mapping[str, Any], scorers: Sequence[str], path: Path
) -> Iterator[list[Any]]:
    """The rows of one utterance, one per scorer."""
    try:
        for scorer in scorers:
            counts = line["counts"][scorer]
            numbers = [int(counts[unit][operation]) for unit in UNITS for operation in OPERATIONS]
            factors = [decoding.arm, decoding.speaker or "", decoding.seed]
            looped = bool(line.get("guard"))  # older files have no guard
            own = [line["part"], line["fold"], line["utterance"], looped, is_formatted(line["hypothesis"])]
            yield [*factors, *own, scorer, *numbers]
    except (KeyError, TypeError, ValueError) as error:
        what = f"{path}: utterance {line.get('utterance', '?')} has no usable {error}"
        raise SamlError(f"{what}; decode again with scoring.scorers = {list(scorers)}") from None


def _check_pairs(test: pd.DataFrame, arms: Arms, speakers: Sequence[str], seeds: Sequence[int]) -> None:
    """Check for the same utterances, once each, in every arm and seed, as paired comparisons need them."""
    utterances = {key: sorted(group) for key, group in test.groupby(["arm", "speaker", "seed"])["utterance"]}
    for speaker in speakers:
        expected: list[str] | None = None
        for name, arm in arms.items():
            for seed in seeds_of(arm, seeds):
                found = utterances.get((name, speaker, seed), [])
                where = f"speaker {speaker}, arm {name}, seed {seed}"
                if not found:
                    raise SamlError(f"{where}: no hypothesis of a test utterance; run this decoding again")
                if len(set(found)) != len(found):
                    raise SamlError(f"{where}: a test utterance is decoded twice; run this decoding again")
                if expected is not None and found != expected:
                    raise SamlError(f"{where}: other test utterances than in the arms before; decode again")
                expected = found
