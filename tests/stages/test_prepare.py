"""From a corpus to cuts with features and splits, as the commands do it."""

import copy
import gzip
import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, RecordingSet, SupervisionSet
from lhotse.qa import validate

from saml.features.batching import collate
from saml.features.store import load_features
from saml.runtime.errors import SamlError
from saml.stages import prepare as stages
from saml.tracking import read_record

AN4 = Path(os.environ.get("SAML_TEST_AN4", Path(__file__).parents[3] / "shared/data/an4"))

SETTINGS = {
    "corpus": {
        "name": "folder",
        "on_bad_utterance": "error",
        "min_seconds": 0.2,
        "max_seconds": 2.0,
        "folder": {
            "root": "mine",
            "manifest": "manifest.tsv",
            "roles": {},
            "dev_share": 0.25,
            "heldout_utterances": None,
            "synthetic_speech": {"voices": 0},
            "seed": 1,
        },
    },
    "base_training": {"speed_perturbation": None},
    "model": {"family": "conformer", "conformer": {"characters": " 'abcdefghijklmnopqrstuvwxyz"}},
    "partition": {"scheme": "contiguous", "folds": 5, "seed": 1},
}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A working directory with a corpus of two pool speakers, a heldout one and a target."""
    monkeypatch.chdir(tmp_path)
    lines = ["utterance\tspeaker\trole\tfile\ttext"]
    for speaker, role in (("anna", "base"), ("bert", "pretrain"), ("carl", "heldout"), ("dora", "target")):
        for index in range(6):
            name = f"{speaker}-{index}"
            path = Path("mine") / speaker / f"{index}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(len(lines)).standard_normal(8_000 + 800 * index)
            soundfile.write(path, 0.1 * noise, 16_000)
            lines.append(f"{name}\t{speaker}\t{role}\t{speaker}/{index}.wav\tOne Two {'abcdef'[index]}")
    Path("mine/manifest.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def edit_manifest(old, new):
    path = Path("mine/manifest.tsv")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run(stage, folder, settings=SETTINGS, **options):
    """Run a stage with the files it has in an experiment's folder."""
    folder = Path(folder)
    corpus = {name: folder / f"corpus/{name}.jsonl.gz" for name in ("recordings", "supervisions")}
    if stage == "corpus":
        place, own = folder / "corpus", {"audio": folder / "corpus/audio"}
        function = stages.prepare_corpus
    elif stage == "pool":
        place = folder / "pools" / options["role"]
        own = {"cuts": place / "cuts.jsonl.gz", "features": place / "features.bin"}
        function = stages.prepare_pool
    else:
        place = folder / "speakers" / options["speaker"]
        own = {
            "cuts": place / "cuts.jsonl.gz",
            "features": place / "features.bin",
            "splits": place / "splits.json",
            "audio": place / "audio",
        }
        function = stages.prepare_speaker
    function(
        experiment="test",
        settings=settings,
        **corpus,
        **own,
        **options,
        dropped=place / "dropped.tsv",
        record=place / "run.jsonl",
    )
    return place


def changed(**corpus):
    settings = copy.deepcopy(SETTINGS)
    settings["corpus"] |= corpus
    return settings


def digests(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != "run.jsonl")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_from_a_folder_to_cuts(workplace):
    place = run("corpus", "out")
    validate(RecordingSet.from_file(place / "recordings.jsonl.gz"), read_data=True)
    assert len(SupervisionSet.from_file(place / "supervisions.jsonl.gz")) == 24
    assert (place / "dropped.tsv").read_text() == "utterance\tspeaker\tfile\treason\n"
    assert (place / "audio").is_dir() and (place / "run.jsonl").is_file()

    place = run("pool", "out", role="base")
    cuts = list(CutSet.from_file(place / "cuts.jsonl.gz"))
    validate(CutSet.from_items(cuts), read_data=True)
    assert [cut.id for cut in cuts] == [f"anna-{index}" for index in range(6)]
    assert sorted(cut.custom["part"] for cut in cuts) == ["dev", "dev", "train", "train", "train", "train"]
    assert cuts[0].supervisions[0].text == "One Two a" and cuts[0].supervisions[0].custom["role"] == "base"
    assert cuts[0].recording.sources[0].source == "mine/anna/0.wav"
    assert cuts[0].features.storage_path == "out/pools/base/features.bin"
    batch, lengths = collate(cuts, load_features(cuts))
    assert batch.shape == (6, 75, 80) and lengths.tolist() == [50, 55, 60, 65, 70, 75]

    assert {
        c.custom["part"] for c in CutSet.from_file(run("pool", "out", role="heldout") / "cuts.jsonl.gz")
    } == {"test"}


