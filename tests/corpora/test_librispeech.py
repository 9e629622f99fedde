"""LibriSpeech's layout: reading, roles, and errors."""

import collections
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse.recipes import prepare_librispeech

from saml.corpora import librispeech
from saml.runtime.errors import SamlError

PIECE = Path(os.environ.get("SAML_TEST_LIBRISPEECH", Path(__file__).parents[3] / "shared/data/librispeech"))

# Part -> speaker -> chapter -> words of its utterances.
SPEECH = {
    "train-clean-100": {
        "19": {
            "198": ["NORTHANGER ABBEY", "THIS LITTLE WORK", "WAS FINISHED"],
            "227": ["CHAPTER ONE", "IT'S SO"],
        },
        "103": {"1240": ["CHAPTER ONE", "MISSUS RACHEL LYNDE", "IS SURPRISED"]},
        "26": {"495": ["THE FIRST", "THE SECOND"]},
        "8": {"12": ["ONE MORE", "AND ANOTHER"]},
    },
    "train-clean-360": {
        "115": {"9": ["A TARGET", "SPEAKS", "AND SPEAKS"], "10": ["AND GOES ON"]},
        "210": {"129": ["ANOTHER TARGET"]},
    },
}


def seconds_of(speaker, chapter, index):
    """A different duration for each utterance."""
    return 0.5 + int(speaker) / 1000 + int(chapter) / 100_000 + index / 10


