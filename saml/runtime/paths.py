"""Paths that a configuration names: home folders and environment variables in them."""

import os
import re

from saml.runtime.errors import SamlError

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def expand(named: str, key: str, advice: str = "") -> str:
    """`named` with `~` and environment variables (`$NAME`, `${NAME}`) filled in.

    A file or folder that has a `$` in its name, and exists, is taken as it is.

    Args:
        named: the path as the user wrote it.
        key: the key of the configuration that holds it, or the variable, for the message.
        advice: the end of the message.

    Raises:
        SamlError: a variable is not set; key and variable are named.
    """
    if "$" in named and os.path.exists(named):
        return named
    for match in _VARIABLE.finditer(named):
        variable = match[1] or match[2]
        if variable not in os.environ:
            raise SamlError(
                f"{key}: {named} names the environment variable {variable}, which is not set"
                + (f"; {advice}" if advice else "; set it, or write the path in full")
            )
    return os.path.expanduser(os.path.expandvars(named))
