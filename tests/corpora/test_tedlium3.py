"""TED-LIUM 3: both distributions, selection of segments, and errors."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from lhotse.recipes.utils import normalize_text_tedlium

from saml.audio.resampling import resample
from saml.corpora import tedlium3
from saml.corpora.espeak import Voice, speak
from saml.corpora.stm import words_of
from saml.features.log_mel import LogMel, LogMelConfig
from saml.features.store import load_features
from saml.runtime.errors import SamlError
from saml.stages import prepare as stages

SECONDS = 6.0
# Start, end, label and words of each line. Three of the five are used.
LINES = [
    "0.00 0.50 <o,,unknown> ignore_time_segment_in_scoring",
    "0.50 1.75 <o,f0,female> thank you <sil> it 's an honour",
    "1.75 2.50 <NA> so the(2) <unk> is",
    "2.50 4.01 <o,f0,female> {NOISE} they 'd 've laughed ' cause of me",
    "4.01 5.99 <NA> the end",
]
TEXTS = ["thank you it's an honour", "they'd've laughed 'cause of me", "the end"]
TIMES = [(0.5, 1.25), (2.5, 1.51), (4.01, 1.98)]
TRAIN = ["AnnaLee_2005", "AnnaLee_2011", "BertNo_2007", "CarlOh_2009G", "DoraPe_2010", "EmilQu_2012X"]
# The same talks in both; each has a talk in dev that the other has in train.
DISTRIBUTIONS = {
    "legacy": {"train": TRAIN, "dev": ["FritzRo_2003"], "test": ["GretaSo_2008"]},
    "speaker-adaptation": {
        "train": [*TRAIN[:5], "FritzRo_2003"],
        "dev": ["EmilQu_2012X"],
        "test": ["GretaSo_2008"],
    },
}


@functools.cache
def audio_of(talk):
    """The audio of a talk: each text at its time, in the talk's own voice, over noise."""
    draw = np.random.default_rng(sum(talk.encode()))
    samples = 1e-3 * draw.standard_normal(round(16_000 * SECONDS))
    rate, spoken = speak(Voice("en-us", "f2", 220, int(draw.integers(20, 80))), TEXTS)
    for words, (start, duration) in zip(spoken, TIMES, strict=True):
        spoken = resample(words / 32768, rate)[: round(16_000 * duration)]
        begin = round(16_000 * start)
        samples[begin : begin + len(spoken)] += 0.5 * spoken
    return samples


def write_talk(folder, talk, lines=LINES):
    for kind in ("stm", "sph"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "sph" / f"{talk}.sph", audio_of(talk), 16_000, format="NIST", subtype="PCM_16")
    text = "".join(f"{talk} 1 {talk} {line}\n" for line in lines)
    (folder / "stm" / f"{talk}.stm").write_text(";; a comment\n" + text)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "TEDLIUM_release-3"
    for distribution, parts in DISTRIBUTIONS.items():
        for part, talks in parts.items():
            for talk in talks:
                write_talk(root / distribution / part, talk)
    return root


def settings(root, on_bad="error", **changes):
    own = {
        "root": str(root) if root else None,
        "distribution": "legacy",
        "parts": {"target": ["train", "dev"], "base": ["train"], "pretrain": ["train"], "heldout": ["test"]},
        "roles": {
            "base": {"named": [], "drawn": 1},
            "pretrain": {"named": ["BertNo_2007"], "drawn": 1},
            "heldout": {"named": [], "drawn": None},
        },
        "reserved": ["AnnaLee_2005"],
        "dev_share": 0.3,
        "heldout_utterances": 2,
        "seed": 1,
    }
    return {"name": "tedlium3", "on_bad_utterance": on_bad, "tedlium3": own | changes}


def prepare(root, tmp_path, **changes):
    return tedlium3.prepare_corpus(settings(root, **changes), tmp_path / "audio")