def test_a_speaker_is_split(workplace):
    run("corpus", "out")
    place = run("speaker", "out", speaker="dora")
    assert json.loads((place / "splits.json").read_text()) == {
        "speaker": "dora",
        "scheme": "contiguous",
        "seed": 1,
        "folds": [{"train": ["dora-0", "dora-1"], "dev": ["dora-2", "dora-3"], "test": ["dora-4", "dora-5"]}],
    }
    cuts = list(CutSet.from_file(place / "cuts.jsonl.gz"))
    assert [cut.id for cut in cuts] == [f"dora-{index}" for index in range(6)]
    assert {cut.supervisions[0].custom["role"] for cut in cuts} == {"target"}


def test_the_record_tells_what_was_made(workplace):
    place = run("corpus", "out")
    run("pool", "out", role="base")
    lines = [json.loads(line) for line in (Path("out/pools/base/run.jsonl")).read_text().splitlines()]
    scores = {line["name"]: line["value"] for line in lines if line["kind"] == "score"}
    assert scores["utterances"] == 6 and scores["speakers"] == 1 and scores["dropped"] == 0
    assert scores["hours"] == pytest.approx(3.75 / 3600)
    (size,) = [line for line in lines if line["kind"] == "size"]
    assert list(size.values())[1:] == ["features", 375 * 80 * 4]
    assert '"stage": "prepare-corpus"' in (place / "run.jsonl").read_text()


def test_the_record_knows_the_manifest(workplace):
    """The checksum is coreutils'."""
    head = json.loads((run("corpus", "out") / "run.jsonl").read_text().splitlines()[0])
    told = subprocess.run(["sha256sum", "mine/manifest.tsv"], capture_output=True, text=True, check=True)
    assert head["settings"]["manifest"] == {"sha256": told.stdout.split()[0]}


def test_same_bytes_again(workplace):
    for folder in ("one", "two"):
        run("corpus", folder)
        run("pool", folder, role="pretrain")
        run("speaker", folder, speaker="dora")
    first, second = digests("one"), digests("two")
    # The cuts name the file of their features, which lies in another folder; nothing else differs.
    assert {name for name in first if first[name] != second[name]} == {
        "pools/pretrain/cuts.jsonl.gz",
        "speakers/dora/cuts.jsonl.gz",
    }
    texts = [gzip.decompress(Path(f, "speakers/dora/cuts.jsonl.gz").read_bytes()) for f in ("one", "two")]
    assert texts[0].replace(b"one/", b"two/") == texts[1]


