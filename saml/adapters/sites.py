"""The linear layers of a recogniser that adapters go into."""

import re

from torch import nn

from saml.models.recogniser import Recogniser, as_module
from saml.runtime.errors import SamlError

FEED_FORWARD = "feed_forward"


def find_sites(recogniser: Recogniser, sites: dict[str, str]) -> list[tuple[str, str, nn.Linear]]:
    """All (kind, module name, linear) that the patterns in `sites` (kind to regular expression) match.

    Raises SamlError for a pattern that matches no linear layer: a silent miss would train nothing there.
    """
    found = []
    for kind, pattern in sites.items():
        matching = [
            (kind, name, module)
            for name, module in as_module(recogniser).named_modules()
            if re.fullmatch(pattern, name) and isinstance(module, nn.Linear)
        ]
        if not matching:
            raise SamlError(
                f"adapters: the {kind} pattern {pattern!r} matches no linear layer of the recogniser"
            )
        found += matching
    return found
