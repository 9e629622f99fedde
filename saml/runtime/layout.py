"""Where an experiment's results lie: the one place that knows the folders below `results/<experiment>`.

Each constant is a folder, relative to the experiment's, in which `{speaker}`, `{arm}`, `{seed}` and so on
stand for a factor of the experiment. The rules of the workflow take the factors as wildcards; `place` fills
them in. `{speaker}` is the name of a folder (`folder_name`), never the id itself.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote

from saml.runtime.errors import SamlError

# Speech: the corpus as a whole, the pools of speakers, each target or tuning speaker.
CORPUS = "data/corpus"
POOL = "data/pools/{role}"
SPEECH = "data/speakers/{speaker}"

# Models: `base` in full precision, `nf4` quantised.
MODEL = "models/{model}"

# Adapters before adaptation, the experts they start from, and where their routers send a speaker's speech.
PRETRAINED = "pretrained/{arm}/seed{seed}"
EXPERTS = f"{PRETRAINED}/experts"
ROUTES = f"{PRETRAINED}/routes/{{speaker}}"

# An arm adapted to a speaker, and its hypotheses; arms without adaptation have the seed 0. HELDOUT has the
# hypotheses of these for held-out speakers.
ADAPTED = "speakers/{speaker}/{arm}/seed{seed}"
HELDOUT = "heldout/{arm}/seed{seed}"

# Folders with ADAPTED in them: adaptation with another number of training utterances, and pruned adapters.
ENROLMENT = "enrolment/{size}"
PRUNED = "pruned/{kept}"
# Of `saml personalise`: the adapters to use, trained on all recordings.
TO_USE = "adapters/{speaker}/{arm}/seed{seed}"
EMBEDDINGS = "embeddings/{speaker}/{arm}/seed{seed}"

# Learning rates on trial: a pre-training, the best of these, an adaptation, losses on unseen sentences.
TUNING = "tuning"
TRIAL_PRETRAINING = f"{TUNING}/{{arm}}/pretraining/lr{{rate}}/seed{{seed}}"
TRIAL_START = f"{TUNING}/{{arm}}/pretrained/seed{{seed}}"
TRIAL_ADAPTATION = f"{TUNING}/{{arm}}/adaptation/lr{{rate}}/{{speaker}}/seed{{seed}}"
TRIAL_LOSSES = f"{TUNING}/{{arm}}/judged-{{kind}}/lr{{rate}}/seed{{seed}}"

# For a person to look at.
TABLES = "tables"
FIGURES = "figures"
PAGES = "pages"
TRANSCRIPTS = "transcripts"
LOGS = "logs"
BENCHMARKS = "benchmarks"

# Checkpoints of jobs that are not done, removed when they are.
WORK = ".work"

# The run records: of most stages; of an adaptation, which decoding takes over; of the tables.
RECORDS = ("run.jsonl", "adaptation.jsonl", "tables.jsonl")
# Folders of results; one of them shows that the folder above is an experiment.
TOP = ("data", "models", "pretrained", "speakers", "heldout", TABLES)

_FACTOR = re.compile(r"\{(\w+)\}")


def folder_name(speaker: str) -> str:
    """The name of a speaker's folder: the id itself where it is safe as one, else percent-encoded.

    Safe are letters, digits, `_`, `.` and `-`, not starting with `.`. Different ids have different names, and
    `speaker_id` turns the name back. Raises SamlError for an empty id.
    """
    if not speaker:
        raise SamlError("a speaker's id is empty; give every utterance a speaker")
    # quote() leaves `~` alone besides the characters above.
    name = quote(speaker, safe="").replace("~", "%7E")
    return "%2E" + name[1:] if name.startswith(".") else name


def speaker_id(name: str) -> str:
    """The speaker whose folder has this name: the inverse of `folder_name`."""
    return unquote(name)


def fill(template: str, **factors: object) -> str:
    """`template` with some of its factors filled in; the others stay.

    Raises:
        KeyError: the template has no such factor.
    """
    for name, value in factors.items():
        if f"{{{name}}}" not in template:
            raise KeyError(f"{template} has no {name}")
        template = template.replace(f"{{{name}}}", str(value))
    return template


def place(results: Path, template: str, *, speaker: str | None = None, **factors: object) -> Path:
    """A folder of the experiment in `results`, all factors filled in.

    Args:
        results: the experiment's folder, or one that is built like it (ENROLMENT, PRUNED).
        template: one of this module's folders.
        speaker: the speaker's id; the folder's name follows from it.
        factors: the template's other factors.

    Raises:
        KeyError: a factor is missing, or the template has no such factor.
    """
    if speaker is not None:
        factors["speaker"] = folder_name(speaker)
    filled = fill(template, **factors)
    missing = _FACTOR.findall(template)
    if left := [name for name in missing if name not in factors]:
        raise KeyError(f"{template}: {', '.join(left)}")
    return results / filled


def pattern(template: str) -> str:
    """A pattern for `Path.glob` that finds the folder for every value of its factors."""
    return _FACTOR.sub("*", template)


def factors(template: str, folder: str) -> dict[str, str] | None:
    """The factors of a folder, relative to the experiment's, that begins as `template` says.

    None where it does not begin so. Folders below are allowed: of `pruned/3/speakers/a/saml/seed1` PRUNED
    gives `{"kept": "3"}`.
    """
    parts = _FACTOR.split(template)
    text = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    found = re.match(f"{text}(?:/|$)", folder)
    return None if found is None else found.groupdict()


def model_name(precision: str) -> str:
    """The `{model}` of an arm's `precision`."""
    return "base" if precision == "fp32" else precision