@pytest.fixture
def root(tmp_path):
    """A folder with a LibriSpeech of 16 utterances, written without the code under test."""
    root = tmp_path / "corpora"
    for part, speakers in SPEECH.items():
        for speaker, chapters in speakers.items():
            for chapter, texts in chapters.items():
                folder = root / "LibriSpeech" / part / speaker / chapter
                folder.mkdir(parents=True)
                lines = []
                for index, text in enumerate(texts):
                    name = f"{speaker}-{chapter}-{index:04d}"
                    samples = np.random.default_rng(index).standard_normal(
                        round(16_000 * seconds_of(speaker, chapter, index))
                    )
                    soundfile.write(folder / f"{name}.flac", 0.1 * samples, 16_000)
                    lines.append(f"{name} {text}\n")
                (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    return root


def settings(root, on_bad="error", roles=None, **changes):
    roles = {"base": (["19"], 0), "pretrain": (["103"], 0), "heldout": (["26"], 0)} | (roles or {})
    own = {
        "root": str(root) if root else None,
        "parts": {
            "target": ["train-clean-360"],
            "base": ["train-clean-100"],
            "pretrain": ["train-clean-100"],
            "heldout": ["train-clean-100"],
        },
        "roles": {role: {"named": named, "drawn": drawn} for role, (named, drawn) in roles.items()},
        "reserved": [],
        "dev_share": 0.4,
        "heldout_utterances": None,
        "seed": 1,
    }
    return {"name": "librispeech", "on_bad_utterance": on_bad, "librispeech": own | changes}


def prepare(root, **changes):
    return librispeech.prepare_corpus(settings(root, **changes), Path("nowhere"))


def prepare_speaker(root, speaker, **changes):
    pools = prepare(root, **changes)
    return librispeech.prepare_speaker(settings(root, **changes), speaker, *pools[:2], Path("nowhere"))


def plain_reading(folder, speakers):
    """(id, speaker, text, seconds, file) of every line of these speakers' transcripts."""
    found = set()
    for speaker in speakers:
        for path in (folder / speaker).rglob("*.trans.txt"):
            for line in path.read_text().splitlines():
                name, text = line.split(" ", 1)
                file = path.parent / f"{name}.flac"
                found.add((name, speaker, text, soundfile.info(file).duration, str(file)))
    return found


def as_rows(recordings, supervisions):
    by_id = {recording.id: recording for recording in recordings}
    return {(s.id, s.speaker, s.text, s.duration, by_id[s.id].sources[0].source) for s in supervisions}


def test_utterances_are_those_of_the_files(root):
    recordings, supervisions, dropped = prepare(root)
    expected = plain_reading(root / "LibriSpeech/train-clean-100", ["19", "103", "26"])
    assert len(expected) == 10 and as_rows(recordings, supervisions) == expected
    assert dropped == []
    assert {r.sampling_rate for r in recordings} == {16_000}
    assert {(s.speaker, s.custom["role"]) for s in supervisions} == {
        ("19", "base"),
        ("103", "pretrain"),
        ("26", "heldout"),
    }
    parts = collections.Counter((s.custom["role"], s.custom["part"]) for s in supervisions)
    assert parts == {
        ("base", "train"): 3,
        ("base", "dev"): 2,
        ("pretrain", "train"): 2,
        ("pretrain", "dev"): 1,
        ("heldout", "test"): 2,
    }


def test_manifests_are_those_of_lhotses_recipe(root):
    recordings, supervisions, _ = prepare(root)
    whole = prepare_librispeech(root / "LibriSpeech", dataset_parts="train-clean-100")["train-clean-100"]
    theirs = {recording.id: recording.to_dict() for recording in whole["recordings"]}
    assert {r.id: r.to_dict() for r in recordings} == {r.id: theirs[r.id] for r in recordings}
    spoken = {segment.id: segment.to_dict() for segment in whole["supervisions"]}
    for segment in supervisions:
        segment.custom = None
        assert segment.to_dict() == spoken[segment.id]


def test_named_speakers_come_before_drawn_ones(root):
    """Experts start from the first speakers of the manifest when no initial speakers are named."""
    _, supervisions, _ = prepare(root, roles={"pretrain": (["103"], 1), "heldout": (["8"], 0)})
    order = [s.speaker for s in supervisions if s.custom["role"] == "pretrain"]
    assert list(dict.fromkeys(order)) == ["103", "26"]


def test_a_target_speaker_is_read_on_request(root):
    recordings, supervisions, dropped = prepare_speaker(root, "115")
    assert as_rows(recordings, supervisions) == plain_reading(root / "LibriSpeech/train-clean-360", ["115"])
    # Chapters in numerical order, without part, which the partition assigns.
    assert [s.id for s in supervisions] == ["115-9-0000", "115-9-0001", "115-9-0002", "115-10-0000"]
    assert {str(s.custom) for s in supervisions} == {"{'role': 'target'}"} and dropped == []


def test_wrong_target_speakers(root):
    with pytest.raises(SamlError, match="speaker 116 is not in train-clean-360 .* for example with 115"):
        prepare_speaker(root, "116")
    with pytest.raises(SamlError, match="speaker 19 has the role base"):
        prepare_speaker(root, "19")


def test_target_speakers_may_be_added_later(root):
    (root / "LibriSpeech/train-clean-360").rename(root / "later")
    assert len(prepare(root)[1]) == 10
    with pytest.raises(SamlError) as error:
        prepare_speaker(root, "115")
    folder = root / "LibriSpeech"
    assert f"the part train-clean-360 is not in {folder}" in str(error.value)
    assert f"saml download librispeech --root {root} --parts train-clean-360" in str(error.value)
    assert f"lhotse download librispeech {root}" in str(error.value) and "\n" not in str(error.value)


def test_the_root_is_the_corpus_or_its_parent_or_an_environment_variable(root, monkeypatch):
    rows = as_rows(*prepare(root)[:2])
    assert as_rows(*prepare(root / "LibriSpeech")[:2]) == rows
    monkeypatch.setenv(librispeech.ROOT_VARIABLE, str(root))
    assert as_rows(*prepare(None)[:2]) == rows
    monkeypatch.delenv(librispeech.ROOT_VARIABLE)
    for where, message in (
        (None, "no folder is configured"),
        (root / "elsewhere", "elsewhere is not a folder"),
    ):
        with pytest.raises(SamlError, match=f"{message}.*SAML_LIBRISPEECH_ROOT.*saml download librispeech"):
            prepare(where)


def test_heldout_can_be_limited(root):
    _, supervisions, _ = prepare(root, heldout_utterances=1)
    assert sum(s.custom["role"] == "heldout" for s in supervisions) == 1 and len(supervisions) == 9


BAD_LINES = {
    "another chapter": "19-227-0000 SOMEWHERE ELSE",
    "no words": "19-198-0003",
    "no utterance": "AND SO ON",
    "twice": "19-198-0001 AGAIN",
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_named(root, case):
    path = root / "LibriSpeech/train-clean-100/19/198/19-198.trans.txt"
    path.write_text(path.read_text() + BAD_LINES[case] + "\n")
    with pytest.raises(SamlError, match=r"19-198.trans.txt, line 4: "):
        prepare(root)


def test_a_bad_file_is_named_or_dropped(root):
    folder = root / "LibriSpeech/train-clean-100/19/198"
    (folder / "19-198-0000.flac").unlink()
    whole = (folder / "19-198-0001.flac").read_bytes()
    (folder / "19-198-0001.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SamlError, match=r"utterance 19-198-0000 of speaker 19 .*: the file is missing"):
        prepare(root)
    _, supervisions, dropped = prepare(root, on_bad="drop")
    assert [(row.utterance, row.reason) for row in dropped] == [
        ("19-198-0000", "the file is missing"),
        ("19-198-0001", "the file is truncated or damaged"),
    ]
    assert len(supervisions) == 8


def test_a_speaker_without_transcripts_is_named(root):
    for path in (root / "LibriSpeech/train-clean-100/19").rglob("*.trans.txt"):
        path.unlink()
    with pytest.raises(SamlError, match="train-clean-100/19: there is no transcript"):
        prepare(root)


@pytest.mark.skipif(not PIECE.is_dir(), reason=f"no LibriSpeech at {PIECE}; set SAML_TEST_LIBRISPEECH to it")
def test_real_speech():
    """In the excerpt or the whole corpus: speakers 19 and 26 are in both."""
    changes = {
        "roles": {"base": (["26"], 0), "pretrain": ([], 5), "heldout": ([], 5)},
        "reserved": ["19"],
        "parts": {role: ["train-clean-100"] for role in ("target", "base", "pretrain", "heldout")},
    }
    recordings, supervisions, dropped = prepare(PIECE, **changes)
    folder = librispeech.root_folder({"root": PIECE}) / "train-clean-100"
    speakers = {s.speaker for s in supervisions}
    assert len(speakers) == 11 and "19" not in speakers and dropped == []
    assert as_rows(recordings, supervisions) == plain_reading(folder, speakers)
    recordings, supervisions, _ = prepare_speaker(PIECE, "19", **changes)
    assert as_rows(recordings, supervisions) == plain_reading(folder, ["19"])
    assert len(supervisions) >= 45


FOREIGN = [".ipynb_checkpoints", "@eaDir", "__MACOSX", "._19", ".DS_Store", "notes"]


def test_foreign_entries_are_passed_over(root):
    """Hidden folders and files, those that programs leave behind, and folders that are no speaker's."""
    before = as_rows(*prepare(root)[:2])
    part = root / "LibriSpeech/train-clean-100"
    for name in FOREIGN:
        (part / name).mkdir()
        (part / "19" / name).mkdir()
    (part / "19/198/._19-198.trans.txt").write_bytes(b"\x00\x05\x16\x07\xff")
    (part / "19/@eaDir/19-0.trans.txt").write_text("19-0-0000 NONSENSE\n")
    assert librispeech.speakers(root / "LibriSpeech", "train-clean-100") == ["8", "19", "26", "103"]
    assert as_rows(*prepare(root)[:2]) == before


def test_texts_are_plain(root):
    path = root / "LibriSpeech/train-clean-100/19/198/19-198.trans.txt"
    path.write_text("\ufeff" + path.read_text().replace("NORTHANGER", "NORTH\u00adANGER\u2019S\u00a0"))
    (row, *_) = librispeech.read_speaker(path.parents[1], "base")
    assert row.text == "NORTHANGER'S ABBEY"


def test_the_root_may_name_a_variable_or_the_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("SPEECH", str(root))
    found = root / "LibriSpeech"
    for named in ("~/corpora", "$SPEECH", "${SPEECH}/LibriSpeech"):
        assert librispeech.root_folder({"root": named}) == found
    with pytest.raises(
        SamlError,
        match=r"^corpus.librispeech.root: .* names the environment variable SPEACH, which is not set",
    ):
        librispeech.root_folder({"root": "$SPEACH"})


def test_a_converted_file_is_named_as_the_corpus_has_it(root, tmp_path):
    """A file at another rate becomes a copy; messages about it name the corpus's own."""
    path = next((root / "LibriSpeech/train-clean-360/115/9").glob("*-0000.flac"))
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples, 8_000)
    pools = librispeech.prepare_corpus(settings(root), tmp_path / "audio")
    recordings, supervisions, _ = librispeech.prepare_speaker(
        settings(root), "115", *pools[:2], tmp_path / "audio"
    )
    one = supervisions["115-9-0000"]
    assert one.custom["file"] == str(path)
    assert recordings["115-9-0000"].sources[0].source == str(tmp_path / "audio/115/115-9-0000.flac")
    assert all("file" not in other.custom for other in supervisions if other.id != one.id)
