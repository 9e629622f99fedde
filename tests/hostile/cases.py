"""Bad and hostile input as a table: the input and the expected message. `None`: it works.

The message is part of a single line that names the input. Cases that other tests have are not
repeated: tests/corpora (manifests, audio, STM lines), tests/config, tests/faults/test_files.py (damaged
files), tests/tracking/test_record.py, tests/models/test_checkpoint_files.py (foreign models).
"""

import math
from dataclasses import dataclass
from typing import Any

DEEP = 100_000  # brackets


@dataclass(frozen=True)
class Case:
    """One input: `kind` selects the function in test_cases.py, `given` is its argument."""

    kind: str
    name: str
    given: Any
    says: str | None


def _line(utterance: str = "u1", speaker: str = "anna", file: str = "a.wav", text: str = "one") -> str:
    return "\t".join((utterance, speaker, file, text))


# Lines after the first one of a folder's manifest, which names utterance, speaker, file, text.
MANIFESTS = {
    "up and back down": (
        _line(file="b/../../mine/a.wav"),
        "line 2: the file b/../../mine/a.wav is outside",
    ),
    "up behind a dot": (_line(file="./.././a.wav"), "is outside the corpus folder"),
    "two slashes": (_line(file="//etc/passwd"), "is outside the corpus folder"),
    "the folder itself": (_line(file="."), "is a folder"),
    "the folder above": (_line(file=".."), "is outside the corpus folder"),
    "a device": (_line(file="../../../../dev/zero"), "is outside the corpus folder"),
    "a home folder, unexpanded": (_line(file="~/a.wav"), "is missing"),
    "a variable, unexpanded": (_line(file="$HOME/a.wav"), "is missing"),
    "a command": (_line(file="$(touch hurt).wav"), "is missing"),
    "a pipe": (_line(file="touch hurt |"), "is missing"),
    "an address": (_line(file="https://example.org/a.wav"), "is missing"),
    "a zero byte": (_line(file="a.wav\0"), "is missing"),
    "a name of 300 characters": (_line(file="a" * 300 + ".wav"), "File name too long"),
    "ids that look like paths": (_line(utterance="../../u1", speaker="/etc/passwd"), None),
    "ids of shell characters": (_line(utterance="$(touch hurt); `rm`", speaker="a'b\"c|d&e>f*?"), None),
    "ids of other scripts": (_line(utterance="発話 1", speaker="Ægir Ωμέγα 李"), None),
    "an utterance of 300 characters": (_line(utterance="u" * 300), "is too long for a file name"),
    "a speaker of 300 characters": (_line(speaker="s" * 300), "is too long for a file name"),
    "a speaker of 100 characters of three bytes": (
        _line(speaker="李" * 100),
        "too long for a file name",
    ),
    "only columns": ("", "there are no utterances after the first line"),
    "one column too many": (_line() + "\tmore", "line 2: 5 fields, but the first line lists 4"),
    "spaces for tabs": ("u1 anna a.wav one", "line 2: 1 fields"),
    "a quote that never closes": (_line(text='"one'), None),
    "a quote that closes many rows below": (
        _line(text='"one') + "\n" + _line("u2") + "\n" + _line("u3", text='two"'),
        "line 2: its quote closes in line 4 only, with other rows between",
    ),
    "a megabyte in quotes": (_line(text='"' + "one " * 250_000 + '"'), None),
}

# Ids of target speakers in a configuration.
SPEAKERS = {
    "slashes": ("a/b/../c", None),
    "dots": ("..", None),
    "one dot": (".", None),
    "a hidden file": (".ssh", None),
    "spaces": ("  anna  maria ", None),
    "shell characters": ("$(touch hurt)`id`;|&><*?!~#'\"\\", None),
    "percent signs": ("100%2F%speaker%", None),
    "braces": ("{wildcards.arm}", None),
    "Unicode": ("Зоя 李 ñ 👩🏽‍🦰", "has a control character"),
    "Unicode of letters": ("Зоя 李 ñ", None),
    "right to left": ("שרה", None),
    "right to left by a mark": ("a\u202egnp", "has a control character"),
    "a line break": ("a\nb", "has a control character"),
    "an escape sequence": ("\x1b[2J", "has a control character"),
    "a zero byte": ("a\0b", "has a control character"),
    "half a character": ("\ud800", "has a control character"),
    "an option": ("--help", "would be read as an option"),
    "300 characters": ("a" * 300, "gives a folder name that is too long"),
    "70 characters of three bytes": ("李" * 70, "gives a folder name that is too long"),
    "a number": (7, "put it in quotes"),
    "nothing": ("", "is too short"),
}