def prepare_speaker(root, tmp_path, talk, **changes):
    pools = prepare(root, tmp_path, **changes)[:2]
    return tedlium3.prepare_speaker(settings(root, **changes), talk, *pools, tmp_path / "audio")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_talk_is_read(root, tmp_path, distribution):
    """The words and times of LINES, counted by hand; the audio is used in place."""
    prepared = prepare_speaker(root, tmp_path, "AnnaLee_2005", distribution=distribution)
    (recording,), supervisions, dropped = list(prepared[0]), list(prepared[1]), prepared[2]
    assert recording.id == "AnnaLee_2005" and recording.duration == SECONDS and dropped == []
    assert recording.sources[0].source == str(root / distribution / "train/sph/AnnaLee_2005.sph")
    assert [s.text for s in supervisions] == TEXTS
    assert [(s.start, s.duration) for s in supervisions] == TIMES
    assert [s.id for s in supervisions][:2] == [
        "AnnaLee_2005-0000050-0000175",
        "AnnaLee_2005-0000250-0000401",
    ]
    assert {(s.speaker, s.recording_id, str(s.custom)) for s in supervisions} == {
        ("AnnaLee_2005", "AnnaLee_2005", "{'role': 'target'}")
    }
    assert not (tmp_path / "audio").exists()


def test_what_is_left_out_is_counted(root, tmp_path, capsys):
    prepare(root, tmp_path)
    # Four talks: one base, two pretrain, one heldout.
    expected = "segments: 12 with words; left out: 4 not to be scored, 4 with <unk>"
    assert expected in capsys.readouterr().err.splitlines()


def test_the_distributions_divide_the_talks(root, tmp_path):
    legacy = prepare_speaker(root, tmp_path, "FritzRo_2003")
    assert "/legacy/dev/" in next(iter(legacy[0])).sources[0].source
    other = prepare_speaker(
        root, tmp_path, "FritzRo_2003", distribution="speaker-adaptation", reserved=["FritzRo_2003"]
    )
    assert "/speaker-adaptation/train/" in next(iter(other[0])).sources[0].source


def test_roles_and_parts(root, tmp_path):
    _, supervisions, _ = prepare(root, tmp_path)
    roles = {}
    for s in supervisions:
        roles.setdefault(s.custom["role"], {}).setdefault(s.speaker, []).append(s.custom["part"])
    assert list(roles["heldout"].values()) == [["test", "test"]]
    assert len(roles["pretrain"]) == 2 and "BertNo_2007" in roles["pretrain"] and len(roles["base"]) == 1
    assert sorted(sum(roles["pretrain"].values(), [])) == ["dev"] * 2 + ["train"] * 4
    # AnnaLee's other talk has no role either.
    assert not {"AnnaLee_2005", "AnnaLee_2011"} & {s.speaker for s in supervisions}


def test_a_person_with_a_role_cannot_be_a_target(root, tmp_path):
    roles = {role: {"named": [], "drawn": 0} for role in ("base", "heldout")}
    roles["pretrain"] = {"named": ["AnnaLee_2011"], "drawn": 0}
    with pytest.raises(
        SamlError, match="AnnaLee_2011, with the role pretrain, is a talk of the same person; add"
    ):
        prepare_speaker(root, tmp_path, "AnnaLee_2005", roles=roles, reserved=[])
    with pytest.raises(SamlError, match="AnnaLee_2011 has the role pretrain"):
        prepare_speaker(root, tmp_path, "AnnaLee_2011", roles=roles, reserved=[])


def test_files_may_be_beside_the_distributions(root, tmp_path):
    (root / "data").mkdir()
    (root / "legacy/train/sph").rename(root / "data/sph")
    (recording,), _, _ = prepare_speaker(root, tmp_path, "AnnaLee_2005")
    assert recording.sources[0].source == str(root / "data/sph/AnnaLee_2005.sph")


