"""The synthetic corpus: parts, voices, and repeatability."""

import collections
import copy
import hashlib
import time

import numpy as np
import pytest
import soundfile

pytest.importorskip("espeakng_loader")

from saml.corpora import espeak, grammar, spoken_commands, synthesis, voices
from saml.corpora.espeak import Voice
from saml.runtime.errors import SamlError

SETTINGS = {
    "spoken_commands": {
        "seed": 5,
        "base": {"voices": 4, "sentences": 3, "dev_voices": 1},
        "pretrain": {"voices": 3, "sentences": 3, "dev_sentences": 1},
        "heldout": {"voices": 2, "sentences": 2},
        "target": {"train": 4, "dev": 2, "test": 4},
        "snr_db": [15, 30],
        "gain_db": [-6, 0],
    }
}
TARGET = "de_f2_r155_p55"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return spoken_commands.prepare_corpus(SETTINGS, tmp_path_factory.mktemp("audio"))


def speak_target(corpus, audio, speaker=TARGET, settings=SETTINGS):
    return spoken_commands.prepare_speaker(settings, speaker, corpus[0], corpus[1], audio)


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_grammar():
    words = [word for slot in grammar.SLOTS for word in slot]
    assert [len(slot) for slot in grammar.SLOTS] == [4, 4, 4, 25, 10, 4]
    assert len(words) == len(set(words)) == 51
    assert "w" not in words


def test_every_sentence_belongs_to_one_part():
    parts = grammar.sentences_by_part(5)
    every = [sentence for own in parts.values() for sentence in own]
    assert len(every) == len(set(every)) == 4 * 4 * 4 * 25 * 10 * 4
    for part, own in parts.items():
        assert len(own) / len(every) == pytest.approx(grammar.SHARES[part] / 100, rel=0.05)
    assert len({grammar.code(sentence) for sentence in every}) == len(every)
    assert grammar.code(("bin", "blue", "at", "f", "two", "now")) == "bbaf2n"


def test_no_sentence_in_two_parts(corpus, tmp_path):
    parts = collections.defaultdict(set)
    spoken = [
        *corpus[1],
        *speak_target(corpus, tmp_path)[1],
        *speak_target(corpus, tmp_path, "fr_m3_r165_p40")[1],
    ]
    for supervision in spoken:
        parts[supervision.text].add((supervision.custom["role"], supervision.custom["part"]))
    assert all(len(places) == 1 for places in parts.values())


def test_roles_and_parts(corpus):
    counts = collections.Counter((s.custom["role"], s.custom["part"]) for s in corpus[1])
    assert counts == {
        ("base", "train"): 9,
        ("base", "dev"): 3,
        ("pretrain", "train"): 6,
        ("pretrain", "dev"): 3,
        ("heldout", "test"): 4,
    }
    speakers = collections.defaultdict(set)
    for supervision in corpus[1]:
        speakers[supervision.speaker].add(supervision.custom["role"])
    assert len(speakers) == 9 and all(len(roles) == 1 for roles in speakers.values())
    assert corpus[2] == []


def test_audio_has_the_right_format_and_level(corpus, tmp_path):
    recordings, supervisions, _ = speak_target(corpus, tmp_path)
    assert collections.Counter(s.custom["part"] for s in supervisions) == {"train": 4, "dev": 2, "test": 4}
    for recording in [*corpus[0], *recordings]:
        samples, rate = soundfile.read(recording.sources[0].source)
        assert rate == recording.sampling_rate == 16_000
        assert samples.ndim == 1 and len(samples) == recording.num_samples
        assert 1.0 < recording.duration < 3.2
        assert 0.2 < np.abs(samples).max() <= 1.0


