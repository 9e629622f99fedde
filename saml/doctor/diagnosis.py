"""`saml doctor`: checks of an installation and a configuration before a long run, and the number of its jobs.

Each check prints lines: ok, warn (it runs) or fail (it does not run), each with a finding and advice.
Libraries that a broken installation may lack are imported inside the checks, see `saml.doctor.machine`.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from saml.compat.optional import load
from saml.config.libraries import wanted
from saml.config.load import validate
from saml.config.roles import IN_PARTS, named_roles
from saml.doctor import machine
from saml.doctor.corpus_files import corpus_in_parts
from saml.doctor.machine import Line, first_line
from saml.models.checkpoints.source import is_given, weights_of
from saml.runtime.errors import SamlError

LEAST_DISK, SCANT_DISK = 1e9, 5e9  # free bytes
_WIDTH = 12


def doctor(config: Mapping[str, Any], root: Path) -> int:
    """Run all checks and print their lines; `root` is the repository, with results in `root`/results.

    Returns the exit status: 1 where a check failed, else 0.
    """
    failed = False
    for name, check in _checks(config, root).items():
        for line in _run(name, check):
            failed = failed or line.status == "fail"
            _print(line)
    return 1 if failed else 0


def _checks(config: Mapping[str, Any], root: Path) -> dict[str, Callable[[], Iterator[Line]]]:
    """All checks in order; those of the experiment only with a valid configuration."""
    installation: dict[str, Callable[[], Iterator[Line]]] = {
        "python": machine.python,
        "packages": lambda: machine.packages(root),
        "torchaudio": machine.torchaudio,
        "gpu": machine.gpu,
        "nf4": machine.nf4,
        "optional": machine.optional,
        "memory": machine.memory,
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
    """The lines of a check; an exception becomes a failure."""
    try:
        yield from check()
    except SamlError as error:
        yield Line("fail", name, str(error))
    except Exception as error:
        broken = f"{type(error).__name__}: {first_line(error)}"
        yield Line("fail", name, broken, "make install; if that does not help, please report this defect")


def _print(line: Line) -> None:
    print(f"{line.status:<5} {line.check:<{_WIDTH}} {line.finding}", flush=True)
    if line.advice:
        print(f"{'':<5} {'':<{_WIDTH}} -> {line.advice}", flush=True)


def config_problem(config: Mapping[str, Any], root: Path) -> Line | None:
    """The first problem of the configuration; None where it is valid."""
    try:
        validate(config, root / "workflow" / "schemas" / "config.schema.yaml")
    except SamlError as error:
        return Line("fail", "config", str(error), "config/README.md explains every key")
    return None


def disk(results: Path) -> Iterator[Line]:
    """Free space in the folder of results, and whether it can be written."""
    folder = results.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    finding = f"{free / 1e9:.1f} GB free in {folder}"
    if not os.access(folder, os.W_OK):
        yield Line("fail", "disk", f"{folder} cannot be written", "change its owner, or use another folder")
    elif free < LEAST_DISK:
        yield Line("fail", "disk", finding, "free some space: features, models and adapters need more")
    elif free < SCANT_DISK:
        yield Line("warn", "disk", finding, "enough for the default experiment; real corpora need more")
    else:
        yield Line("ok", "disk", finding)


def libraries(config: Mapping[str, Any]) -> Iterator[Line]:
    """The optional libraries that the configuration names: k2 and icefall."""
    for module, key, otherwise in wanted(config):
        load(module, key, otherwise)
        yield Line("ok", key, f"{module.partition('.')[0]} can be imported")


def threads(config: Mapping[str, Any]) -> Iterator[Line]:
    """The threads of a job against the number of cores."""
    available = machine.cores()
    too_many = [name for name, count in config["threads"].items() if count > available]
    finding = f"{available} cores; threads of a job: " + ", ".join(
        f"{name} {count}" for name, count in config["threads"].items()
    )
    if too_many:
        advice = f"set threads.{too_many[0]} to at most {available}: more threads than cores are slow"
        yield Line("warn", "threads", finding, advice)
    else:
        yield Line("ok", "threads", finding)


def corpus(config: Mapping[str, Any]) -> Iterator[Line]:
    """Whether the corpus is there: synthetic voices, the manifest of a folder, or parts of a corpus."""
    name = config["corpus"]["name"]
    if name == "spoken_commands":
        yield from _voices(config["target_speakers"])
    elif name == "folder":
        yield from _folder(config)
    elif name in IN_PARTS:
        yield from corpus_in_parts(config)
    else:
        yield Line("warn", "corpus", f"{name}: no check for this corpus", "see its first job")


def _voices(speakers: list[str]) -> Iterator[Line]:
    # Imported here like all libraries that a broken installation may lack: see `saml.doctor.machine`.
    from saml.corpora.espeak import speak
    from saml.corpora.voices import target_voice

    for speaker in speakers:
        speak(target_voice(speaker), ["one"])
    yield Line("ok", "corpus", f"espeak-ng has the voices of all {len(speakers)} target speakers")


def _folder(config: Mapping[str, Any]) -> Iterator[Line]:
    # Likewise.
    from saml.corpora.folder import read_rows, root_folder

    settings = config["corpus"]["folder"]
    rows = read_rows(settings)
    present = {row.speaker for row in rows}
    finding = f"{len(rows)} utterances of {len(present)} speakers in {root_folder(settings)}"
    for key, speakers in {"target_speakers": config["target_speakers"], **named_roles(config)}.items():
        for speaker in speakers:
            if speaker not in present:
                advice = f"correct {key}, or the manifest"
                yield Line("fail", "corpus", f"speaker {speaker!r} has no utterances in the manifest", advice)
    absent = [row.path for row in rows if not row.path.is_file()]
    if absent:
        advice = "add the files, or remove their lines from the manifest"
        yield Line("fail", "corpus", f"{len(absent)} files are missing, the first: {absent[0]}", advice)
    yield Line("ok", "corpus", finding)


def base(config: Mapping[str, Any]) -> Iterator[Line]:
    """Whether the checkpoint of a given base model can be read and fits the configuration."""
    if is_given(config["model"]):
        # Likewise.
        from saml.models.checkpoints.transformers import open_checkpoint

        checkpoint = open_checkpoint(config["model"])
        size = sum(path.stat().st_size for path in weights_of(checkpoint.path))
        yield Line("ok", "base", f"a checkpoint of {size / 1e6:.1f} MB in {checkpoint.path}")
        if checkpoint.caution is not None:
            yield Line(
                "warn", "base", checkpoint.caution, "to avoid that, name the model that it was made from"
            )


def jobs(config: Mapping[str, Any]) -> Iterator[Line]:
    """The number of jobs of a new experiment, by stage."""
    counts = count_jobs(config)
    parts = ", ".join(f"{count} {stage}" for stage, count in counts.items() if count)
    yield Line("ok", "jobs", f"{sum(counts.values())} for a new experiment: {parts}")


def count_jobs(config: Mapping[str, Any]) -> dict[str, int]:
    """Jobs of each stage of a new experiment: arms x speakers x seeds, and the jobs that these depend on."""
    arms = [config["arms"][name] for name in config["run_arms"]]
    adapted = sum(arm["adapted"] for arm in arms)
    pretrained = [arm for arm in arms if arm["adapted"] and arm["pretrained"]]
    mixtures = sum(arm["experts"] > 1 for arm in pretrained)
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
        "routes": mixtures * seeds * speakers,
        "routing": int(mixtures > 0),
        "tabulate": 1,
        "figures": 1,
        "transcripts": 1,
    }
