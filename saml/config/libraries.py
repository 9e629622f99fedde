"""Which optional libraries a configuration asks for: k2 and icefall, by whatever key."""

from collections.abc import Iterator, Mapping
from typing import Any

from saml.config.settings import ARM_SECTIONS


def asked(name: str, section: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What the config's section `name` asks for, as arguments of `saml.compat.optional.load`.

    Each is (module, key, what the key can say instead).
    """
    if section.get("ctc_backend") == "k2":
        yield "k2", f"{name}.ctc_backend", "torch"
    if section.get("average_by") == "icefall":
        yield "icefall.checkpoint", f"{name}.average_by", "saml"
    if section.get("error_stats") == "icefall":
        yield "icefall.utils", f"{name}.error_stats", "saml"


def wanted(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What all sections ask for, those of arms too, like `asked`."""
    sections = {name: config[name] for name in ("base_training", *ARM_SECTIONS, "scoring")}
    for arm, entry in config["arms"].items():
        sections |= {f"arms.{arm}.{name}": entry[name] for name in ARM_SECTIONS if name in entry}
    for name, section in sections.items():
        yield from asked(name, section)
