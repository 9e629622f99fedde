"""Somebody's own recordings, on the models of an experiment that has run: adapt, and say what it brought.

`saml personalise` trains nothing but adapters. It runs the stages that Snakemake would run for a target
speaker (prepare-corpus, prepare-speaker, adapt, decode), with the experiment's own settings and models, and
lays their outputs out as any experiment has them. Cross-validation says what an adapter is worth; the one to
use is then trained without keeping anything for a test. The experiment stays as it is.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saml.config.load import load, save, stage_settings
from saml.corpora.folder import read_rows
from saml.corpora.registry import folder_name
from saml.corpora.splits import split_for_use
from saml.evaluation.wer import error_rate, pool
from saml.reporting.hypotheses import read_lines
from saml.reporting.print_tables import aligned
from saml.reporting.wording import percent
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object
from saml.stages.adapt import adapt
from saml.stages.decode import decode
from saml.stages.prepare import prepare_corpus, prepare_speaker, write_splits

Config = Mapping[str, Any]

# In the repository, where the command is run as Snakemake is.
DEFAULTS = Path("config/config.yaml")


def personalise(
    *,
    results: Path,
    recordings: Path,
    out: Path,
    speakers: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    folds: int = 5,
    seed: int | None = None,
) -> None:
    """Adapt arms of an experiment to speakers of a folder, and print their word error rates before and after.

    Each speaker and arm gets two adapters: one with a state for each fold, which gives the word error rates,
    and one to use, which has heard all recordings: all but a fold's worth train it, those choose its epoch.

    Args:
        results: results/<experiment>, with its models and (for arms that are pre-trained) adapters.
        recordings: a folder with a manifest.tsv, as the corpus `folder` has it; roles play no part.
        out: folder to write: `speakers/<speaker>/<arm>/seed<seed>/` has the tested adapter, hypotheses and
            run record, `adapters/<speaker>/<arm>/seed<seed>/` the adapter to use and its record.
        speakers: whom to adapt to; None: everybody in the manifest.
        arms: adapted arms of the experiment's configuration; None: all of its run_arms.
        folds: each recording is test once, so many times a part of the recordings is left to train on.
        seed: which of the experiment's seeds; None: its first.

    Raises:
        SamlError: something of the experiment is missing, or the recordings cannot be used.
    """
    config = _configuration(results, recordings, out, folds)
    arms = _arms(config, arms)
    seed = config["seeds"][0] if seed is None else seed
    for arm in arms:
        _refuse_missing(results, config["arms"][arm], arm, seed)
    spoken = list(dict.fromkeys(row.speaker for row in read_rows(config["corpus"]["folder"])))
    unknown = sorted(set(speakers or ()) - set(spoken))
    if unknown:
        raise SamlError(f"speaker {unknown[0]} is not in the manifest; it has {', '.join(spoken)}")
    bare = [name for name in config["run_arms"] if not config["arms"][name]["adapted"]]
    config |= {"target_speakers": list(speakers or spoken), "run_arms": [*bare, *arms], "seeds": [seed]}
    save(config, out / "config.yaml")
    _prepare_corpus(config, out)
    for speaker in config["target_speakers"]:
        _prepare_speaker(config, out, speaker)
        tested, to_use = (_data(out, speaker) / name for name in ("splits.json", "use.json"))
        for arm in arms:
            record = "adaptation.jsonl"
            _adapt(config, results, arm, speaker, seed, tested, _folder(out, speaker, arm, seed) / record)
        rows = [(arm, _decode(config, results, out, arm, speaker, 0)) for arm in bare]
        rows += [(arm, _decode(config, results, out, arm, speaker, seed)) for arm in arms]
        print("\n".join(["", *_report(speaker, rows, config["scoring"]["scorers"])]))
        print(f"{speaker}: now with all recordings, the adapters to use", file=sys.stderr)
        _split_for_use(config, speaker, tested, to_use)
        for arm in arms:
            _adapt(
                config, results, arm, speaker, seed, to_use, _to_use(out, speaker, arm, seed) / "run.jsonl"
            )
    print(f"\nAdapters to use  {out}/adapters/<speaker>/<arm>/seed{seed}/adapter.safetensors")


def _configuration(results: Path, recordings: Path, out: Path, folds: int) -> dict[str, Any]:
    """The experiment's configuration, but speech from `recordings` and cross-validation on all of it."""
    if not (results / "config.yaml").is_file():
        raise SamlError(f"{results}: no config.yaml: this is no experiment that has run; run it first")
    if (out / "models").exists():
        raise SamlError(f"{out}: an experiment with models of its own lies there; choose another --out")
    # An experiment of an older version may lack keys that there are now.
    config = load([path for path in (DEFAULTS, results / "config.yaml") if path.is_file()])
    corpus = config["corpus"]
    own = {
        "root": str(recordings),
        "manifest": "manifest.tsv",
        "roles": {role: [] for role in ("base", "pretrain", "heldout")},
        "dev_share": 0.0,
        "heldout_utterances": None,
        "seed": 0,
    }
    shared = {key: value for key, value in corpus.items() if not isinstance(value, Mapping)}
    config["corpus"] = {**shared, "name": "folder", "folder": own}
    seed = config["partition"]["seed"]
    config["partition"] = {"scheme": "folds", "folds": folds, "seed": seed, "enrolment": None}
    config["experiment"] = out.name
    return config


def _arms(config: Config, wanted: Sequence[str] | None) -> list[str]:
    adapted = [name for name, arm in config["arms"].items() if arm["adapted"]]
    if wanted is None:
        return [name for name in config["run_arms"] if name in adapted]
    for name in wanted:
        if name not in adapted:
            raise SamlError(
                f"--arms: {name} is no adapted arm of this experiment; it has {', '.join(adapted)}"
            )
    return list(wanted)


