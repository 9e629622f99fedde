"""Speech in, lhotse manifests out: one module a corpus, all with the same functions.

    prepare_corpus(settings, audio) -> (RecordingSet, SupervisionSet, rows left out)
        All that is there before a target speaker is asked for. `settings` is the config's `corpus` section;
        `audio` is the folder for waveforms that had to be made or converted.
    prepare_speaker(settings, speaker, recordings, supervisions, audio) -> the same three, of a target speaker
        `recordings` and `supervisions` are what prepare_corpus made. A corpus of files filters them; a made
        corpus makes the speaker now, so that a new target speaker leaves everything else as it is.
    origin(settings) -> what the run record of prepare_corpus says of files that may change
        Only where there are any that a person edits.

A recording has one channel at 16 kHz, and the id of its utterance or, where it holds many, of its talk. A
supervision has the utterance's id, its speaker, its text as the corpus has it, and `custom`: `role` and, in
the pools and where the corpus divides its speech itself, `part`. A new corpus is a new module here and an
entry in CORPORA.
"""

import importlib
from types import ModuleType
from urllib.parse import quote, unquote

from saml.runtime.errors import SamlError

CORPORA = {
    "spoken_commands": "saml.corpora.spoken_commands",
    "folder": "saml.corpora.folder",
    "librispeech": "saml.corpora.librispeech",
    "tedlium3": "saml.corpora.tedlium3",
}


def corpus(name: str) -> ModuleType:
    """The module of a corpus by its name in the config. Raises SamlError where there is none."""
    if name not in CORPORA:
        raise SamlError(f"corpus.name: there is no corpus {name!r}; there are {', '.join(CORPORA)}")
    return importlib.import_module(CORPORA[name])


def folder_name(speaker: str) -> str:
    """The name of a speaker's folder: the id itself where it is safe as one, else percent-encoded.

    Safe are letters, digits, `_`, `.` and `-`, not starting with `.`. Different ids have different names, and
    `speaker_id` turns the name back. Raises SamlError for an empty id.
    """
    if not speaker:
        raise SamlError("a speaker's id is empty; give every utterance a speaker")
    # quote() leaves `~` alone besides the characters above.
    name = quote(speaker, safe="").replace("~", "%7E")
    return "%2E" + name[1:] if name.startswith(".") else name


def speaker_id(name: str) -> str:
    """The speaker whose folder has this name: the inverse of `folder_name`."""
    return unquote(name)
