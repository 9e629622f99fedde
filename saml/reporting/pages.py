"""Tables as HTML pages: rates in per cent with their intervals, one section per scorer.

A page is a single HTML file without external resources, so that it opens in Snakemake's report and alone. It
contains its table as CSV, for download. A click on a heading sorts its table.
"""

import base64
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saml.evaluation.wer import OPERATIONS
from saml.reporting.html_page import document, in_frame
from saml.reporting.wording import better_worse_equal, p_value, pair, percent, with_interval
from saml.runtime.files import write_atomically

# A page's sections: heading to table.
Sections = Mapping[str, pd.DataFrame]


def write_page(path: Path, title: str, note: str, sections: Sections, data: pd.DataFrame) -> None:
    """Write a page: `title`, an explanatory `note`, `sections`, and `data` for download."""
    text = data.to_csv(index=False, lineterminator="\n").encode()
    link = f"data:text/csv;base64,{base64.b64encode(text).decode()}"
    body = [f"<h1>{html.escape(title)}</h1>", f'<p class="note">{html.escape(note)}</p>']
    body += section_parts(sections)
    body.append(f'<p><a download="{path.stem}.csv" href="{link}">download as CSV</a></p>')
    write_atomically(path, document(title, body))


def section_parts(sections: Sections) -> list[str]:
    """Headings and tables as HTML."""
    parts = []
    for heading, rows in sections.items():
        parts.append(f"<h2>{html.escape(heading)}</h2>" if heading else "")
        text = rows.to_html(index=False, border=0, na_rep="-", justify="unset", classes=["sortable"])
        parts.append(in_frame(text))
    return parts


