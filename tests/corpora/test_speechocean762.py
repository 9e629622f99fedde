"""speechocean762's layout: reading, roles, and errors."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from lhotse.kaldi import load_kaldi_data_dir

from saml.corpora import speechocean762
from saml.corpora.all_speakers import all_speakers
from saml.runtime.errors import SamlError

REAL = Path(
    os.environ.get("SAML_TEST_SPEECHOCEAN762", Path(__file__).parents[3] / "shared/data/speechocean762")
)
SPEAKERS = {"train": ["0036", "0135", "1027"], "test": ["0157", "0009"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two parts, three utterances of each speaker; the file of an utterance is where wav.scp says."""
    for part, speakers in SPEAKERS.items():
        tables: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        for speaker in speakers:
            for number in range(3):
                name, path = f"{speaker}{number:05d}", Path(f"WAVE/SPEAKER{speaker}/{number}.flac")
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                noise = 0.1 * np.random.default_rng(int(name)).standard_normal(8_000 + 1_000 * number)
                soundfile.write(tmp_path / path, noise, 16_000)
                tables["wav.scp"].append(f"{name}\t{path}")
                tables["text"].append(f"{name}\tIT\u2019S NUMBER {'ABC'[number]}")
                tables["utt2spk"].append(f"{name} {speaker}")
        (tmp_path / part).mkdir()
        for table, lines in tables.items():
            (tmp_path / part / table).write_text("\n".join(lines) + "\n")
    return tmp_path


def settings(root: Path | None, **changes: Any) -> dict[str, Any]:
    own: dict[str, Any] = {
        "root": str(root) if root else None,
        "parts": {"target": ["test"], "base": ["train"], "pretrain": ["train"], "heldout": ["train"]},
        "roles": {
            "base": {"named": [], "drawn": 0},
            "pretrain": {"named": [], "drawn": None},
            "heldout": {"named": ["0036"], "drawn": 0},
        },
        "reserved": [],
        "dev_share": 0.2,
        "heldout_utterances": None,
        "seed": 1,
    }
    return {"on_bad_utterance": "error", "speechocean762": own | changes}


def test_pools_come_from_their_part(root: Path, tmp_path: Path) -> None:
    recordings, supervisions, dropped = speechocean762.prepare_corpus(settings(root), tmp_path / "audio")
    roles = {s.speaker: s.custom["role"] for s in supervisions}
    assert roles == {"0036": "heldout", "0135": "pretrain", "1027": "pretrain"} and not dropped
    assert [s.custom["part"] for s in supervisions if s.speaker == "0036"] == ["test"] * 3
    one = next(s for s in supervisions if s.id == "013500001")
    assert (one.text, one.duration) == ("IT'S NUMBER B", 9_000 / 16_000)
    assert recordings["013500001"].sources[0].source == str(root / "WAVE/SPEAKER0135/1.flac")


def test_a_target_speaker_is_read_when_asked_for(root: Path, tmp_path: Path) -> None:
    recordings, supervisions, _ = speechocean762.prepare_corpus(settings(root), tmp_path / "audio")
    found, spoken, _ = speechocean762.prepare_speaker(
        settings(root), "0157", recordings, supervisions, tmp_path / "audio"
    )
    assert [s.id for s in spoken] == ["015700000", "015700001", "015700002"] == [r.id for r in found]
    assert {s.custom["role"] for s in spoken} == {"target"}
    for speaker, problem in (
        ("0135", "has the role pretrain"),
        ("0158", r"not in test .*for example with 0157"),
    ):
        with pytest.raises(SamlError, match=problem):
            speechocean762.prepare_speaker(settings(root), speaker, recordings, supervisions, tmp_path)


def test_lhotse_reads_the_same(root: Path) -> None:
    for name in ("train", "test"):
        (root / name / "reco2dur").write_text(
            "".join(f"{row.utterance} 0.5\n" for row in speechocean762.read_part(root, name))
        )
        _, supervisions, _ = load_kaldi_data_dir(root / name, sampling_rate=16_000)
        theirs = {s.id: (s.speaker, s.text.replace("\u2019", "'")) for s in supervisions}
        ours = {row.utterance: (row.speaker, row.text) for row in speechocean762.read_part(root, name)}
        assert ours == theirs


# The table, what is replaced in it, and the message.
BAD = {
    "text of an utterance": (
        *("text", "013500001\tIT\u2019S NUMBER B\n", ""),
        "text: utterance 013500001 is missing",
    ),
    "a command": (
        *("wav.scp", "013500001\tWAVE/SPEAKER0135/1.flac", "013500001\tsox a.wav -t wav - |"),
        "wav.scp: the audio of 013500001 is a command",
    ),
    "an utterance twice": (
        *("utt2spk", "013500001 0135", "013500000 0135"),
        "line 5: 013500000 is listed twice",
    ),
    "no value": (*("utt2spk", "013500001 0135", "013500001"), "line 5: '013500001' has no value"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_table_is_named(root: Path, name: str) -> None:
    table, old, new, problem = BAD[name]
    path = root / "train" / table
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SamlError, match=problem):
        speechocean762.read_part(root, "train")


def test_a_missing_corpus_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(speechocean762.ROOT_VARIABLE, raising=False)
    with pytest.raises(SamlError, match="no folder is configured; .*openslr.org/101"):
        speechocean762.root_folder(settings(None)["speechocean762"])
    with pytest.raises(SamlError, match=r"there is no .*train/utt2spk; to get the corpus"):
        speechocean762.speakers(tmp_path, "train")


@pytest.mark.skipif(not REAL.is_dir(), reason="speechocean762 is not here")
def test_the_real_corpus() -> None:
    """Counted in the tables with wc."""
    rows = {part: speechocean762.read_part(REAL, part) for part in ("train", "test")}
    assert [len(rows[part]) for part in rows] == [1140, 720]
    assert [len(speechocean762.speakers(REAL, part)) for part in rows] == [57, 36]
    assert all(row.path.is_file() for part in rows.values() for row in part)


def test_all_speakers_of_a_part_can_be_targets(root: Path) -> None:
    """But those with another role: 0157 is a tuning speaker here."""
    own = settings(root)["speechocean762"]
    config: dict[str, Any] = {
        "target_speakers": {"all_of": ["test"]},
        "tuning": {"speakers": ["0157"]},
        "corpus": {"name": "speechocean762", "speechocean762": own},
    }
    assert all_speakers(config) == ["0009"]
    config["target_speakers"]["all_of"] = ["train", "test"]  # 0036 is named for heldout
    assert all_speakers(config) == ["0135", "1027", "0009"]
    config["target_speakers"]["all_of"] = ["dev"]
    with pytest.raises(SamlError, match="there is no .*dev/utt2spk; to get the corpus"):
        all_speakers(config)
    config["corpus"] |= {"name": "folder", "folder": {"roles": {}}}
    with pytest.raises(SamlError, match="the corpus folder has no parts; list the speakers"):
        all_speakers(config)
