"""`saml doctor`: check an installation and a config before a long run, and say how many jobs it will be.

One line a check: ok, warn (it runs, but look at it) or fail (it will not run), and what to do.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from saml.compat.optional import load, wanted
from saml.config.roles import IN_PARTS
from saml.doctor import machine as checks
from saml.doctor.corpus_files import corpus_in_parts
from saml.doctor.machine import Line, first_line
from saml.models.checkpoints.source import is_given, weights_of
from saml.runtime.errors import SamlError

LEAST_DISK, SCANT_DISK = 1e9, 5e9  # free bytes
_WIDTH = 12


def doctor(config: Mapping[str, Any], root: Path) -> int:
    """Check everything and print it; `root` is the project's folder, results lie in `root`/results.

    Returns the exit status: 1 where a check failed, else 0.
    """
    failed = False
    for name, check in _checks(config, root).items():
        for line in _run(name, check):
            failed = failed or line.status == "fail"
            _print(line)
    return 1 if failed else 0


def _checks(config: Mapping[str, Any], root: Path) -> dict[str, Callable[[], Iterator[Line]]]:
    """All checks in order; those of the experiment mean nothing while the config is wrong."""
    installation: dict[str, Callable[[], Iterator[Line]]] = {
        "python": checks.python,
        "packages": lambda: checks.packages(root),
        "torchaudio": checks.torchaudio,
        "gpu": checks.gpu,
        "nf4": checks.nf4,
        "optional": checks.optional,
        "memory": checks.memory,
        "disk": lambda: disk(root / "results"),
    }
    problem = config_problem(config, root)
    if problem is not None:
        return {**installation, "config": lambda: iter([problem])}
    return {
        **installation,
        "config": lambda: iter([Line("ok", "config", f"experiment {config['experiment']}")]),
        "libraries": lambda: libraries(config),
        "threads": lambda: threads(config),
        "corpus": lambda: corpus(config),
        "base": lambda: base(config),
        "jobs": lambda: jobs(config),
    }


def _run(name: str, check: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    """The lines of a check; one that breaks is itself a finding."""
    try:
        yield from check()
    except SamlError as error:
        yield Line("fail", name, str(error))
    except Exception as error:
        broken = f"{type(error).__name__}: {first_line(error)}"
        yield Line("fail", name, broken, "make install; if that does not help, this is a defect: report it")


def _print(line: Line) -> None:
    print(f"{line.status:<5} {line.what:<{_WIDTH}} {line.finding}", flush=True)
    if line.advice:
        print(f"{'':<5} {'':<{_WIDTH}} -> {line.advice}", flush=True)


def config_problem(config: Mapping[str, Any], root: Path) -> Line | None:
    """What is wrong with the config, if anything is."""
    try:
        from saml.config.load import validate

        validate(config, root / "workflow" / "schemas" / "config.schema.yaml")
    except SamlError as error:
        return Line("fail", "config", str(error), "config/README.md explains every key")
    except ImportError as error:
        return Line("fail", "config", f"cannot be checked: {first_line(error)}", "make install")
    return None


def disk(results: Path) -> Iterator[Line]:
    """Free space where results go, and whether they may."""
    folder = results.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    finding = f"{free / 1e9:.1f} GB free in {folder}"
    if not os.access(folder, os.W_OK):
        yield Line("fail", "disk", f"{folder} cannot be written", "make it yours, or run in another folder")
    elif free < LEAST_DISK:
        yield Line("fail", "disk", finding, "make room: features, models and adapters need more")
    elif free < SCANT_DISK:
        yield Line("warn", "disk", finding, "enough for the default experiment; real corpora need more")
    else:
        yield Line("ok", "disk", finding)


def libraries(config: Mapping[str, Any]) -> Iterator[Line]:
    """k2 and icefall, where a key asks for them."""
    for module, key, otherwise in wanted(config):
        load(module, key, otherwise)
        yield Line("ok", key, f"{module.partition('.')[0]} can be imported")


def threads(config: Mapping[str, Any]) -> Iterator[Line]:
    """The threads that jobs are given against the cores that there are."""
    available = checks.cores()
    greedy = {name: count for name, count in config["threads"].items() if count > available}
    finding = f"{available} cores; threads of a job: " + ", ".join(
        f"{name} {count}" for name, count in config["threads"].items()
    )
    if greedy:
        advice = f"set threads.{next(iter(greedy))} to at most {available}: more threads than cores are slow"
        yield Line("warn", "threads", finding, advice)
    else:
        yield Line("ok", "threads", finding)


def corpus(config: Mapping[str, Any]) -> Iterator[Line]:
    """Whether the speech is there: synthetic voices, the manifest of a folder, parts of a corpus."""
    name = config["corpus"]["name"]
    if name == "spoken_commands":
        yield from _voices(config["target_speakers"])
    elif name == "folder":
        yield from _folder(config)
    elif name in IN_PARTS:
        yield from corpus_in_parts(config)
    else:
        yield Line("warn", "corpus", f"{name}: nothing is known about it here", "its first job will tell")


def _voices(speakers: list[str]) -> Iterator[Line]:
    from saml.corpora.espeak import speak
    from saml.corpora.voices import target_voice

    for speaker in speakers:
        speak(target_voice(speaker), ["one"])
    yield Line("ok", "corpus", f"espeak-ng speaks with the voices of all {len(speakers)} target speakers")


def _folder(config: Mapping[str, Any]) -> Iterator[Line]:
    from saml.corpora.folder import read_rows, root_folder

    settings = config["corpus"]["folder"]
    rows = read_rows(settings)
    spoken = {row.speaker for row in rows}
    finding = f"{len(rows)} utterances of {len(spoken)} speakers in {root_folder(settings)}"
    listed = {"target_speakers": config["target_speakers"], **(settings["roles"] or {})}
    for key, speakers in listed.items():
        for speaker in speakers:
            if speaker not in spoken:
                advice = f"mend {key} in the config, or the manifest"
                yield Line("fail", "corpus", f"speaker {speaker!r} has no utterances in the manifest", advice)
    absent = [row.path for row in rows if not row.path.is_file()]
    if absent:
        advice = "bring the files, or take their lines out of the manifest"
        yield Line("fail", "corpus", f"{len(absent)} files are missing, the first: {absent[0]}", advice)
    yield Line("ok", "corpus", finding)


def base(config: Mapping[str, Any]) -> Iterator[Line]:
    """Whether a base model that is given can be read and suits the configuration."""
    if is_given(config["model"]):
        from saml.models.checkpoints.transformers import open_checkpoint

        checkpoint = open_checkpoint(config["model"])
        size = sum(path.stat().st_size for path in weights_of(checkpoint.path))
        yield Line("ok", "base", f"a checkpoint of {size / 1e6:.1f} MB in {checkpoint.path}")


def jobs(config: Mapping[str, Any]) -> Iterator[Line]:
    """How many jobs a run from nothing will be, by stage."""
    counts = count_jobs(config)
    parts = ", ".join(f"{count} {stage}" for stage, count in counts.items() if count)
    yield Line("ok", "jobs", f"{sum(counts.values())} from nothing: {parts}")


def count_jobs(config: Mapping[str, Any]) -> dict[str, int]:
    """Jobs of every stage in a run from nothing: arms x speakers x seeds, and what they stand on."""
    arms = [config["arms"][name] for name in config["run_arms"]]
    adapted = sum(arm["adapted"] for arm in arms)
    pretrained = [arm for arm in arms if arm["adapted"] and arm.get("pretrained", False)]
    mixtures = sum(arm["experts"] > 1 for arm in pretrained)
    routed = sum(arm["experts"] > 1 and arm.get("routed", False) for arm in pretrained)
    speakers, seeds = len(config["target_speakers"]), len(config["seeds"])
    unadapted = len(arms) - adapted
    trained = not is_given(config["model"])
    return {
        "prepare-corpus": 1,
        "prepare-pool": 1 + trained + bool(pretrained),
        "prepare-speaker": speakers,
        "train-base": int(trained),
        "import-base": int(not trained),
        "quantise": int(any(arm["precision"] == "nf4" for arm in arms)),
        "initialise-experts": mixtures * seeds,
        "pretrain": len(pretrained) * seeds,
        "adapt": adapted * speakers * seeds,
        "decode": (adapted * seeds + unadapted) * speakers + unadapted,
        "routes": routed * seeds * speakers,
        "routing": int(routed > 0),
        "tabulate": 1,
        "figures": 1,
        "transcripts": 1,
    }