def summary_sections(summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The results of each arm; how outputs look only where it says something."""
    looped, formatted = (bool(summary[name].any()) for name in ("looped", "formatted"))
    return _per_scorer(
        summary,
        lambda row: {
            "arm": row["arm"],
            "WER, %": percent(row["wer"]),
            "held-out WER, %": percent(row["wer_heldout"]),
            **({"looped": str(int(row["looped"]))} if looped else {}),
            **({"formatted, %": percent(row["formatted"])} if formatted else {}),
            "reduction vs fp32, %": with_interval(row, "rel_fp32"),
            "p vs fp32": p_value(row["p_fp32"]),
            "reduction vs nf4, %": with_interval(row, "rel_nf4"),
            "p vs nf4": p_value(row["p_nf4"]),
            "model, MB": f"{row['model_mb']:.2f}",
            "per speaker, MB": f"{row['speaker_mb']:.2f}",
            "times smaller": f"{row['ratio_fp32']:.2f}",
        },
    )


def comparison_sections(comparisons: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Arms in pairs, with both intervals."""
    return _per_scorer(
        comparisons,
        lambda row: {
            "arms": pair(row),
            "reduction, % [utterances resampled]": with_interval(row, "rel"),
            "p": p_value(row["p"]),
            "[speakers too]": f"[{percent(row['rel_speakers_low'])}, {percent(row['rel_speakers_high'])}]",
            "speakers better, worse, equal": better_worse_equal(row),
        },
    )


def interval_sections(intervals: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """One row per speaker, one column per arm; all speakers pooled first."""
    arms = list(dict.fromkeys(intervals["arm"]))
    sections = {}
    for scorer, rows in _scorers(intervals):
        cells = rows.assign(cell=[with_interval(row, "wer") for row in rows.to_dict("records")])
        names = list(dict.fromkeys(cells["speaker"]))
        wide = cells.pivot(index="speaker", columns="arm", values="cell").loc[names, arms]
        wide = wide.rename_axis(columns=None)
        wide.insert(0, "speaker", [name or "all" for name in names])
        sections[scorer] = wide
    return sections


def error_sections(wer: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Kinds of error per 100 words of the reference, by arm."""
    sections = {}
    for scorer, counts in _scorers(wer):
        rows = []
        for arm in dict.fromkeys(counts["arm"]):
            total = counts.loc[counts["arm"] == arm, ["words", *OPERATIONS]].sum()
            shares = {kind: f"{100 * total[kind] / total['words']:.1f}" for kind in OPERATIONS}
            rate = sum(int(total[kind]) for kind in OPERATIONS if kind != "hits") / total["words"]
            rows.append({"arm": arm, "words": int(total["words"]), **shares, "WER, %": percent(rate)})
        sections[scorer] = pd.DataFrame(rows)
    return sections


def count_sections(wer: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Counts of each speaker, arm and seed, sorted by speaker."""
    order = list(dict.fromkeys(wer["speaker"]))
    by_speaker = wer.sort_values("speaker", key=lambda names: names.map(order.index), kind="stable")
    return _per_scorer(
        by_speaker,
        lambda row: {
            **{name: row[name] for name in ("speaker", "arm", "seed", "utterances", "words", *OPERATIONS)},
            "WER, %": percent(row["wer"]),
            "CER, %": percent(row["cer"]),
        },
    )


def size_sections(summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Megabytes of each arm."""
    first = summary[summary["scorer"] == summary["scorer"].iloc[0]]
    rows = [
        {
            "arm": row["arm"],
            "model, MB": f"{row['model_mb']:.3f}",
            "per speaker, MB": f"{row['speaker_mb']:.3f}",
            "total, MB": f"{row['model_mb'] + row['speaker_mb']:.3f}",
            "times smaller than fp32": f"{row['ratio_fp32']:.2f}",
        }
        for row in first.to_dict("records")
    ]
    return {"": pd.DataFrame(rows)}


def enrolment_sections(enrolment: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Arms by number of training utterances."""
    return _per_scorer(
        enrolment,
        lambda row: {
            "arm": row["arm"],
            "training utterances": f"{row['train_utterances']:.3g}",
            "WER, %": with_interval(row, "wer"),
            **_against(row),
        },
    )


def ablation_sections(ablation: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Arms by question."""
    return _per_scorer(
        ablation,
        lambda row: {
            "question": row["question"],
            "arm": row["arm"],
            "experts": row["experts"] or "-",
            "rank": row["rank"] or "-",
            "parameters": f"{row['parameters']:,}",
            "trained in adaptation": f"{row['trained']:,}",
            "per speaker, MB": f"{row['speaker_mb']:.2f}",
            "WER, %": with_interval(row, "wer"),
            **_against(row),
        },
    )


def pruning_sections(pruning: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Numbers of experts by arm, the whole mixture first."""
    return _per_scorer(
        pruning,
        lambda row: {
            "arm": row["arm"],
            "experts kept": "one LoRA" if row["kept"] == "collapsed" else row["kept"],
            "router weight kept, %": percent(row["share"]),
            "per speaker, MB": f"{row['speaker_bytes'] / 1e6:.3f}",
            "WER, %": with_interval(row, "wer"),
            "reduction vs the whole mixture, %": with_interval(row, "rel"),
            "p": p_value(row["p"]),
        },
    )


def embedding_sections(embeddings: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Silhouettes by arm, seed and adapter."""
    rows = [
        {
            "arm": row["arm"],
            "seed": row["seed"],
            "adapter": row["adapter"],
            "utterances": row["utterances"],
            "silhouette": _three_decimals(row["silhouette"]),
            "silhouette on the map": _three_decimals(row["silhouette_map"]),
        }
        for row in embeddings.to_dict("records")
    ]
    return {"": pd.DataFrame(rows)}


def router_sections(routers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Kinds of router by arm and seed."""
    rows = [
        {
            "arm": row["arm"],
            "seed": row["seed"],
            "router": row["kind"],
            "effective experts": f"{row['effective']:.2f} of {row['experts']}",
            "variance explained by speaker, %": percent(row["explained"]),
            "p": p_value(row["p"]),
            "speaker classification accuracy, %": percent(row["accuracy"]),
            "chance, %": percent(row["chance"]),
        }
        for row in routers.to_dict("records")
    ]
    return {"": pd.DataFrame(rows)}


def routing_sections(routing: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Per cent of the weight by speaker (rows) and expert (columns), a section per arm, seed and layer."""
    sections = {}
    for names, rows in routing.groupby(["arm", "seed", "layer"], sort=False):
        arm, seed, layer = names
        order = list(dict.fromkeys(rows["speaker"]))
        wide = 100 * rows.pivot(index="speaker", columns="expert", values="weight").loc[order]
        text = wide.map("{:.1f}".format).rename_axis(columns=None)
        text.insert(0, "speaker", order)
        effective = rows.drop_duplicates("speaker").set_index("speaker")["effective"].loc[order]
        text["effective experts"] = [f"{value:.2f}" for value in effective]
        sections[f"{arm}, seed {seed}, {layer}"] = text
    return sections


def _three_decimals(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _against(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells of a comparison with the arm `reference`, which may be empty."""
    return {
        "against": row["reference"] or "-",
        "reduction, % [utterances resampled]": with_interval(row, "rel"),
        "p": p_value(row["p"]),
        "speakers better, worse, equal": better_worse_equal(row) if row["reference"] else "-",
    }


def _per_scorer(table: pd.DataFrame, cells: Any) -> dict[str, pd.DataFrame]:
    """A section per scorer, with a row of `cells(row)` for each row of the table."""
    return {
        scorer: pd.DataFrame([cells(row) for row in rows.to_dict("records")])
        for scorer, rows in _scorers(table)
    }


def _scorers(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The heading and the rows of each scorer."""
    names: Sequence[str] = list(dict.fromkeys(table["scorer"]))
    for scorer in names:
        yield f"scorer: {scorer}", table[table["scorer"] == scorer]
