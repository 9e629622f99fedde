"""The verdict of a personalisation: does the adapter help this speaker, as far as the recordings can show?

Word errors are counted by Whisper's normaliser, so that capitals and punctuation neither help nor harm; how
an output looks is reported beside them. An adapter is compared with the four-bit model without one, which is
what would be used otherwise, on the same recordings, each transcribed by an adapter that has not heard it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from saml.corpora.labels import is_formatted
from saml.evaluation.bootstrap import Interval, interval, p_value, relative_reductions, resampled_sums
from saml.evaluation.wer import errors, reference_units, relative_reduction
from saml.reporting.sentences import Sentence
from saml.runtime.errors import SamlError

SCORER = "whisper"
# The arm that an adapter is compared with: the four-bit model without one.
REFERENCE = "nf4"
DRAWS, SEED = 10_000, 1
WORST = 3  # sentences that are shown

USE, NO_DIFFERENCE, DO_NOT_USE = "use it", "no difference", "do not use it"
# What a program that calls the command can tell the recommendations by.
EXIT_STATUS = {USE: 0, NO_DIFFERENCE: 10, DO_NOT_USE: 11}
_SENTENCES = {
    USE: "Use it: it makes fewer errors than the model without it, and not by chance.",
    NO_DIFFERENCE: "No difference that so few recordings can show: record more, or judge by ear.",
    DO_NOT_USE: "Do not use it: it makes more errors than the model without it, and not by chance.",
}

# The lines of a hypotheses.jsonl.
Lines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """What one adapted arm does for one speaker.

    Attributes:
        speaker, arm: whose and which.
        words: reference words of all recordings.
        errors: word errors of each arm that was decoded, by its name; the reference is `nf4`.
        reduction: relative WER reduction of `arm` against `nf4`; `low` and `high` its 95 % interval, `p`.
        better, worse: sentences with fewer and with more errors.
        formatted_before, formatted_after: share of texts that begin with a capital and end with a mark.
        looped: texts of each arm that repeated themselves and were decoded again.
        recommendation: one of USE, NO_DIFFERENCE, DO_NOT_USE.
        sentences: all of them, in the order of their names.
    """

    speaker: str
    arm: str
    words: int
    errors: dict[str, int]
    reduction: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    formatted_before: float
    formatted_after: float
    looped: dict[str, int]
    recommendation: str
    sentences: list[Sentence]

    @property
    def improves(self) -> bool:
        """Whether the adapter made fewer errors than the model without it, by chance or not."""
        return self.errors[self.arm] < self.errors[REFERENCE]

    def as_json(self) -> dict[str, Any]:
        """All of it, for a program; an end of the interval that is not finite as None, JSON's null."""
        ends = {
            name: value for name in ("reduction", "low", "high") if isfinite(value := getattr(self, name))
        }
        return {**asdict(self), "reduction": None, "low": None, "high": None, **ends}


def judge(speaker: str, arm: str, decoded: Mapping[str, Lines]) -> Verdict:
    """Compare an adapted arm with the four-bit model without an adapter.

    Args:
        speaker: whose recordings.
        arm: the adapted arm.
        decoded: the lines of hypotheses.jsonl by arm: of `arm`, of `nf4`, and of any others to be shown.

    Raises:
        SamlError: `nf4` is missing, or the arms have other utterances than each other.
    """
    if REFERENCE not in decoded:
        raise SamlError(
            f"the verdict compares with the arm {REFERENCE}; add it to run_arms of the experiment"
        )
    texts = {name: {line["utterance"]: line for line in lines} for name, lines in decoded.items()}
    utterances = sorted(texts[arm])
    if any(sorted(lines) != utterances for lines in texts.values()):
        raise SamlError(f"{speaker}: the arms were decoded on other recordings than each other; start again")
    before, after = texts[REFERENCE], texts[arm]
    sentences = [
        Sentence(
            name,
            before[name]["reference"],
            before[name]["hypothesis"],
            after[name]["hypothesis"],
            _errors(before[name]),
            _errors(after[name]),
        )
        for name in utterances
    ]
    words = np.array([reference_units(_counts(before[name])) for name in utterances])
    wrong = {
        name: np.array([_errors(lines[utterance]) for utterance in utterances])
        for name, lines in texts.items()
    }
    reduction, ends, p = _compare(wrong[REFERENCE], wrong[arm])
    return Verdict(
        speaker=speaker,
        arm=arm,
        words=int(words.sum()),
        errors={name: int(own.sum()) for name, own in wrong.items()},
        reduction=reduction,
        low=ends.low,
        high=ends.high,
        p=p,
        better=sum(one.errors_after < one.errors_before for one in sentences),
        worse=sum(one.errors_after > one.errors_before for one in sentences),
        formatted_before=_formatted([one.before for one in sentences]),
        formatted_after=_formatted([one.after for one in sentences]),
        looped={
            name: sum(bool(line.get("guard")) for line in lines.values()) for name, lines in texts.items()
        },
        recommendation=_recommend(ends),
        sentences=sentences,
    )