def test_features_are_those_of_the_segment(root, tmp_path, monkeypatch):
    """The features from the stages, against those of samples cut out by hand."""
    monkeypatch.chdir(tmp_path)
    both = {name: Path(f"{name}.jsonl.gz") for name in ("recordings", "supervisions")}
    corpus = settings(root) | {"min_seconds": 0.2, "max_seconds": 20.0}
    model = {"family": "conformer", "conformer": {"characters": " 'abcdefghijklmnopqrstuvwxyz"}}
    chosen = {"corpus": corpus, "model": model, "partition": {"scheme": "random", "folds": 5, "seed": 1}}
    common = {
        "experiment": "test",
        "settings": chosen,
        "dropped": Path("dropped.tsv"),
        "record": Path("run.jsonl"),
    }
    stages.prepare_corpus(audio=Path("audio"), **both, **common)
    files = {name: Path(name) for name in ("cuts.jsonl.gz", "features.bin", "splits.json")}
    stages.prepare_speaker(
        speaker="AnnaLee_2005",
        cuts=files["cuts.jsonl.gz"],
        features=files["features.bin"],
        splits=files["splits.json"],
        audio=Path("audio"),
        **both,
        **common,
    )
    cuts = list(CutSet.from_file("cuts.jsonl.gz"))
    features = load_features(cuts)
    # The samples of 16 bits behind the header of the SPH file.
    raw = (root / "legacy/train/sph/AnnaLee_2005.sph").read_bytes()[1024:]
    samples = np.frombuffer(raw, "<i2").astype(np.float32) / 32768
    for cut, (start, duration) in zip(cuts, TIMES, strict=True):
        piece = samples[round(16_000 * start) : round(16_000 * (start + duration))]
        expected = LogMel(LogMelConfig()).extract(piece, 16_000)
        assert features[cut.id].shape == expected.shape == (round(100 * duration), 80)
        np.testing.assert_allclose(features[cut.id].numpy(), expected, atol=1e-5)
        assert cut.supervisions[0].start == 0.0 and cut.start == start
    fold = json.loads(files["splits.json"].read_text())["folds"][0]
    assert [len(fold[part]) for part in ("train", "dev", "test")] == [1, 1, 1]


BAD_LINES = {
    "no label": ("0.5 1.0 words without a label", "is not `talk channel speaker start end <label> words`"),
    "too short": ("0.5", "is not `talk channel"),
    "no times": ("one two <NA> words", "one and two are not times"),
    "backwards": ("3.0 2.0 <NA> words", "it lasts from 3.0 to 2.0 s"),
    "before the talk": ("-1.0 2.0 <NA> words", "it lasts from -1.0 to 2.0 s"),
    "not finite": ("1.0 inf <NA> words", "it lasts from 1.0 to inf s"),
}


@pytest.mark.parametrize("case", BAD_LINES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_broken_line_is_named(root, tmp_path, case, distribution):
    line, message = BAD_LINES[case]
    write_talk(root / distribution / "train", "AnnaLee_2005", [*LINES[:2], line, *LINES[2:]])
    with pytest.raises(SamlError, match=r"train/stm/AnnaLee_2005.stm, line 4: ") as error:
        prepare_speaker(root, tmp_path, "AnnaLee_2005", distribution=distribution)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_line_of_another_talk_and_a_repeated_line(root, tmp_path):
    path = root / "legacy/train/stm/AnnaLee_2005.stm"
    text = path.read_text()
    path.write_text(text.replace("AnnaLee_2005 1", "AnnaLee_2006 1"))
    with pytest.raises(SamlError, match=r"line 2: it belongs to the talk AnnaLee_2006, not to AnnaLee_2005"):
        prepare_speaker(root, tmp_path, "AnnaLee_2005")
    path.write_text(text + text.splitlines()[-1] + "\n")
    with pytest.raises(SamlError, match=r"AnnaLee_2005.stm: two lines last from 4.01 to 5.99 s"):
        prepare_speaker(root, tmp_path, "AnnaLee_2005")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SamlError, match=r"AnnaLee_2005.stm: not UTF-8"):
        prepare_speaker(root, tmp_path, "AnnaLee_2005")


