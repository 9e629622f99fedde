"""What the flags of several commands have in common: kinds of values, paths, threads, names."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saml.runtime.errors import SamlError

# What each path flag is, for --help. A command lists the names of its own.
PATHS = {
    "recordings": "lhotse recordings (jsonl.gz)",
    "supervisions": "lhotse supervisions (jsonl.gz)",
    "dropped": "table of utterances left out (tsv)",
    "audio": "folder for waveforms that are synthesised or converted",
    "cuts": "lhotse cuts with features (jsonl.gz)",
    "labelled": "the same cuts with labels for their texts (jsonl.gz)",
    "features": "archive of features",
    "splits": "a target speaker's train, dev and test utterances (json)",
    "heldout-cuts": "cuts of the held-out pool",
    "weights": "model to read (safetensors)",
    "description": "its description (json)",
    "adapter": "adapter to read (safetensors)",
    "adapter-description": "its description (json)",
    "experts": "initialised experts to start from (safetensors)",
    "experts-description": "their description (json)",
    "adaptation-record": "run record of the adaptation, taken over",
    "tables-record": "run record of the tables, taken over",
    "out-weights": "model to write (safetensors)",
    "out-adapter": "adapter to write (safetensors)",
    "out-description": "description to write (json)",
    "hypotheses": "hypotheses with counts (jsonl)",
    "routes": "weights of each utterance, layer and expert (csv)",
    "pretrained": "the adapter before adaptation (safetensors)",
    "pretrained-description": "its description (json)",
    "embeddings": "encoder outputs of each utterance, the mean over frames (csv)",
    "results": "an experiment's folder, results/<experiment>",
    "wer": "table of word error rates by arm, speaker and seed (csv)",
    "summary": "table of arms (csv)",
    "index": "front page of the results (html)",
    "key": "key number and figure (html)",
    "comparisons": "table of pairs of arms (csv)",
    "intervals": "table of word error rates with intervals, by arm and by speaker (csv)",
    "routing": "table of mean weights by speaker and expert (csv)",
    "routers": "table of routers, and how well they tell speakers apart (csv)",
    "enrolment": "table of word error rates by number of training utterances (csv)",
    "ablation": "table of word error rates by question and arm (csv)",
    "pruning": "table of word error rates by number of experts kept (csv)",
    "silhouettes": "table of how well encoder outputs keep speakers apart (csv)",
    "rates": "table of losses by learning rate (csv)",
    "fragment": "the chosen learning rates, to lay over a configuration (yaml)",
    "output-dir": "folder for figures",
    "transcripts": "folder for transcripts, a folder for each arm and scorer in it",
    "pages": "folder for tables as pages (html)",
    "work": "folder for checkpoints, removed when the job is done",
    "record": "run record to write (jsonl)",
}


def json_object(text: str) -> dict[str, Any]:
    """A JSON object given on the command line, or in a file as @path; the same in YAML will do.

    A key that is not there is an error that names it.
    """
    try:
        written = Path(text[1:]).read_text("utf-8") if text.startswith("@") else text
        content = _parsed(written)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: cannot read this file ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not a JSON object: {error}") from None
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return _with_path(content, "")


def _parsed(text: str) -> Any:
    """The content of JSON, or of YAML. Raises ValueError if it is neither."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as wrong:
        # Only here: --help needs no YAML, and starts faster without.
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            raise wrong from None


class _Object(dict[str, Any]):
    """A mapping in a JSON object; a key that is missing is the user's error, with its key path."""

    def __init__(self, content: dict[str, Any], path: str) -> None:
        super().__init__({key: _with_path(value, f"{path}{key}.") for key, value in content.items()})
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise SamlError(f"{self._path}{key}: this key is missing in the JSON object")


def _with_path(value: Any, path: str) -> Any:
    """A JSON value whose mappings know their key path."""
    return _Object(value, path) if isinstance(value, dict) else value


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def not_negative(text: str) -> float:
    """A number of 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return number


def add_paths(command: argparse.ArgumentParser, names: Sequence[str], *, required: bool = True) -> None:
    """Add the path flags with these names of `PATHS`.

    One that is not required may stand without a path, which is as good as absent: rules name every flag.
    """
    for name in names:
        kind: dict[str, Any] = {"required": True} if required else {"nargs": "?"}
        command.add_argument(f"--{name}", type=Path, metavar="PATH", help=PATHS[name], **kind)


def add_names(command: argparse.ArgumentParser) -> None:
    """Add the names that a run record holds beside the experiment's."""
    command.add_argument("--corpus", help="name of the corpus, for the run record")
    command.add_argument("--family", help="family of the recogniser, for the run record")


def add_threads(command: argparse.ArgumentParser) -> None:
    """Add --threads, which `dispatch.run` takes away again."""
    command.add_argument(
        "--threads",
        type=positive,
        default=1,
        help="threads of this job; results depend on it (default 1)",
    )
