"""Libraries used on request only, because they have to be built for one exact torch: k2 and icefall."""

import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from saml.compat.torchaudio import ensure
from saml.runtime.errors import SamlError

_HOW_TO_GET = "environment.yaml says how to get it"


def load(module: str, setting: str, otherwise: str) -> ModuleType:
    """The module, which `setting` asks for; `otherwise` is what the setting can say instead.

    Raises:
        SamlError: it is not there, or cannot be imported beside this torch.
    """
    ensure()  # icefall's modules import torchaudio
    name = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except Exception as error:  # a build for another torch fails in many ways
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise SamlError(
            f"{setting} wants {name}, which cannot be imported ({why}): {_HOW_TO_GET}; or say {otherwise}"
        ) from None


def asked(name: str, section: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What the config's section `name` asks for: (module, key, what the key can say instead), for `load`."""
    if section.get("ctc_backend") == "k2":
        yield "k2", f"{name}.ctc_backend", "torch"
    if section.get("average_by") == "icefall":
        yield "icefall.checkpoint", f"{name}.average_by", "saml"
    if section.get("error_stats") == "icefall":
        yield "icefall.utils", f"{name}.error_stats", "saml"


def wanted(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What all sections ask for, those of arms too."""
    from saml.config.load import SECTIONS_OF_ARMS  # jobs that only `load` do without the schema's checker

    sections = {name: config[name] for name in ("base_training", *SECTIONS_OF_ARMS, "scoring")}
    for arm, entry in config["arms"].items():
        sections |= {f"arms.{arm}.{name}": entry[name] for name in SECTIONS_OF_ARMS if name in entry}
    for name, section in sections.items():
        yield from asked(name, section)
