"""`saml doctor`: checks of an installation and a configuration before a long run, and the number of its jobs.

Each check prints lines: ok, warn (it runs) or fail (it does not run), each with a finding and advice.
Libraries that a broken installation may lack are imported inside the checks, see `saml.doctor.machine`.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from saml.compat.optional import load
from saml.config.libraries import wanted
from saml.config.load import labels_in_models_style, validate
from saml.config.settings import adapters_of, start_of
from saml.doctor import machine
from saml.doctor.machine import Line, first_line
from saml.models.checkpoints.source import is_given, weights_of
from saml.runtime.errors import SamlError, in_one_line

LEAST_DISK, SCANT_DISK = 1e9, 5e9  # free bytes
_WIDTH = 12


def doctor(config: Mapping[str, Any], root: Path, files: Sequence[Path] = ()) -> int:
    """Run all checks and print their lines.

    Args:
        config: the merged configuration.
        root: the repository, with results in `root`/results.
        files: those that `config` was read from.

    Returns:
        The exit status: 1 where a check failed, else 0.
    """
    failed = False
    for name, check in _checks(config, root, files).items():
        for line in _run(name, check):
            failed = failed or line.status == "fail"
            _print(line)
    return 1 if failed else 0


def _checks(
    config: Mapping[str, Any], root: Path, files: Sequence[Path]
) -> dict[str, Callable[[], Iterator[Line]]]:
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
    problem = config_problem(config, root, files)
    if problem is not None:
        return {**installation, "config": lambda: iter([problem])}
    if isinstance(config["target_speakers"], Mapping):
        try:
            config = {**config, "target_speakers": _all_speakers(config)}
        except SamlError as error:
            missing = Line("fail", "corpus", str(error))
            return {**installation, "corpus": lambda: iter([missing])}
    return {
        **installation,
        "config": lambda: iter([Line("ok", "config", f"experiment {config['experiment']}")]),
        "libraries": lambda: libraries(config),
        "threads": lambda: threads(config),
        "corpus": lambda: corpus(config),
        "base": lambda: base(config),
        "results": lambda: results(config, root),
        "jobs": lambda: jobs(config),
    }


def _all_speakers(config: Mapping[str, Any]) -> list[str]:
    # Imported here like all libraries that a broken installation may lack: see `saml.doctor.machine`.
    from saml.corpora.all_speakers import all_speakers

    return all_speakers(config)


def _run(name: str, check: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    """The lines of a check; an exception becomes a failure."""
    try:
        yield from check()
    except Exception as error:
        line = in_one_line(error)
        if line is not None:
            yield Line("fail", name, line)
            return
        broken = f"{type(error).__name__}: {first_line(error)}"
        yield Line("fail", name, broken, "make install; if that does not help, please report this defect")


def _print(line: Line) -> None:
    print(f"{line.status:<5} {line.check:<{_WIDTH}} {line.finding}", flush=True)
    if line.advice:
        print(f"{'':<5} {'':<{_WIDTH}} -> {line.advice}", flush=True)


def config_problem(config: Mapping[str, Any], root: Path, files: Sequence[Path] = ()) -> Line | None:
    """The first problem of the configuration; None where it is valid."""
    try:
        validate(config, root / "workflow" / "schemas" / "config.schema.yaml", files)
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
    """Whether the corpus has what the first jobs want of it: voices, or files and speakers of all roles."""
    # Likewise.
    from saml.doctor.corpus_files import READERS, listing
    from saml.doctor.speakers import recordings
    from saml.doctor.voices import voices

    name = config["corpus"]["name"]
    if name == "spoken_commands":
        yield from voices(config)
    elif name in READERS:
        yield from recordings(config, listing(config["corpus"]))
    else:
        yield Line("warn", "corpus", f"{name}: no check for this corpus", "see its first job")


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


def results(config: Mapping[str, Any], root: Path) -> Iterator[Line]:
    """Whether what earlier runs left in `root`/results can be read, and is of this version of saml."""
    # Likewise.
    from saml.doctor.earlier_results import earlier_results

    yield from earlier_results(config, root)


def jobs(config: Mapping[str, Any]) -> Iterator[Line]:
    """The number of jobs of a new experiment, by stage."""
    counts = count_jobs(config)
    parts = ", ".join(f"{count} {stage}" for stage, count in counts.items() if count)
    yield Line("ok", "jobs", f"{sum(counts.values())} for a new experiment: {parts}")


def count_jobs(config: Mapping[str, Any]) -> dict[str, int]:
    """Jobs of each stage of a new experiment: arms x speakers x seeds, and the jobs that these depend on."""
    arms = [config["arms"][name] for name in config["run_arms"]]
    adapted = sum(arm["adapted"] for arm in arms)
    starts = {start_of(config["arms"], name): name for name in config["run_arms"] if _starts(config, name)}
    pretrained = [config["arms"][name] for name in starts]
    mixtures = [arm for arm in pretrained if arm["experts"] > 1]
    routers = sum(
        adapters_of(config, arm)["routes_from"] == "router"
        for arm in arms
        if arm["adapted"] and arm["pretrained"] is True and arm["experts"] > 1
    )
    speakers, seeds = len(config["target_speakers"]), len(config["seeds"])
    unadapted = len(arms) - adapted
    trained = not is_given(config["model"])
    return {
        "prepare-corpus": 1,
        "prepare-pool": 1 + trained + bool(pretrained),
        "prepare-speaker": speakers,
        "train-base": int(trained),
        "import-base": int(not trained),
        "label": (bool(pretrained) + speakers * bool(adapted)) * labels_in_models_style(config),
        "quantise": int(any(arm["precision"] == "nf4" for arm in arms)),
        "initialise-experts": len(mixtures) * seeds,
        "pretrain": len(pretrained) * seeds,
        "adapt": adapted * speakers * seeds,
        "decode": (adapted * seeds + unadapted) * speakers + unadapted,
        "routes": routers * seeds * speakers,
        "routing": int(routers > 0),
        "tabulate": 1,
        "figures": 1,
        "transcripts": 1,
        "index": 1,
    }


def _starts(config: Mapping[str, Any], name: str) -> bool:
    """Whether an arm starts from a pre-training."""
    arm = config["arms"][name]
    return bool(arm["adapted"] and arm["pretrained"])