def _refuse_missing(results: Path, arm: Config, name: str, seed: int) -> None:
    needed = list(_model(results, arm))
    if arm.get("pretrained", False):
        needed += _pretrained(results, name, seed)
    for path in needed:
        if not path.is_file():
            raise SamlError(
                f"{path}: arm {name} needs this file; let the experiment make it: "
                f"snakemake --cores all {path} (with the experiment's --configfile)"
            )


def _model(results: Path, arm: Config) -> tuple[Path, Path]:
    folder = results / "models" / ("base" if arm["precision"] == "fp32" else "nf4")
    return folder / "model.safetensors", folder / "model.json"


def _pretrained(results: Path, arm: str, seed: int) -> tuple[Path, Path]:
    folder = results / "pretrained" / arm / f"seed{seed}"
    return folder / "adapter.safetensors", folder / "adapter.json"


def _prepare_corpus(config: Config, out: Path) -> None:
    folder = out / "data" / "corpus"
    prepare_corpus(
        experiment=config["experiment"],
        settings=stage_settings(config, ["corpus"]),
        recordings=folder / "recordings.jsonl.gz",
        supervisions=folder / "supervisions.jsonl.gz",
        dropped=folder / "dropped.tsv",
        audio=folder / "audio",
        record=folder / "run.jsonl",
    )


def _prepare_speaker(config: Config, out: Path, speaker: str) -> None:
    corpus, folder = out / "data" / "corpus", _data(out, speaker)
    prepare_speaker(
        experiment=config["experiment"],
        speaker=speaker,
        settings=stage_settings(config, ["corpus", "model", "partition"]),
        recordings=corpus / "recordings.jsonl.gz",
        supervisions=corpus / "supervisions.jsonl.gz",
        cuts=folder / "cuts.jsonl.gz",
        features=folder / "features.bin",
        splits=folder / "splits.json",
        dropped=folder / "dropped.tsv",
        audio=folder / "audio",
        record=folder / "run.jsonl",
    )


def _split_for_use(config: Config, speaker: str, tested: Path, to_use: Path) -> None:
    """Write the splits of the adapter to use, from those of the tested one."""
    fold = read_json_object(tested)["folds"][0]
    utterances = [utterance for part in fold.values() for utterance in part]
    write_splits(split_for_use(speaker, utterances, config["partition"]), to_use)


def _adapt(
    config: Config, results: Path, arm: str, speaker: str, seed: int, splits: Path, record: Path
) -> None:
    """The adapter of `splits`, beside `record`."""
    weights, description = _model(results, config["arms"][arm])
    start: tuple[Path | None, Path | None] = (None, None)
    if config["arms"][arm].get("pretrained", False):
        start = _pretrained(results, arm, seed)
    adapt(
        experiment=config["experiment"],
        settings=stage_settings(config, ["arm", "adapters", "adaptation", "partition.enrolment"], arm),
        arm=arm,
        speaker=speaker,
        seed=seed,
        weights=weights,
        description=description,
        cuts=splits.parent / "cuts.jsonl.gz",
        splits=splits,
        out_adapter=record.parent / "adapter.safetensors",
        out_description=record.parent / "adapter.json",
        record=record,
        adapter=start[0],
        adapter_description=start[1],
        corpus="folder",
    )


def _decode(
    config: Config, results: Path, out: Path, arm: str, speaker: str, seed: int
) -> list[dict[str, Any]]:
    """The hypotheses, as read from the file that was written."""
    weights, description = _model(results, config["arms"][arm])
    adapted = config["arms"][arm]["adapted"]
    folder = _folder(out, speaker, arm, seed)
    decode(
        experiment=config["experiment"],
        settings=stage_settings(config, ["arm", "decoding", "scoring.scorers"], arm),
        arm=arm,
        seed=seed,
        weights=weights,
        description=description,
        hypotheses=folder / "hypotheses.jsonl",
        record=folder / "run.jsonl",
        speaker=speaker,
        cuts=_data(out, speaker) / "cuts.jsonl.gz",
        splits=_data(out, speaker) / "splits.json",
        adapter=folder / "adapter.safetensors" if adapted else None,
        adapter_description=folder / "adapter.json" if adapted else None,
        adaptation_record=folder / "adaptation.jsonl" if adapted else None,
        corpus="folder",
    )
    return list(read_lines(folder / "hypotheses.jsonl"))


def _data(out: Path, speaker: str) -> Path:
    return out / "data" / "speakers" / folder_name(speaker)


def _folder(out: Path, speaker: str, arm: str, seed: int) -> Path:
    return out / "speakers" / folder_name(speaker) / arm / f"seed{seed}"


def _to_use(out: Path, speaker: str, arm: str, seed: int) -> Path:
    return out / "adapters" / folder_name(speaker) / arm / f"seed{seed}"


def _report(
    speaker: str, rows: Sequence[tuple[str, list[dict[str, Any]]]], scorers: Sequence[str]
) -> Iterable[str]:
    lines = rows[0][1]
    words = sum(len(line["reference"].split()) for line in lines)
    yield f"{speaker}: {len(lines)} recordings, {words} words, each recording tested once; WER %"
    yield ""
    table = [["arm", *scorers]]
    for arm, hypotheses in rows:
        rates = [error_rate(pool(line["counts"][name]["words"] for line in hypotheses)) for name in scorers]
        table.append([arm, *map(percent, rates)])
    yield from aligned(table)
