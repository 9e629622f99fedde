"""The stages choose-start (after the pre-trainings) and choose-rates (after all trials).

Both read the records of judge-rate and need no model.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from saml.corpora.registry import folder_name
from saml.reporting.csv_tables import write_table
from saml.runtime.files import write_atomically
from saml.tracking import RunRecord, read_record
from saml.tuning.ranking import Row, Trial, best_rate, choose, losses_by_speaker, mean_loss
from saml.tuning.rates import PRETRAINING, judged, pretraining_trial, rate_name, rates_of
from saml.tuning.trial import SCORE, write_diverged

_HEAD = """\
# Learning rates that `snakemake tune` chose, without any target speaker; {table} has all losses.
# Pass this file after the configuration (--configfile ... {name}), or copy its entries into it.
"""


def choose_start(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    results: Path,
    out_adapter: Path,
    out_description: Path,
    record: Path,
    corpus: str | None = None,
) -> None:
    """Copy an arm's best pre-trained adapter, from which its adaptation trials start.

    Where every rate diverged, the adapter is an empty file, and trials that start from it count as diverged.

    Args:
        experiment: name of the experiment.
        settings: of the config's section `tuning` the keys `grid` and `speakers`.
        arm: name of the arm.
        seed: of the pre-trainings.
        results: `results/<experiment>`, with the pre-trainings and the records of judge-rate.
        out_adapter: output.
        out_description: output, its JSON.
        record: output, the run record: the mean loss at each rate.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: a pre-training has not been judged, or its record is damaged.
    """
    run = RunRecord(
        stage="choose-start", experiment=experiment, arm=arm, seed=seed, settings=settings, corpus=corpus
    )
    tuning = settings["tuning"]
    folders = {rate: pretraining_trial(results, arm, rate, seed) for rate in tuning["grid"]}
    losses = {
        rate: mean_loss(_losses(results, arm, PRETRAINING, rate, seed, tuning["speakers"]))
        for rate in folders
    }
    best = best_rate(losses)
    if best is None:
        write_diverged(out_adapter, out_description)
        run.score(SCORE, 1.0)
    else:
        write_atomically(out_adapter, (folders[best] / "adapter.safetensors").read_bytes())
        write_atomically(out_description, (folders[best] / "adapter.json").read_bytes())
        run.score("rate", best)
    for rate, loss in losses.items():
        run.score(f"lr{rate_name(rate)}/loss", loss)
    run.write(record)


def choose_rates(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    results: Path,
    rates: Path,
    fragment: Path,
    record: Path,
    corpus: str | None = None,
) -> None:
    """Write the table of all rates, and the chosen rates as a configuration file.

    Args:
        experiment: name of the experiment.
        settings: the config's section `tuning`, and `arms`: the arms that were tuned with their stages, such
            as {"saml": ["pretraining", "adaptation"]}.
        results: `results/<experiment>`, with the trials.
        rates: output, the table.
        fragment: output, YAML that is merged over a configuration; without the stages of which every rate
            diverged.
        record: output, the run record.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: a trial has not been judged, or its record is damaged.
    """
    run = RunRecord(stage="choose-rates", experiment=experiment, settings=settings, corpus=corpus)
    rows = choose(_trials(results, settings["arms"], settings["tuning"]))
    write_table(rates_table(rows), rates)
    text = yaml.safe_dump({"arms": chosen_rates(rows)}, sort_keys=False)
    write_atomically(fragment, (_HEAD.format(table=rates.name, name=fragment.name) + text).encode())
    for row in rows:
        if math.isfinite(row.loss):
            run.score(f"{row.arm}/{row.stage}/lr{rate_name(row.rate)}/loss", row.loss)
        if row.chosen:
            run.score(f"{row.arm}/{row.stage}/rate", row.rate)
    for path in (rates, fragment):
        run.file(path)
    run.write(record)


def rates_table(rows: Sequence[Row]) -> pd.DataFrame:
    """rates.csv as a data frame; true and false are 1 and 0, a missing loss is empty."""
    columns = ["arm", "stage", "rate", "loss", "speakers", "diverged", "chosen", "edge"]
    cells = [
        # The rate as text: six decimals would truncate it.
        [r.arm, r.stage, rate_name(r.rate), r.loss, r.speakers, r.diverged, int(r.chosen), int(r.edge)]
        for r in rows
    ]
    return pd.DataFrame(cells, columns=columns)


def chosen_rates(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The chosen rates as entries of the config's `arms`."""
    arms: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.chosen:
            arms.setdefault(row.arm, {})[row.stage] = {"learning_rate": rates_of(row.rate, row.stage)}
    return arms


def _trials(results: Path, arms: Mapping[str, Sequence[str]], tuning: Mapping[str, Any]) -> Iterator[Trial]:
    """The loss of every rate, arm and stage on every tuning speaker."""
    for arm, stages in arms.items():
        for rate in tuning["grid"]:
            for stage in stages:
                for loss in _losses(results, arm, stage, rate, tuning["seed"], tuning["speakers"]):
                    yield Trial(arm, stage, rate, loss)


def _losses(
    results: Path, arm: str, stage: str, rate: float, seed: int, speakers: Sequence[str]
) -> list[float]:
    """The losses that judge-rate recorded for an arm, stage and rate, one per tuning speaker."""
    path = judged(results, arm, stage, rate, seed) / "run.jsonl"
    return losses_by_speaker(read_record(path), map(folder_name, speakers), path)
