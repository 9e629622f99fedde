"""Draw docs/what_was_found.png from docs/lab-book/synthetic-and-an4.md: `python docs/what_was_found.py`."""

import re
from pathlib import Path

from matplotlib.figure import Figure

from saml.reporting import style

ROOT = Path(__file__).parents[1]
# Experiments, by the headings of their newest entries with three seeds.
EXPERIMENTS = {
    "7 synthetic voices, Conformer": "The default corpus with a Conformer, three seeds, again",
    "7 synthetic voices, Whisper": "The default corpus with a Whisper, three seeds",
    "24 people of AN4, Conformer": "AN4 with a Conformer, three seeds",
    "24 people of AN4, Whisper": "AN4 with a Whisper, three seeds",
}
PAIRS = {
    ("nf4-lora", "nf4"): "one LoRA a speaker\nagainst four bits as they are",
    ("pqm", "nf4-lora"): "the LoRA pre-trained on others\nagainst not",
    ("saml", "pqm"): "six experts and a router\nagainst that one LoRA",
    ("pqm-wide", "pqm"): "one LoRA of SAML's size\nagainst that one LoRA",
}
COLOURS = ["#0072b2", "#56b4e9", "#d55e00", "#e69f00"]
NUMBER = r"(-?\d+\.\d)"
INTERVAL = rf"\[{NUMBER}, {NUMBER}\]"


def entry(heading: str) -> str:
    """The text of one entry of the lab book."""
    text = (ROOT / "docs/lab-book/synthetic-and-an4.md").read_text()
    (found,) = re.findall(rf"^## \S+ {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return str(found)


def reduction(text: str, arm: str, other: str) -> list[float] | None:
    """Reduction of `arm` against `other` in per cent, ends of its intervals by utterances and by speakers.

    The latter are missing in a table of arms. None where the entry has no such row.
    """
    pair = rf"^\| {arm} against {other} \| {NUMBER} {INTERVAL} \| [^|]* \| {INTERVAL}"
    row = re.search(pair, text, re.MULTILINE)
    if row is None and other == "nf4":
        row = re.search(rf"^\| {arm} \|.*\| {NUMBER} {INTERVAL} \| [^|]* \| [^|]* \|$", text, re.MULTILINE)
    return [float(number) for number in row.groups()] if row else None


def draw() -> Figure:
    """A row for each pair of arms, in it a point for each experiment that ran both."""
    figure, (axes,) = style.panels(1, 9.0, 5.4)
    for number, (name, heading) in enumerate(EXPERIMENTS.items()):
        text, colour = entry(heading), COLOURS[number]
        for row, (arm, other) in enumerate(PAIRS):
            found = reduction(text, arm, other)
            if found is None:
                continue
            y = row + 0.18 * (number - 1.5)
            axes.plot(found[3:], [y] * len(found[3:]), color=colour, lw=1.2, solid_capstyle="butt")
            axes.plot(found[1:3], [y, y], color=colour, lw=4.5, solid_capstyle="butt")
            label = name if row == 1 else None
            axes.plot(found[0], y, "o", color="white", markeredgecolor=colour, ms=7, mew=2)
            axes.plot([], [], "o-", color=colour, lw=4.5, mfc="white", mew=2, label=label)
    axes.axvline(0, color=style.INK, lw=1)
    axes.set_yticks(range(len(PAIRS)), PAIRS.values())
    axes.set_ylim(len(PAIRS) - 0.5, -0.5)
    axes.set_xlabel("WER reduction, %")
    axes.legend(loc="lower left")
    style.title(
        figure,
        "Right of the line the first has fewer errors than the second",
        "Scorer released, three seeds, 95 % intervals. Thick: utterances resampled. Thin: speakers, too.",
    )
    return figure


if __name__ == "__main__":
    with style.style():
        draw().savefig(ROOT / "docs/what_was_found.png", dpi=110)