BAD = {
    "empty transcript": ("One Two c", "", "the transcript is empty"),
    "unknown characters": ("One Two c", "One £2 c", "the tokeniser lacks '£2' of the transcript 'One £2 c'"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("speaker", ["anna", "dora"])
def test_bad_transcripts(workplace, case, speaker):
    old, new, reason = BAD[case]
    edit_manifest(f"{speaker}/2.wav\t{old}", f"{speaker}/2.wav\t{new}")
    run("corpus", "out")
    stage = (
        {"stage": "pool", "role": "base"} if speaker == "anna" else {"stage": "speaker", "speaker": speaker}
    )
    with pytest.raises(SamlError) as error:
        run(folder="out", **stage)
    assert f"utterance {speaker}-2 of speaker {speaker} (mine/{speaker}/2.wav): {reason}" in str(error.value)
    assert "\n" not in str(error.value)
    place = run(folder="out", settings=changed(on_bad_utterance="drop"), **stage)
    rows = [line.split("\t") for line in (place / "dropped.tsv").read_text().splitlines()]
    assert len(rows) == 2 and rows[1][:3] == [f"{speaker}-2", speaker, f"mine/{speaker}/2.wav"]
    assert len(list(CutSet.from_file(place / "cuts.jsonl.gz"))) == 5


def test_bad_durations(workplace):
    run("corpus", "out")
    with pytest.raises(SamlError, match=r"utterance anna-0 .* lasts 0.50 s, less than 0.52 s"):
        run("pool", "out", changed(min_seconds=0.52), role="base")
    with pytest.raises(
        SamlError, match=r"utterance anna-4 .* lasts 0.70 s, longer than 0.66 s \(corpus.max_seconds\)"
    ):
        run("pool", "out", changed(max_seconds=0.66), role="base")
    place = run(
        "pool", "out", changed(min_seconds=0.52, max_seconds=0.66, on_bad_utterance="drop"), role="base"
    )
    assert [cut.id for cut in CutSet.from_file(place / "cuts.jsonl.gz")] == ["anna-1", "anna-2", "anna-3"]
    with pytest.raises(SamlError, match="role base: none of its 6 utterances is left"):
        run("pool", "out", changed(min_seconds=1.0, on_bad_utterance="drop"), role="base")


def test_whisper_sets_the_longest_utterance(workplace):
    run("corpus", "out")
    settings = copy.deepcopy(SETTINGS)
    padded = {"bins": 80, "pad_seconds": 0.66, "tail_seconds": None}
    own = {"features": padded, "characters": SETTINGS["model"]["conformer"]["characters"]}
    own |= {"checkpoint": None, "max_target_positions": 448, "ctc_head": False}
    settings["model"] = {"family": "whisper", "whisper": own}
    with pytest.raises(SamlError, match=r"anna-4 .* longer than the model takes \(0.66 s\)"):
        run("pool", "out", settings, role="base")


def test_bad_requests(workplace):
    run("corpus", "out")
    with pytest.raises(SamlError, match="speaker emil has no utterances"):
        run("speaker", "out", speaker="emil")
    with pytest.raises(SamlError, match="speaker anna has the role base"):
        run("speaker", "out", speaker="anna")
    with pytest.raises(SamlError, match="role 'target' is no pool"):
        run("pool", "out", role="target")
    with pytest.raises(SamlError, match="'skip' is neither error nor drop"):
        run("pool", "out", changed(on_bad_utterance="skip", min_seconds=1.0), role="base")
    Path("out/corpus/supervisions.jsonl.gz").write_bytes(b"nonsense")
    with pytest.raises(SamlError, match="supervisions.jsonl.gz: cannot read this manifest"):
        run("pool", "out", role="base")


def test_only_the_train_part_of_base_has_copies_at_other_speeds(workplace):
    run("corpus", "out")
    faster = {**SETTINGS, "base_training": {"speed_perturbation": [1.0, 1.1]}}
    for role, copies in (("base", True), ("pretrain", False), ("heldout", False)):
        cuts = list(CutSet.from_file(run("pool", "out", faster, role=role) / "cuts.jsonl.gz"))
        originals = [cut for cut in cuts if "_sp" not in cut.id]
        train = [cut for cut in originals if cut.custom["part"] == "train"]
        assert len(originals) == 6 and len(cuts) == 6 + len(train) * copies


def test_a_role_that_nobody_has(workplace):
    edit_manifest("\theldout\t", "\tpool\t")
    run("corpus", "out")
    with pytest.raises(
        SamlError, match="no speaker has the role heldout in corpus folder; give it to speakers in corpus"
    ):
        run("pool", "out", role="heldout")


def test_nobody_has_two_roles_whatever_the_corpus_says(workplace, monkeypatch):
    """A corpus that is added may forget to look."""
    module = stages.corpus("folder")
    found, spoken, bad = module.prepare_corpus(SETTINGS["corpus"], workplace / "audio")
    spoken["anna-5"].custom["role"] = "heldout"
    monkeypatch.setattr(module, "prepare_corpus", lambda *_: (found, spoken, bad))
    with pytest.raises(
        SamlError,
        match=r"corpus folder: speaker anna has two roles, base \(utterance anna-0\) and heldout .*-5",
    ):
        run("corpus", "out")
    assert not Path("out/corpus/supervisions.jsonl.gz").exists()


def test_a_target_speaker_changes_nothing_shared(workplace):
    run("corpus", "out")
    run("pool", "out", role="base")
    before = digests("out")
    run("speaker", "out", speaker="dora")
    after = digests("out")
    assert {name: after[name] for name in before} == before


def test_an_unnamed_pool_speaker_can_be_a_target(workplace):
    edit_manifest("\ttarget\t", "\tpool\t")
    run("corpus", "out")
    assert len(list(CutSet.from_file(run("speaker", "out", speaker="dora") / "cuts.jsonl.gz"))) == 6


@pytest.mark.skipif(not AN4.is_dir(), reason=f"no AN4 at {AN4}; set SAML_TEST_AN4 to it")
def test_real_speech(tmp_path):
    settings = copy.deepcopy(SETTINGS)
    settings["corpus"] |= {"max_seconds": 20.0}
    settings["corpus"]["folder"] |= {
        "root": str(AN4),
        "dev_share": 0.1,
        "roles": {"base": ["fash", "fbbh"], "pretrain": ["fclc"], "heldout": ["fejs"]},
    }
    settings["partition"] |= {"scheme": "folds"}
    place = run("corpus", tmp_path, settings)
    supervisions = SupervisionSet.from_file(place / "supervisions.jsonl.gz")
    assert len(supervisions) == 948 and len({s.speaker for s in supervisions}) == 74
    roles = {s.speaker: s.custom["role"] for s in supervisions}
    assert sum(role == "target" for role in roles.values()) == 24
    assert sum(role == "pool" for role in roles.values()) == 46
    cuts = list(CutSet.from_file(run("pool", tmp_path, settings, role="base") / "cuts.jsonl.gz"))
    assert {cut.supervisions[0].speaker for cut in cuts} == {"fash", "fbbh"}
    speaker = next(name for name, role in roles.items() if role == "target")
    place = run("speaker", tmp_path, settings, speaker=speaker)
    folds = json.loads((place / "splits.json").read_text())["folds"]
    tested = sorted(name for fold in folds for name in fold["test"])
    assert tested == sorted(s.id for s in supervisions if s.speaker == speaker)


def test_audio_that_was_changed_since_is_named_or_dropped(workplace):
    """Features are computed from what is there now: a file that was cut short in between."""
    run("corpus", "out")
    path = Path("mine/anna/2.wav")
    path.write_bytes(path.read_bytes()[:8_000])
    with pytest.raises(SamlError, match=r"utterance anna-2 .*mine/anna/2.wav\): the file is truncated"):
        run("pool", "out", role="base")
    place = run("pool", "out", changed(on_bad_utterance="drop"), role="base")
    assert [cut.id for cut in CutSet.from_file(place / "cuts.jsonl.gz")] == [
        f"anna-{i}" for i in (0, 1, 3, 4, 5)
    ]
    assert "anna-2\tanna\tmine/anna/2.wav\tthe file is truncated" in (place / "dropped.tsv").read_text()
    record = read_record(place / "run.jsonl")
    assert record.scores["utterances"] == 5 and record.scores["dropped"] == 1


def test_copies_of_a_recording_stay_in_one_part(workplace, capsys):
    """Two of six recordings of a target speaker are the same: 2 : 1 : 2 of five, and the copy beside it."""
    Path("mine/dora/5.wav").write_bytes(Path("mine/dora/0.wav").read_bytes())
    run("corpus", "out")
    place = run("speaker", "out", speaker="dora")
    (fold,) = json.loads((place / "splits.json").read_text())["folds"]
    assert fold == {
        "train": ["dora-0", "dora-1", "dora-5"],
        "dev": ["dora-2"],
        "test": ["dora-3", "dora-4"],
    }
    assert "the same recording under 2 ids: dora-0 (dora), dora-5 (dora)" in capsys.readouterr().err


def test_each_file_is_decoded_once(workplace):
    """Counted by the operating system: bytes that this process asked for, in each of the stages."""
    for path in Path("mine").rglob("*.wav"):
        noise = np.random.default_rng(sum(str(path).encode())).standard_normal(10 * 16_000)
        soundfile.write(path, 0.1 * noise, 16_000)
    size = path.stat().st_size
    settings = changed(max_seconds=20.0)

    def asked(stage, **options):
        before = int(Path("/proc/self/io").read_text().split()[1])
        run(stage, "out", settings, **options)
        return int(Path("/proc/self/io").read_text().split()[1]) - before

    asked("corpus")  # imports
    assert 24 * size <= asked("corpus") < 24 * 1.5 * size
    assert 6 * size <= asked("pool", role="base") < 6 * 1.5 * size
    assert 6 * size <= asked("speaker", speaker="dora") < 6 * 1.5 * size


def test_a_transcript_that_is_too_long_for_its_audio_or_the_model(workplace):
    """Named with file and numbers, or dropped, before any feature is computed; only where CTC is trained."""
    edit_manifest("anna/2.wav\tOne Two c", f"anna/2.wav\t{'bin blue ' * 20}")
    edit_manifest("dora/2.wav\tOne Two c", f"dora/2.wav\t{'bin blue ' * 120}")
    run("corpus", "out")
    # 0.6 s are 60 feature frames, 15 encoder frames; 179 letters and spaces, no two alike in a row.
    reason = (
        "its transcript of 179 tokens needs 179 encoder frames for the CTC loss, and 0.60 s of audio give 15"
    )
    with pytest.raises(SamlError, match=rf"utterance anna-2 of speaker anna \(mine/anna/2.wav\): {reason}"):
        run("pool", "out", role="base")
    assert not Path("out/pools/base/features.bin").exists()
    place = run("pool", "out", changed(on_bad_utterance="drop"), role="base")
    assert reason in (place / "dropped.tsv").read_text()
    without = SETTINGS | {"ctc": False}
    place = run("pool", "out", without, role="base")
    assert len(list(CutSet.from_file(place / "cuts.jsonl.gz"))) == 6
    with pytest.raises(SamlError, match=r"dora-2 .* has 1079 tokens, more than the 1023 that the model has"):
        run("speaker", "out", without, speaker="dora")


def test_a_converted_file_is_named_as_the_user_knows_it(workplace):
    samples, _ = soundfile.read("mine/dora/2.wav")
    soundfile.write("mine/dora/2.wav", np.repeat(samples, 2), 32_000)
    edit_manifest("dora/2.wav\tOne Two c", "dora/2.wav\tOne 2 c")
    place = run("corpus", "out")
    assert (place / "audio/dora/dora-2.flac").is_file()
    with pytest.raises(
        SamlError, match=r"utterance dora-2 of speaker dora \(mine/dora/2.wav\): the tokeniser"
    ):
        run("speaker", "out", speaker="dora")