# Audio files: (frames, rate, channels, samples). Rows of an experiment that takes 0.2 to 20 s.
AUDIO = {
    "no sample": ((0, 16_000, 1, 0.0), "contains no samples"),
    "one sample": ((1, 16_000, 1, 0.1), "lasts 0.00 s, less than"),
    "one sample at 8 kHz": ((1, 8_000, 1, 0.1), "lasts 0.00 s, less than"),
    "not a number": ((16_000, 16_000, 1, math.nan), "contains samples that are not finite"),
    "infinite": ((16_000, 16_000, 1, math.inf), "contains samples that are not finite"),
    "far too loud": ((16_000, 16_000, 1, 1e30), "contains samples far beyond full scale"),
    "a little too loud": ((16_000, 16_000, 1, 3.0), None),
    "silence": ((16_000, 16_000, 1, 0.0), "the file is silent"),
    "8 channels": ((16_000, 16_000, 8, 0.1), None),
    "8 channels at 8 kHz": ((8_000, 8_000, 8, 0.1), None),
    "8 kHz": ((8_000, 8_000, 1, 0.1), None),
    "11.025 kHz": ((11_025, 11_025, 1, 0.1), None),
    "44.1 kHz": ((44_100, 44_100, 2, 0.1), None),
    "192 kHz": ((192_000, 192_000, 1, 0.1), None),
    "a rate without a common divisor": (
        (44_101, 44_101, 1, 0.1),
        "is at 44101 Hz; convert it to a common",
    ),
    "a rate of 1 Hz": ((20, 1, 1, 0.1), "is at 1 Hz; convert it"),
    "a rate of 500 kHz": ((500_000, 500_000, 1, 0.1), "is at 500000 Hz; convert it"),
    "an hour": ((3600 * 16_000, 16_000, 1, 0.1), "lasts 3600.00 s, longer than 20 s (corpus.max_seconds)"),
}

# References, for a tokeniser of English letters.
TEXTS = {
    "Greek": ("ένα δύο", "the tokeniser lacks 'ένα"),
    "Chinese": ("一 二", "the tokeniser lacks '一二'"),
    "Arabic digits": ("٣", "the tokeniser lacks '٣'"),
    "right to left": ("אחת", "the tokeniser lacks"),
    "letters that look like others": ("оne", "the tokeniser lacks 'о'"),  # Cyrillic о
    "accents apart": ("cafe\u0301", "the tokeniser lacks 'é'"),
    "no width": ("one\u200b \u00adtwo", None),
    "nothing visible": ("\u200b \u00ad\ufeff", "the transcript is empty"),
    "a zero byte": ("one\0", r"the tokeniser lacks '\x00'"),
    "only spaces": (" \u00a0\u2003 ", "the transcript is empty"),
    "wide spaces and capitals": ("ONE\u00a0two\u2003THREE", None),
    "words up to the last position": ("one " * 255 + "on", None),
    "100,000 words": ("one " * 100_000, "has 399999 tokens, more than the 1023"),
}

# Configurations as files.
CONFIGS = {
    "a tag": ("experiment: !!python/name:os.system\n", "not valid YAML"),
    "a tag of its own": ("experiment: !env HOME\n", "not valid YAML"),
    "a new object": ("experiment: !!python/object/new:os.system [touch hurt]\n", "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not valid YAML"),
    "a value inside itself": ("target_speakers: &a [*a]\n", "is inside the value that it names"),
    "a billion values": (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        "aliases counted in full, are more than 1000000",
    ),
    "brackets": ("a: " + "[" * DEEP, "nested too deeply"),
    "bytes that are no text": (b"a: \xff\xfe\n", "not valid YAML"),
    "a zero byte": ("a: \0\n", "not valid YAML"),
    "a date that is none": ("a: 2024-13-45\n", "not valid YAML"),
    "another file's text": ("root:x:0:0:root:/root:/bin/bash\n", "must be a mapping"),
    "a number": ("7\n", "must be a mapping"),
}

