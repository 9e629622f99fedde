"""torchaudio beside a CPU torch."""

import subprocess
import sys


def test_torchaudio_and_transformers_can_be_imported_together():
    # Importing transformers' models imports torchaudio, which fails beside a CPU torch if nothing is done.
    from transformers import WhisperForConditionalGeneration

    assert WhisperForConditionalGeneration is not None


def test_torchaudio_can_be_imported_after_it_failed():
    code = """
try:
    import torchaudio
except OSError:
    pass
from saml.compat.torchaudio import ensure
print(ensure(), ensure())
import torchaudio
print(torchaudio.transforms.Resample(8000, 16000) is not None)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "True True\nTrue\n", ran.stderr
