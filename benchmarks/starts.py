"""From which start do speakers get the better adapter: a shipped one, or nothing?

Reads verdict.json of `saml personalise ... --arms pqm nf4-lora`, run on the recordings of several speakers,
and pools word errors over them. Every arm has the same sentences, each decoded by an adapter that has not
heard it. Of several folders, adapted from the same recordings, the arms stand beside each other, named
`<arm> in <folder>`. Without --personalised it says so and ends.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saml.evaluation.bootstrap import interval, p_value, relative_reductions, resampled_sums
from saml.reporting.print_tables import aligned

DRAWS = 10_000
REFERENCE = "nf4"


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--personalised", type=Path, nargs="+", default=[], help="folders --out of `saml personalise`"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap (1)")
    options = parser.parse_args(given)
    if not options.personalised:
        print("starts: left out; it wants --personalised, a folder that `saml personalise` wrote")
        return
    print("\n".join(report(_verdicts(options.personalised), options.seed)))


def _verdicts(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The verdicts of all folders; where there are several, their arms are named with their folders."""
    verdicts = []
    for folder in folders:
        for verdict in json.loads((folder / "verdict.json").read_text(encoding="utf-8")):
            if len(folders) > 1:
                named = f"{verdict['arm']} in {folder}"
                for counts in (verdict["errors"], verdict["looped"]):
                    counts[named] = counts.pop(verdict["arm"])
                verdict["arm"] = named
            verdicts.append(verdict)
    return verdicts


def report(verdicts: Sequence[Mapping[str, Any]], seed: int) -> list[str]:
    """Errors of each arm over all speakers; each adapted arm against NF4 and the arms before it."""
    own: dict[str, dict[str, Mapping[str, Any]]] = {}
    for verdict in verdicts:
        own.setdefault(verdict["speaker"], {})[verdict["arm"]] = verdict
    arms = list(dict.fromkeys(verdict["arm"] for verdict in verdicts))
    complete = [by_arm for by_arm in own.values() if len(by_arm) == len(arms)]
    words = sum(by_arm[arms[0]]["words"] for by_arm in complete)
    rows = [["arm", "errors", "WER %", "looped", "use it", "no difference", "do not use it"]]
    for arm in dict.fromkeys([*complete[0][arms[0]]["errors"], *arms]):
        chosen = [by_arm.get(arm, by_arm[arms[0]]) for by_arm in complete]
        wrong = sum(verdict["errors"][arm] for verdict in chosen)
        looped = sum(verdict["looped"][arm] for verdict in chosen)
        said = [verdict["recommendation"] for verdict in chosen] if arm in arms else []
        counts = [str(said.count(kind)) if said else "" for kind in rows[0][4:]]
        rows.append([arm, str(wrong), f"{100 * wrong / words:.1f}", str(looped), *counts])
    tables = [_errors(by_arm, arms) for by_arm in complete]
    sentences = sum(map(len, tables))
    lines = [f"{len(complete)} speakers, {sentences} recordings, {words} words", "", *aligned(rows), ""]
    names = [REFERENCE, *arms]
    for second in range(1, len(names)):
        for first in range(second):
            lines.append(f"{names[second]} against {names[first]}: {_against(tables, first, second, seed)}")
    return lines


def _errors(by_arm: Mapping[str, Mapping[str, Any]], arms: Sequence[str]) -> Any:
    """A speaker's word errors, `(sentences, 1 + arms)`: of NF4 without an adapter, then of each arm."""
    heard = [[one["utterance"] for one in by_arm[arm]["sentences"]] for arm in arms]
    if any(names != heard[0] for names in heard):
        raise SystemExit(f"starts: {by_arm[arms[0]]['speaker']} was adapted from different recordings")
    before = [one["errors_before"] for one in by_arm[arms[0]]["sentences"]]
    after = [[one["errors_after"] for one in by_arm[arm]["sentences"]] for arm in arms]
    return np.array([before, *after], dtype=np.int64).T


def _against(tables: Sequence[Any], first: int, second: int, seed: int) -> str:
    """The reduction of the second column's errors, both intervals, p, and speakers better, worse, equal."""
    totals = sum(table.sum(axis=0) for table in tables)
    value = 100 * (totals[first] - totals[second]) / totals[first]
    parts = [f"reduction {value:.1f}"]
    for speakers in (False, True):
        sums = resampled_sums(tables, draws=DRAWS, seed=seed, speakers=speakers)
        ends = interval(relative_reductions(sums[:, first], sums[:, second]))
        parts.append(f"{'by speakers ' * speakers}[{100 * ends.low:.1f}, {100 * ends.high:.1f}]")
        if not speakers:
            parts.append(f"p = {p_value(sums[:, first], sums[:, second]):.2g},")
    change = [int(table[:, first].sum() - table[:, second].sum()) for table in tables]
    better, worse = sum(one > 0 for one in change), sum(one < 0 for one in change)
    return (
        " ".join(parts) + f"; speakers {better} better, {worse} worse, {len(change) - better - worse} equal"
    )


if __name__ == "__main__":
    main()