# Changes of the default configuration, by key path, after which it is refused.
CHANGES = {
    "an unknown key": ("adaptation.epochss", 3, "did you mean 'epochs'?"),
    "a path for a name": ("experiment", "../../etc", "may hold only letters"),
    "a command for a name": ("experiment", "$(id)", "may hold only letters"),
    "text for a number": ("adaptation.epochs", "10", "adaptation.epochs"),
    "truth for a number": ("adaptation.epochs", True, "adaptation.epochs"),
    "not a number": ("adaptation.clip_norm", math.nan, "adaptation.clip_norm"),
    "a list for a mapping": ("arms", [], "arms"),
    "nothing for a mapping": ("corpus", None, "corpus"),
    "a mapping for a text": ("experiment", {"a": 1}, "experiment"),
    "no speaker in a job": ("speakers_together", 0, "speakers_together"),
    "half a speaker in a job": ("speakers_together", 1.5, "speakers_together"),
}

# JSON files that should hold an object.
OBJECTS = {
    "nothing": (b"", "not JSON"),
    "brackets": (b"[" * DEEP, "not JSON"),
    "objects in objects": (b'{"a":' * DEEP, "not JSON"),
    "a list": (b"[1]", "not a JSON object"),
    "a number of 10,000 digits": (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON"),
    "bytes that are no text": (b'{"a": "\xff"}', "not JSON"),
}

# A target speaker's folds; the speaker has the utterances a, b, c.
SPLITS = {
    "no folds": ({}, "not a file of folds"),
    "a number of folds": ({"folds": 3}, "not a file of folds"),
    "not a single fold": ({"folds": []}, "there is no fold"),
    "folds that are none": ({"folds": ["abc"]}, "not a file of folds"),
    "a part that is missing": ({"folds": [{"train": ["a"], "dev": ["b"]}]}, "not a file of folds"),
    "a part that is empty": (
        {"folds": [{"train": ["a"], "dev": [], "test": ["c"]}]},
        "fold 0 has nothing in its dev part",
    ),
    "an utterance in two parts": (
        {"folds": [{"train": ["a"], "dev": ["b"], "test": ["a"]}]},
        "utterance 'a' is in train and test",
    ),
    "an utterance twice in a part": (
        {"folds": [{"train": ["a", "a"], "dev": ["b"], "test": ["c"]}]},
        "utterance 'a' is twice in train",
    ),
    "an utterance tested in two folds": (
        {
            "folds": [
                {"train": ["a"], "dev": ["b"], "test": ["c"]},
                {"train": ["b"], "dev": ["a"], "test": ["c"]},
            ]
        },
        "utterance 'c' is in test of fold 0 and test of fold 1",
    ),
    "somebody else's utterance": (
        {"folds": [{"train": ["a"], "dev": ["b"], "test": ["../d"]}]},
        "the speaker has no utterance '../d'",
    ),
    "a list for an utterance": (
        {"folds": [{"train": [["a"]], "dev": ["b"], "test": ["c"]}]},
        "the speaker has no utterance ['a']",
    ),
    "a number for an utterance": (
        {"folds": [{"train": [1e999], "dev": ["b"], "test": ["c"]}]},
        "the speaker has no utterance inf",
    ),
}

# Lines of talk.stm.
STM = {
    "no times": ("talk 1 ann start end <o> one", "start and end are not times"),
    "not a number": ("talk 1 ann nan 2 <o> one", "it lasts from nan to 2 s"),
    "endless": ("talk 1 ann 0 inf <o> one", "it lasts from 0 to inf s"),
    "backwards": ("talk 1 ann 3 2 <o> one", "it lasts from 3 to 2 s"),
    "before the start": ("talk 1 ann -1 2 <o> one", "it lasts from -1 to 2 s"),
    "another talk, as a path": ("../talk 1 ann 0 2 <o> one", "it belongs to the talk ../talk"),
    "no label": ("talk 1 ann 0 2 one two", "is not `talk channel speaker start end <label> words`"),
    "a megabyte": ("x" * 1_000_000, "line 1: 'xxxxx"),
    "no words": ("talk 1 ann 0 2 <o>", None),
}

# Keys of a stored model's or adapter's description, with another value; ... removes the key.
MODELS = {
    "no checksum": ({"sha256": ...}, "does not describe these weights (KeyError('sha256')"),
    "no family": ({"family": ...}, "does not describe these weights (KeyError('family')"),
    "an unknown family": ({"family": "rnn"}, "no recogniser family 'rnn'"),
    "a family that is a list": ({"family": []}, "no recogniser family []"),
    "settings that are a text": ({"settings": "tiny"}, "does not describe these weights"),
    "a network of other sizes": ({"settings.encoder_layers": 3}, "is missing"),
    "a network of other widths": ({"settings.encoder_feed_forward": 96}, "has shape"),
    "a width that overflows": ({"settings.encoder_feed_forward": 1 << 60}, "does not describe these weights"),
    "a negative width": ({"settings.encoder_feed_forward": -1}, "does not describe these weights"),
    "a tokeniser of no kind": ({"tokeniser.kind": "pickle"}, "no tokeniser of kind 'pickle'"),
    "a tokeniser of another kind": (
        {"tokeniser.kind": "whisper"},
        "not a tokeniser of the tokenizers library",
    ),
    "a tokeniser without checksum": ({"tokeniser": {"kind": "characters"}}, "KeyError('sha256')"),
    "another tokeniser": ({"tokeniser.sha256": "0" * 64}, "tokenizer.json: checksum differs"),
    "packed, it says": ({"precision": "nf4", "quantisation": {}}, "does not describe these weights"),
    "another version": ({"format": 99}, "not a description of format 1"),
}
ADAPTERS = {
    "no specification": ({"spec": ...}, "does not describe these weights (KeyError('spec')"),
    "an unknown setting": ({"spec.shell": "id"}, "does not describe these weights"),
    "a billion experts": ({"spec.experts": 10**9}, "does not describe these weights"),
    "a rank of a billion": ({"spec.rank": 10**9}, "does not describe these weights"),
    "experts in words": ({"spec.experts": "six"}, "does not describe these weights"),
    "fewer experts than stored": ({"spec.experts": 1}, "adapter does not fit"),
    "more folds than stored": ({"folds": 3}, "does not describe these weights"),
    "a trillion folds": ({"folds": 10**12}, "does not describe these weights"),
    "another base": ({"base_sha256": "0" * 64}, "belongs to another base model"),
}

# Bytes of a tokenizer.json whose checksum the description has.
TOKENISERS = {
    "nothing": (b"", "does not describe these weights"),
    "no object": (b"[]", "does not describe these weights"),
    "no characters": (b"{}", "does not describe these weights (KeyError('characters')"),
    "characters twice": (
        b'{"characters": "aa"}',
        "tokenizer.json: characters of the tokeniser must be distinct",
    ),
    "fewer characters": (b'{"characters": "ab"}', "has shape"),
    "endless lists": (b"[" * 100_000, "does not describe these weights"),
    "no text": (b"\xff\xfe", "does not describe these weights"),
}

# Bytes of a safetensors file whose checksum the description has.
TENSORS = {
    "nothing": (b"", "not a safetensors file"),
    "a header of an exabyte": ((1 << 60).to_bytes(8, "little") + b"{}", "not a safetensors file"),
    "a tensor of an exabyte": (
        '{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}',
        "not a safetensors file",
    ),
    "a tensor larger than its bytes": (
        '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}',
        "not a safetensors file",
    ),
    "an unknown type": ('{"a":{"dtype":"PY","shape":[1],"data_offsets":[0,4]}}', "not a safetensors file"),
    "a pickle": (b"\x80\x04cos\nsystem\n(S'touch hurt'\ntR.", "not a safetensors file"),
    "other names": (
        '{"../a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        "'../a' is not of this model",
    ),
}

# Keys of the first line of a manifest of cuts, with another value.
CUTS = {
    "a command for audio": (
        {"recording.sources": [{"type": "command", "channels": [0], "source": "touch hurt"}]},
        "is a command, not a file",
    ),
    "an address for audio": (
        {"recording.sources": [{"type": "url", "channels": [0], "source": "https://example.org/a.wav"}]},
        "is a url, not a file",
    ),
    "features by another library": ({"features.storage_type": "kaldiio"}, "are stored as kaldiio"),
    "features that may be pickled": ({"features.storage_type": "numpy_files"}, "are stored as numpy_files"),
    "another class": ({"type": "MixedCut", "tracks": []}, "cannot read this manifest"),
    "no class": ({"type": "os.system"}, "cannot read this manifest"),
    "nothing changed": ({}, None),
}

TABLE = {
    "manifest": MANIFESTS,
    "speaker": SPEAKERS,
    "audio": AUDIO,
    "text": TEXTS,
    "config": CONFIGS,
    "object": OBJECTS,
    "splits": SPLITS,
    "stm": STM,
    "model": MODELS,
    "adapter": ADAPTERS,
    "tokeniser": TOKENISERS,
    "tensors": TENSORS,
    "cuts": CUTS,
}
CASES = [
    Case(kind, name, given, says) for kind, table in TABLE.items() for name, (given, says) in table.items()
]
CASES += [Case("change", name, (key, value), says) for name, (key, value, says) in CHANGES.items()]
