"""The links of the front page: whatever lies in the experiment's folder, and the commands for the rest."""

import html
import shlex
from pathlib import Path

from saml.runtime import layout

# What there may be: page (pages/<name>.html), table (tables/<name>.csv), figures, and what it is about.
_CONTENTS = (
    ("summary", "summary", ("wer_by_arm", "wer_by_size", "before_after"), "arms: WER, reductions, sizes"),
    ("comparisons", "comparisons", ("reductions",), "arms in pairs"),
    ("speakers", "intervals", ("wer_by_speaker",), "WER by speaker and arm, with intervals"),
    ("counts", "wer", (), "counts by speaker, arm and seed"),
    ("errors", "", ("error_types",), "kinds of error"),
    ("routers", "routers", (), "do routers separate speakers?"),
    ("routing", "routing", ("routing",), "weights by speaker and expert"),
    ("", "", ("loss_curves",), "training"),
    ("sizes", "", ("sizes",), "sizes of files"),
    ("published", "", (), "beside the published figures"),
    ("enrolment", "enrolment", ("enrolment",), "WER by number of training utterances"),
    ("ablation", "ablation", ("ablation",), "the contribution of each component"),
    ("pruning", "pruning", ("pruning",), "fewer experts after adaptation"),
    ("embeddings", "embeddings", ("embeddings",), "encoder outputs by speaker"),
)


def files_parts(results: Path) -> list[str]:
    """Links to the files in `results/<experiment>`, and commands for what is made on demand."""
    lines = []
    for page, csv, figures, about in _CONTENTS:
        links = [
            *(_link(results, f"{layout.PAGES}/{page}.html", "table") if page else ()),
            *(_link(results, f"{layout.TABLES}/{csv}.csv", "CSV") if csv else ()),
            *(link for name in figures for link in _figure(results, name)),
        ]
        if links:
            lines.append(f"<li>{html.escape(about)}: {', '.join(links)}</li>")
    return [
        "<h2>Tables and figures</h2>",
        f"<ul>{''.join(lines)}</ul>",
        "<h2>Everything else</h2>",
        f"<ul>{''.join(f'<li>{line}</li>' for line in _others(results))}</ul>",
    ]


def _figure(results: Path, name: str) -> list[str]:
    return _link(
        results, f"{layout.FIGURES}/{name}.svg", f"figure {name.replace('_', ' ').replace('wer', 'WER')}"
    )


def _link(results: Path, path: str, text: str) -> list[str]:
    """A link to a file or folder of the experiment, if it is there."""
    return [f'<a href="{path}">{html.escape(text)}</a>'] if (results / path).exists() else []


def _others(results: Path) -> list[str]:
    report = "snakemake --report report.html --cores 1"
    lines = {
        "configuration": _link(results, "config.yaml", "config.yaml"),
        "transcripts for sclite and icefall, by arm and scorer": _folder(results, layout.TRANSCRIPTS),
        "a log for each job": _folder(results, layout.LOGS),
        "time and memory of each job": _folder(results, layout.BENCHMARKS),
        "report, a single file to pass on": [
            f"<code>{report}</code> (with the <code>--configfile</code> of the run, if it had one)"
        ],
        "runs in MLflow": [f"<code>saml mlflow {html.escape(shlex.quote(str(results)))}</code>"],
    }
    return [f"{name}: {', '.join(links)}" for name, links in lines.items() if links]


def _folder(results: Path, name: str) -> list[str]:
    return _link(results, f"{name}/", "folder")
