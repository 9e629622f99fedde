"""The corpora: one module each, all with the same functions.

    prepare_corpus(settings, audio) -> (RecordingSet, SupervisionSet, dropped rows)
        Everything but the target speakers. `settings` is the config's `corpus` section; `audio` is the folder
        for waveforms that are synthesised or converted.
    prepare_speaker(settings, speaker, recordings, supervisions, audio) -> the same three, of a target speaker
        `recordings` and `supervisions` are the output of prepare_corpus. A corpus of files filters them; a
        synthetic corpus synthesises the speaker now, so that a new target speaker changes nothing else.
    speakers_of(own, part) -> ids of the speakers of a part, of the config's section of the corpus
        Optional: where a corpus has parts, for `target_speakers: {all_of: ...}`.
    origin(settings) -> for the run record of prepare_corpus: checksums of files that a user edits
        Optional.

A recording has one channel at 16 kHz, and the id of its utterance or, if it contains many, of its talk. A
supervision has the id of the utterance, its speaker, its text as in the corpus, and `custom`: `role` and, in
the pools and in corpora with parts of their own, `part`. A new corpus is a new module here and an entry in
CORPORA.
"""

import importlib
from types import ModuleType

from saml.runtime.errors import SamlError
from saml.runtime.layout import folder_name as folder_name
from saml.runtime.layout import speaker_id as speaker_id

CORPORA = {
    "spoken_commands": "saml.corpora.spoken_commands",
    "folder": "saml.corpora.folder",
    "librispeech": "saml.corpora.librispeech",
    "tedlium3": "saml.corpora.tedlium3",
    "speechocean762": "saml.corpora.speechocean762",
}


def corpus(name: str) -> ModuleType:
    """The module of a corpus by its name in the config. Raises SamlError for an unknown name."""
    if name not in CORPORA:
        raise SamlError(f"corpus.name: there is no corpus {name!r}; there are {', '.join(CORPORA)}")
    return importlib.import_module(CORPORA[name])
