"""What opening a checkpoint says where it is refused."""

from pathlib import Path

import pytest

from saml.models.checkpoints.transformers import open_checkpoint
from saml.runtime.errors import SamlError
from tests.models.conftest import section


def refused(named: Path | str) -> str:
    """The message, which has the form of a configuration's error."""
    with pytest.raises(SamlError) as caught:
        open_checkpoint(section(named, characters=None))
    message = str(caught.value)
    assert message.startswith("model.whisper.checkpoint: ") and "\n" not in message and "; " in message
    return message


def said(path: Path) -> str:
    """The message about a file that had to be opened as OpenAI's."""
    with pytest.raises(SamlError) as caught:
        open_checkpoint(section(path, characters=None))
    return str(caught.value)