def test_same_bytes_again_whatever_was_spoken_before(corpus, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    speak_target(corpus, first)
    speak_target(corpus, tmp_path / "other", "it_f4_r170_p60")
    time.sleep(1.1)  # espeak would seed its noise with the time in seconds
    speak_target(corpus, second)
    assert len(contents(first)) == 10
    assert contents(first) == contents(second)


def test_more_voices_and_sentences_do_not_change_the_others(corpus, tmp_path):
    more = copy.deepcopy(SETTINGS)
    more["spoken_commands"]["base"] |= {"voices": 5, "sentences": 4}
    recordings, _, _ = spoken_commands.prepare_corpus(more, tmp_path)
    before, after = {r.id for r in corpus[0]}, {r.id for r in recordings}
    # Only the former dev voice differs: the new voice is last and so takes its place.
    assert {name for name in before - after if "base" in name} == set()
    assert len(before - after) == 3


def test_each_utterance_has_its_own_noise_and_level():
    clean = np.sin(np.arange(30_011) * 0.05).astype(np.float32) * 0.3
    drawn = []
    for name in ("a", "b", "c", "d"):
        noisy = synthesis.with_level_and_noise(clean, name, SETTINGS["spoken_commands"])
        assert noisy.dtype == np.float32 and noisy.shape == clean.shape
        assert np.array_equal(noisy, synthesis.with_level_and_noise(clean, name, SETTINGS["spoken_commands"]))
        # The part along the clean signal is speech, the rest is noise.
        gain = float(noisy @ clean / (clean @ clean))
        noise = noisy - gain * clean
        drawn.append(
            (20 * np.log10(gain * 0.3 / 0.7), 10 * np.log10(np.mean((gain * clean) ** 2) / np.mean(noise**2)))
        )
    assert all(-6.1 < level < 0.1 and 14.8 < ratio < 30.2 for level, ratio in drawn)
    assert len({round(level, 2) for level, _ in drawn}) == len({round(ratio, 2) for _, ratio in drawn}) == 4


def test_pool_voices_never_share_a_vocal_tract():
    variants = {role: {v.variant for v in voices.pool_voices(role, 8, 1)} for role in voices.POOL_VARIANTS}
    assert not variants["base"] & variants["pretrain"] and not variants["heldout"] & variants["base"]
    taken = [name for pool in voices.POOL_VARIANTS.values() for name in pool]
    assert len(taken) == len(set(taken))
    assert set(taken) <= espeak.variants()
    assert {f"{sex}{number}" for sex in "fm" for number in range(1, 6)} <= set(voices.free_variants())


def test_pool_voices_are_different_and_evenly_spread():
    every = voices.pool_voices("base", 8 * 32, 1)
    assert len({(voice.language, voice.variant) for voice in every}) == 256
    first = voices.pool_voices("base", 72, 1)
    assert first == every[:72]
    assert set(collections.Counter(voice.language for voice in first).values()) == {9}
    foreign = [voice.language in voices.FOREIGN for voice in voices.pool_voices("pretrain", 30, 1)]
    assert sum(foreign) == 20 and sum(foreign[:6]) == 4
    with pytest.raises(SamlError, match="needs 257 voices .* there are 256"):
        voices.pool_voices("base", 257, 1)


def test_a_name_describes_a_voice():
    assert voices.target_voice("en-us_m3_r170_p45") == Voice("en-us", "m3", 170, 45)
    assert voices.voice_name(Voice("en-us", "m3", 170, 45)) == "en-us_m3_r170_p45"


@pytest.mark.parametrize(
    ("speaker", "message"),
    [
        ("anna", "'anna' is not a voice; write <language>"),
        ("de_f2_r500_p55", "rate must be"),
        ("de_linda_r155_p55", "variant linda belongs to the voices of role base.* choose one of f1, f2"),
        ("de_nobody_r155_p55", "no voice variant 'nobody'"),
        ("xx_f2_r155_p55", r"espeak rejects the voice xx\+f2"),
        ("de_f2_r0155_p55", "write this voice as de_f2_r155_p55"),
    ],
)
def test_voices_that_cannot_be_targets(corpus, tmp_path, speaker, message):
    with pytest.raises(SamlError, match=message):
        speak_target(corpus, tmp_path, speaker)


def test_a_pool_voice_is_refused_by_name_and_role(corpus, tmp_path):
    speaker = next(s.speaker for s in corpus[1] if s.custom["role"] == "pretrain")
    with pytest.raises(SamlError, match=f"speaker {speaker} has the role pretrain"):
        speak_target(corpus, tmp_path, speaker)


def test_letters_are_spoken_by_name():
    assert synthesis.ssml_word("z", "pl") == '<say-as interpret-as="characters">z</say-as>'
    assert "[['eI]]" in synthesis.ssml_word("a", "en-gb-x-rp")
    assert synthesis.ssml_word("at", "en-us") == "at"
    # "at a one" as an article is quicker than "at A one".
    voice = Voice("en-us", "f2", 160, 50)
    by_name = f"set red at {synthesis.ssml_word('a', 'en-us')} one now"
    rate, (article, letter) = espeak.speak(voice, ["set red at a one now", by_name])
    assert rate == 22_050
    assert len(letter) > len(article) + 0.05 * rate


def test_more_sentences_than_there_are(corpus, tmp_path):
    settings = copy.deepcopy(SETTINGS)
    settings["spoken_commands"]["target"]["dev"] = 64_000
    with pytest.raises(SamlError, match="needs 64000 sentences of part dev"):
        speak_target(corpus, tmp_path, settings=settings)
    settings["spoken_commands"]["base"]["dev_voices"] = 4
    with pytest.raises(SamlError, match=r"spoken_commands.base: the dev part must be smaller"):
        spoken_commands.prepare_corpus(settings, tmp_path)
