"""The key number of an experiment in a sentence: what adaptation gains over full precision.

It is that of the last adapted arm that the configuration lists, so that no score chooses it.
"""

import base64
import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from saml.reporting.wording import caveat, number_of, percent

# The key figure, as a file of the experiment.
KEY_FIGURE = "figures/before_after.svg"


@dataclass(frozen=True)
class KeyNumber:
    """The last adapted arm, and the full-precision one: rows of summary.csv."""

    arm: dict[Any, Any]
    reference: dict[Any, Any]
    adapted: int

    @property
    def sentence(self) -> str:
        """The number with its interval and what it rests on."""
        arm, reference = self.arm, self.reference
        low, high = arm["rel_fp32_low"], arm["rel_fp32_high"]
        significant = "" if low > 0 or high < 0 else ", which is not significant"
        sign = " (negative: more errors)" if arm["rel_fp32"] < 0 else ""
        return (
            f"Adapted to each of {number_of(int(arm['speakers']), 'target speaker')}, {arm['arm']} reaches "
            f"a WER of {percent(arm['wer'])} % instead of {percent(reference['wer'])} % in full precision "
            f"({reference['arm']}): a relative WER reduction of {percent(arm['rel_fp32'])} % "
            f"[{percent(low)}, {percent(high)}]{sign}{significant}."
        )

    @property
    def basis(self) -> str:
        """What the sentence rests on, and what it does not say."""
        arm, reference = self.arm, self.reference
        size, full = arm["model_mb"] + arm["speaker_mb"], reference["model_mb"]
        among = f"The last of {self.adapted} adapted arms, as configured. " if self.adapted > 1 else ""
        return (
            f"{int(arm['words']):,} words, {number_of(int(arm['seeds']), 'seed')}, scorer {arm['scorer']}; "
            f"{size:.1f} MB for one user instead of {full:.1f} MB. {among}Interval: 95 %, paired bootstrap, "
            f"utterances resampled within speakers. {caveat(int(arm['speakers']))}"
        )


def key_number(summary: pd.DataFrame) -> KeyNumber | None:
    """The key number under the first scorer; None without an adapted arm or without a full-precision one."""
    rows = summary[summary["scorer"] == summary["scorer"].iloc[0]]
    adapted = rows[(rows["speaker_mb"] > 0) & rows["rel_fp32"].notna()]
    # Only the full-precision arm is not compared with full precision.
    reference = rows[(rows["speaker_mb"] == 0) & rows["rel_fp32"].isna()]
    if adapted.empty or reference.empty:
        return None
    return KeyNumber(adapted.to_dict("records")[-1], reference.to_dict("records")[0], len(adapted))


def key_sentences(number: KeyNumber | None) -> list[str]:
    """The sentence and what it rests on, as HTML."""
    if number is None:
        return ['<p class="key">No adapted arm is compared with full precision.</p>']
    return [
        f'<p class="key"><strong>{html.escape(number.sentence)}</strong></p>',
        f'<p class="note">{html.escape(number.basis)}</p>',
    ]


def key_figure(address: str) -> str:
    """The key figure as HTML, a link to itself."""
    return f'<p class="figure"><a href="{address}">{_image(address)}</a></p>'


def key_fragment(number: KeyNumber | None, figure: Path) -> bytes:
    """Sentences and figure without a page around them, for the front of Snakemake's report."""
    inside = f"data:image/svg+xml;base64,{base64.b64encode(figure.read_bytes()).decode()}"
    parts = ['<meta charset="utf-8">', *key_sentences(number), f"<p>{_image(inside)}</p>", ""]
    return "\n".join(parts).encode()


def _image(address: str) -> str:
    about = "WER of each speaker before and after adaptation"
    return f'<img src="{address}" alt="{about}" style="max-width: 100%">'