def chance(p: float) -> str:
    """A p with three decimals; so few draws cannot tell one below 0.001 from 0."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def as_text(verdict: Verdict) -> list[str]:
    """The verdict for a terminal, a line each."""
    arm, wrong, words = verdict.arm, verdict.errors, verdict.words
    lines = [
        f"{verdict.speaker}, {arm}: {wrong[REFERENCE]} -> {wrong[arm]} of {words} words wrong "
        f"({len(verdict.sentences)} recordings)"
    ]
    for name, count in wrong.items():
        if name not in (arm, REFERENCE):
            lines.append(f"  {name}: {count} of {words} words wrong")
    lines.append(
        f"  relative WER reduction {100 * verdict.reduction:.0f} % "
        f"[{100 * verdict.low:.0f}, {100 * verdict.high:.0f}], {chance(verdict.p)}"
    )
    same = len(verdict.sentences) - verdict.better - verdict.worse
    lines.append(f"  sentences: {verdict.better} better, {verdict.worse} worse, {same} the same")
    lines.append(
        f"  capital and final mark: {100 * verdict.formatted_before:.0f} % before, "
        f"{100 * verdict.formatted_after:.0f} % after"
    )
    loops = ", ".join(f"{name} {count}" for name, count in verdict.looped.items() if count)
    if loops:
        lines.append(f"  texts that repeated themselves and were decoded again: {loops}")
    for one in worst(verdict):
        lines.append(f"  worse: {one.utterance} ({one.errors_before} -> {one.errors_after} errors)")
        lines += [f"    said   {one.reference}", f"    before {one.before}", f"    after  {one.after}"]
    return [*lines, f"  {_SENTENCES[verdict.recommendation]}"]


def worst(verdict: Verdict) -> list[Sentence]:
    """The sentences that got worse most, at most `WORST`."""
    grown = [one for one in verdict.sentences if one.errors_after > one.errors_before]
    return sorted(grown, key=lambda one: one.errors_before - one.errors_after)[:WORST]


def sentence_of(recommendation: str) -> str:
    """The recommendation in words."""
    return _SENTENCES[recommendation]


def _compare(before: Any, after: Any) -> tuple[float, Interval, float]:
    """The relative reduction, its interval and p, from resampled recordings.

    Of errors, not of rates: both arms have the same words, and recordings without any have no rate.
    """
    table = np.stack([before, after], axis=1).astype(np.int64)
    sums = resampled_sums([table], draws=DRAWS, seed=SEED)
    value = relative_reduction(float(before.sum()), float(after.sum()))
    return value, interval(relative_reductions(sums[:, 0], sums[:, 1])), p_value(sums[:, 0], sums[:, 1])


def _recommend(ends: Interval) -> str:
    if ends.low > 0:
        return USE
    return DO_NOT_USE if ends.high < 0 else NO_DIFFERENCE


def _counts(line: Mapping[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = line["counts"][SCORER]["words"]
    return counts


def _errors(line: Mapping[str, Any]) -> int:
    return errors(_counts(line))


def _formatted(texts: Sequence[str]) -> float:
    return sum(map(is_formatted, texts)) / len(texts)
