"""Stages of preparation, run on a small corpus of type `folder`."""

import copy
import hashlib
from pathlib import Path

from saml.stages import prepare as stages

SETTINGS = {
    "corpus": {
        "name": "folder",
        "on_bad_utterance": "error",
        "min_seconds": 0.2,
        "max_seconds": 2.0,
        "folder": {
            "root": "mine",
            "manifest": "manifest.tsv",
            "roles": {},
            "dev_share": 0.25,
            "heldout_utterances": None,
            "synthetic_speech": {"voices": 0},
            "seed": 1,
        },
    },
    "base_training": {"speed_perturbation": None},
    "model": {"family": "conformer", "conformer": {"characters": " 'abcdefghijklmnopqrstuvwxyz"}},
    "partition": {"scheme": "contiguous", "folds": 5, "seed": 1},
}


def edit_manifest(old, new):
    path = Path("mine/manifest.tsv")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run(stage, folder, settings=SETTINGS, **options):
    """Run a stage with the files it has in an experiment's folder."""
    folder = Path(folder)
    corpus = {name: folder / f"corpus/{name}.jsonl.gz" for name in ("recordings", "supervisions")}
    if stage == "corpus":
        place, own = folder / "corpus", {"audio": folder / "corpus/audio"}
        function = stages.prepare_corpus
    elif stage == "pool":
        place = folder / "pools" / options["role"]
        own = {"cuts": place / "cuts.jsonl.gz", "features": place / "features.bin"}
        function = stages.prepare_pool
    else:
        place = folder / "speakers" / options["speaker"]
        own = {
            "cuts": place / "cuts.jsonl.gz",
            "features": place / "features.bin",
            "splits": place / "splits.json",
            "audio": place / "audio",
        }
        function = stages.prepare_speaker
    function(
        experiment="test",
        settings=settings,
        **corpus,
        **own,
        **options,
        dropped=place / "dropped.tsv",
        record=place / "run.jsonl",
    )
    return place


def changed(**corpus):
    settings = copy.deepcopy(SETTINGS)
    settings["corpus"] |= corpus
    return settings


def digests(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != "run.jsonl")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
