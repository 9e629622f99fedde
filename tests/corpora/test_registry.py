"""Corpora by name, and folders of speakers."""

import subprocess
import sys

import pytest

from saml.corpora.registry import CORPORA, corpus, folder_name, speaker_id
from saml.runtime.errors import SamlError


def test_every_corpus_has_the_two_functions():
    for name in CORPORA:
        module = corpus(name)
        assert callable(module.prepare_corpus) and callable(module.prepare_speaker)
    with pytest.raises(SamlError, match="no corpus 'timit'; there are spoken_commands, folder"):
        corpus("timit")


def test_the_registry_is_light():
    code = "import sys, saml.corpora; print([m for m in ('torch', 'lhotse', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("speaker", "folder"),
    [
        ("fash", "fash"),
        ("de_f2_r155_p55", "de_f2_r155_p55"),
        ("a.b-c_1", "a.b-c_1"),
        ("Anna Müller", "Anna%20M%C3%BCller"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("a/../b", "a%2F..%2Fb"),
        ("50%", "50%25"),
        ("~root", "%7Eroot"),
        ("小林", "%E5%B0%8F%E6%9E%97"),
    ],
)
def test_folder_names(speaker, folder):
    assert folder_name(speaker) == folder
    assert speaker_id(folder) == speaker


def test_an_empty_speaker_has_no_folder():
    with pytest.raises(SamlError, match="empty"):
        folder_name("")