def test_segments_beyond_the_audio(root, tmp_path):
    """A small overhang is cut off, because times are rounded; a larger one is a bad utterance."""
    lines = ["0.0 1.0 <NA> one", "5.0 6.3 <NA> two", "5.5 7.0 <NA> three", "6.1 6.4 <NA> four"]
    write_talk(root / "legacy/train", "AnnaLee_2005", lines)
    with pytest.raises(
        SamlError, match="AnnaLee_2005-0000550-0000700 .*: it ends at 7 s, and the audio at 6 s"
    ):
        prepare_speaker(root, tmp_path, "AnnaLee_2005")
    _, supervisions, dropped = prepare_speaker(root, tmp_path, "AnnaLee_2005", on_bad="drop")
    assert [(s.text, s.duration) for s in supervisions] == [("one", 1.0), ("two", 1.0)]
    assert [row.utterance[-15:] for row in dropped] == ["0000550-0000700", "0000610-0000640"]


def shorten(data):
    header = data[:1024].replace(b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00")[:1024]
    return header + data[1024:]


BAD_AUDIO = {
    "missing": (None, "the file is missing"),
    "cut short": (lambda data: data[: len(data) // 2], "the file is truncated"),
    "compressed": (shorten, "the file is compressed with shorten"),
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_bad_audio_is_named_or_dropped(root, tmp_path, case):
    spoil, message = BAD_AUDIO[case]
    path = root / "legacy/train/sph/BertNo_2007.sph"
    whole = path.read_bytes()
    path.unlink()
    if spoil:
        path.write_bytes(spoil(whole))
    with pytest.raises(SamlError, match=rf"utterance BertNo_2007 .*BertNo_2007.sph\): {message}"):
        prepare(root, tmp_path)
    _, supervisions, dropped = prepare(root, tmp_path, on_bad="drop")
    assert [row.utterance for row in dropped] == ["BertNo_2007"]
    assert "BertNo_2007" not in {s.speaker for s in supervisions} and len(supervisions) == 8


def test_the_error_for_a_missing_corpus_has_instructions(root, tmp_path, monkeypatch):
    monkeypatch.delenv(tedlium3.ROOT_VARIABLE, raising=False)
    with pytest.raises(SamlError, match="no folder is configured.*SAML_TEDLIUM_ROOT.*saml download tedlium3"):
        prepare(None, tmp_path)
    monkeypatch.setenv(tedlium3.ROOT_VARIABLE, str(root.parent))
    assert len(prepare(None, tmp_path)[1]) == 11
    (root / "legacy/test").rename(root / "legacy/other")
    with pytest.raises(
        SamlError, match="there are no transcripts in .*legacy/test/stm; correct .*distribution"
    ):
        prepare(root, tmp_path)


def test_words():
    """Against lhotse's normaliser, and by hand where lhotse differs."""
    for text in ("i 'm here [NOISE] now", "it 's ' cause we 're", "plain words", "the dog 's"):
        assert words_of(text) == " ".join(normalize_text_tedlium(text, "kaldi").split())
    assert words_of("a(2) {COUGH} word (AnnaLee-1)") == "a word"
    assert words_of("<sil> {NOISE}") == ""
    assert words_of("i 'd 've") == "i'd've"


def test_foreign_entries_are_passed_over(root):
    folder = root / "legacy/train/stm"
    (folder / "._AnnaLee_2005.stm").write_bytes(b"\x00\x05\x16\x07\xff")
    (folder / ".ipynb_checkpoints").mkdir()
    assert tedlium3.talks(root, {"distribution": "legacy"}, "train") == sorted(TRAIN)


def test_typographic_suffixes_are_joined_as_plain_ones(root):
    assert words_of("it \u2019s an hon\u00adour") == "it's an honour"


def test_a_converted_talk_is_named_as_it_was(root, tmp_path):
    """The file of the corpus, not the copy at 16 kHz."""
    path = root / "legacy/train/sph/AnnaLee_2005.sph"
    samples, _ = soundfile.read(path)
    soundfile.write(path, np.repeat(samples, 2), 32_000, format="NIST", subtype="PCM_16")
    _, spoken, _ = prepare_speaker(root, tmp_path, "AnnaLee_2005")
    assert {segment.custom["file"] for segment in spoken} == {str(path)}
