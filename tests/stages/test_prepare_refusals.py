"""Speech that cannot be used, named or dropped; requests that cannot be met."""

import copy
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from saml.runtime.errors import SamlError
from saml.stages import prepare as stages
from saml.tracking import read_record
from tests.stages.preparing import SETTINGS, changed, edit_manifest, run

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
