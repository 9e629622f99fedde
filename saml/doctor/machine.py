"""Checks of an installation, for `saml doctor`. Each check yields lines.

Libraries are imported inside the checks, so that a missing or broken one is a finding of its check. A check
raises nothing for problems that a user can solve: it yields a line with advice.
"""

import importlib
import importlib.util
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from saml.compat.torchaudio import ensure, has_extension

OLDEST_PYTHON = (3, 11)
LEAST_MEMORY = 4 * 2**30  # bytes, for the default experiment
_PIN = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;#]+)")


Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Line:
    """One finding of a check; `advice` is what to do about a warning or a failure."""

    status: Status
    check: str
    finding: str
    advice: str = ""


def python() -> Iterator[Line]:
    """The interpreter, and whether the program `saml` on PATH belongs to this environment."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Line(
            "fail", "python", f"{version} is too old", "create the environment with Python 3.11 or newer"
        )
    else:
        yield Line("ok", "python", version)
    found = shutil.which("saml")
    if found is None:
        yield Line("warn", "program", "saml is not on PATH, and rules call it", "source .venv/bin/activate")
    elif Path(found).parent.resolve() != Path(sys.executable).parent.resolve():
        advice = "activate the intended environment: source .venv/bin/activate"
        yield Line("warn", "program", f"{found} belongs to another environment", advice)


def packages(root: Path) -> Iterator[Line]:
    """The installed packages against the pins of requirements.txt in `root`."""
    path = root / "requirements.txt"
    if not path.is_file():
        yield Line("warn", "packages", f"no {path} to compare with", "run saml doctor in the repository")
        return
    pins = read_pins(path)
    missing, other = [], []
    for name, pinned in pins.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        # The local part of a version (2.13.0+cpu) names the build.
        if installed.partition("+")[0] != pinned:
            other.append(f"{name} {installed} instead of {pinned}")
    if missing:
        yield Line("fail", "packages", f"not installed: {', '.join(missing)}", "make install")
    if other:
        yield Line(
            "warn", "packages", "; ".join(other), "untested; make install installs the tested versions"
        )
    if not missing and not other:
        yield Line("ok", "packages", f"all {len(pins)} at the tested versions")


def read_pins(path: Path) -> dict[str, str]:
    """Names and versions of the `name==version` lines of a requirements file."""
    matches = (_PIN.match(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {match[1]: match[2] for match in matches if match}


def torchaudio() -> Iterator[Line]:
    """Whether torchaudio loads, with or without its compiled extension."""
    if not ensure():
        yield Line("fail", "torchaudio", "not installed; features need it", "make install")
        return
    import torch
    from torchaudio.compliance.kaldi import fbank

    fbank(torch.zeros(1, 1600), num_mel_bins=80)
    how = "loads" if has_extension() else "loads without its CUDA extension, which is not needed"
    yield Line("ok", "torchaudio", f"{metadata.version('torchaudio')} {how}")


def gpu() -> Iterator[Line]:
    """The GPUs that torch can use."""
    import torch

    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        names = ", ".join(f"{device.name} ({device.total_memory / 2**30:.0f} GiB)" for device in devices)
        yield Line("ok", "gpu", f"{names}, torch {torch.__version__}")
    elif shutil.which("nvidia-smi"):
        finding = f"there is one, but torch {torch.__version__} cannot use it"
        yield Line("warn", "gpu", finding, "install a CUDA build of torch that the driver supports")
    else:
        yield Line("ok", "gpu", f"none; torch {torch.__version__} computes on the CPU")


def nf4() -> Iterator[Line]:
    """Whether bitsandbytes quantises weights to NF4 and back."""
    # On some CPUs it warns of a faster kernel that could be downloaded, which is not needed.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import torch
    from bitsandbytes import functional

    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    packed, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    back = functional.dequantize_4bit(packed, state)
    again, _ = functional.quantize_4bit(back, blocksize=64, quant_type="nf4")
    error = float((weight - back).abs().mean())
    version = metadata.version("bitsandbytes")
    # The mean error of NF4 on normally distributed weights is about 0.07; quantising twice changes nothing.
    if error < 0.15 and torch.equal(packed, again):
        yield Line("ok", "nf4", f"bitsandbytes {version} quantises and de-quantises (mean error {error:.3f})")
    else:
        finding = f"bitsandbytes {version} does not restore weights (mean error {error:.3f})"
        yield Line("fail", "nf4", finding, "make install; this build is for another torch or GPU")


def optional() -> Iterator[Line]:
    """k2 and icefall, which are used where a key of the configuration names them."""
    for name in ("k2", "icefall"):
        if importlib.util.find_spec(name) is None:
            yield Line("ok", name, "not installed; optional (see environment.yaml)")
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            advice = "it is not used; install a build for this torch to use it"
            yield Line("warn", name, f"installed, but cannot be imported ({first_line(error)})", advice)
        else:
            yield Line("ok", name, "can be imported; used where the configuration names it")


def memory() -> Iterator[Line]:
    """The memory of the machine."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return
    finding = f"{total / 2**30:.1f} GiB"
    if total < 0.9 * LEAST_MEMORY:
        yield Line("warn", "memory", finding, "the default experiment needs 4 GiB; use fewer cores")
    else:
        yield Line("ok", "memory", finding)


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its type."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
