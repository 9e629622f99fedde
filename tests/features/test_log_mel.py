"""Log-mel against other implementations, the archive, batches and padding."""

import collections
import subprocess
import sys
import zlib

import numpy as np
import pytest
import soundfile
import torch
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
from lhotse.features.base import FeatureExtractor
from lhotse.qa import validate_cut

from saml.features import log_mel as features
from saml.features.archive import ArchiveReader, ArchiveWriter
from saml.features.log_mel import LogMel, LogMelConfig
from saml.runtime.errors import SamlError
from saml.training.common import in_order


def speechlike(seconds, seed=0):
    """Noise that swells and fades, silent in between: `(samples,)` float32."""
    count = round(seconds * 16_000)
    noise = np.random.default_rng(seed).standard_normal(count)
    return (0.1 * noise * np.sin(np.arange(count) / 2_000).clip(0)).astype(np.float32)


def make_cut(folder, name, seconds):
    path = folder / f"{name}.wav"
    samples = speechlike(seconds, seed=len(name))
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    duration = len(samples) / 16_000
    source = AudioSource(type="file", channels=[0], source=str(path))
    recording = Recording(
        id=name,
        sources=[source],
        sampling_rate=16_000,
        num_samples=len(samples),
        duration=duration,
        channel_ids=[0],
    )
    supervision = SupervisionSegment(
        id=name, recording_id=name, start=0, duration=duration, text="x", speaker="s"
    )
    return MonoCut(
        id=name, start=0, duration=duration, channel=0, supervisions=[supervision], recording=recording
    )


def stored(folder, config, seconds):
    extractor = LogMel(config)
    with ArchiveWriter(folder / "features.bin") as archive:
        cuts = [make_cut(folder, f"u{index}", length) for index, length in enumerate(seconds)]
        return [features.store_features(cut, extractor, archive) for cut in cuts]


def transformers_whisper(samples, seconds):
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(chunk_length=seconds)
    return extractor(samples, sampling_rate=16_000, return_tensors="pt")["input_features"][0].T


@pytest.mark.parametrize("seconds", [0.2, 1.234, 3.0, 6.98, 6.9999375, 7.0])
def test_whisper_equals_transformers(tmp_path, seconds):
    config = LogMelConfig("whisper", pad_seconds=7)
    (cut,) = stored(tmp_path, config, [seconds])
    batch, lengths = features.collate([cut])
    expected = transformers_whisper(soundfile.read(cut.recording.sources[0].source, dtype="float32")[0], 7)
    assert batch.shape == (1, 700, 80) and batch.dtype == torch.float32
    assert (batch[0] - expected).abs().max() < 1e-4
    # The silence after the end is no frame of the utterance.
    assert lengths.tolist() == [int(seconds * 100 + 0.5)]


def test_whisper_equals_transformers_for_silence(tmp_path):
    silence = LogMel(LogMelConfig("whisper", pad_seconds=7)).extract(np.zeros(16_000), 16_000)
    expected = transformers_whisper(np.zeros(16_000, dtype=np.float32), 7)
    assert np.abs(silence[-1] - expected[-1].numpy()).max() < 1e-6


def test_whisper_stores_what_is_not_silence(tmp_path):
    (cut,) = stored(tmp_path, LogMelConfig("whisper", pad_seconds=30), [1.0])
    assert 100 <= cut.features.num_frames <= 104
    assert cut.num_frames == 100


def test_whisper_without_a_length_pads_to_the_longest(tmp_path):
    cuts = stored(tmp_path, LogMelConfig("whisper", pad_seconds=None), [1.0, 2.0])
    batch, lengths = features.collate(cuts)
    assert lengths.tolist() == [100, 200]
    alone, _ = features.collate(cuts[:1])
    assert torch.equal(batch[0, : alone.shape[1]], alone[0])
    assert torch.equal(batch[0, -1], alone[0, -1])


def test_whisper_refuses_what_is_longer_than_its_length():
    with pytest.raises(SamlError, match="audio of 7.1 s is longer than the model's 7 s"):
        LogMel(LogMelConfig("whisper", pad_seconds=7)).extract(speechlike(7.1), 16_000)


def test_conformer_is_a_normalised_log_mel(tmp_path):
    seconds = [0.2, 1.2345, 2.0]
    cuts = stored(tmp_path, LogMelConfig("conformer"), seconds)
    for cut in cuts:
        matrix = features.load_features([cut])[cut.id]
        assert matrix.dtype == torch.float32
        assert matrix.shape == (cut.num_frames, 80) == (int(cut.duration * 100 + 0.5), 80)
        assert matrix.mean(dim=0).abs().max() < 1e-4
        assert (matrix.var(dim=0, correction=0) - 1).abs().max() < 1e-3
        validate_cut(cut, read_data=True)


def test_conformer_against_a_plain_computation():
    samples = speechlike(1.0)
    ours = LogMel().extract(samples, 16_000)
    # A window at a time: frame t is centred at sample 160 t; edges are mirrored.
    padded = np.pad(samples.astype(np.float64), 256, mode="reflect")
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.array([np.abs(np.fft.rfft(padded[160 * t : 160 * t + 512] * window)) ** 2 for t in range(100)])

    def mel(hertz):
        return 2595 * np.log10(1 + hertz / 700)

    edges = 700 * (10 ** (np.linspace(mel(20), mel(8000), 82) / 2595) - 1)
    bins = np.arange(257) * 16_000 / 512
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    logarithm = np.log(np.maximum(power @ np.maximum(0, np.minimum(rising, falling)), 1e-8))
    expected = (logarithm - logarithm.mean(axis=0)) / np.sqrt(logarithm.var(axis=0) + 1e-5)
    assert np.abs(ours - expected).max() < 2e-3


def test_conformer_does_not_hear_the_level():
    samples = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    quiet, loud = (LogMel().extract(samples * gain, 16_000) for gain in (0.25, 1.0))
    assert np.abs(quiet - loud).max() < 1e-3


def test_the_extractor_is_known_to_lhotse():
    extractor = LogMel(LogMelConfig("whisper", pad_seconds=7.0))
    again = FeatureExtractor.from_dict(extractor.to_dict())
    assert isinstance(again, LogMel) and again.config == extractor.config
    with pytest.raises(SamlError, match="resample first"):
        extractor.extract(speechlike(1.0), 8_000)


def test_the_family_decides():
    model = {
        "family": "conformer",
        "conformer": {"hidden_size": 8},
        "whisper": {"features": {"pad_seconds": 7}},
    }
    assert features.feature_config(model) == LogMelConfig("conformer", 80, None)
    assert features.feature_config({**model, "family": "whisper"}) == LogMelConfig("whisper", 80, 7)
    assert features.feature_config({"family": "whisper", "whisper": {}}).pad_seconds == 30
    with pytest.raises(SamlError, match="conformer.features: no setting pad_seconds"):
        features.feature_config({"family": "conformer", "conformer": {"features": {"pad_seconds": 7}}})
    with pytest.raises(SamlError, match="family 'rnn'"):
        features.feature_config({"family": "rnn", "rnn": {}})


def test_the_archive_gives_back_what_was_stored(tmp_path):
    matrices = [
        np.random.default_rng(seed).standard_normal((seed + 3, 5)).astype(np.float32) for seed in range(4)
    ]
    path = tmp_path / "folder" / "a.bin"
    with ArchiveWriter(path) as archive:
        keys = [archive.write("", matrix) for matrix in matrices]
    assert path.stat().st_size == sum(matrix.nbytes for matrix in matrices)
    reader = ArchiveReader(path)
    for key, matrix in zip(keys, matrices, strict=True):
        assert np.array_equal(reader.read(key), matrix)
        assert np.array_equal(reader.read(key, 1, 3), matrix[1:3])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SamlError, match="cut short"):
        reader.read(keys[-1])
    path.unlink()
    with pytest.raises(SamlError, match="no such features"):
        reader.read(keys[0])


def test_a_changed_byte_in_stored_features_is_named(tmp_path):
    """Wherever it is, whichever frames are asked for; an archive of before there were checksums is taken."""
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = tmp_path / "a.bin"
    with ArchiveWriter(path) as archive:
        archive.write("", matrix)
        key = archive.write("", matrix)
    assert key == f"48,4,3,{zlib.crc32(matrix.tobytes()):08x}"
    data = path.read_bytes()
    for place in (48, 70, 95):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        for frames in ((0, None), (1, 2)):
            with pytest.raises(SamlError, match=rf"{path}: a checksum differs"):
                ArchiveReader(path).read(key, *frames)
        old = ArchiveReader(path).read("48,4,3")
        assert (old != matrix).sum() == 1
    path.write_bytes(data)
    assert np.array_equal(ArchiveReader(path).read("48,4,3"), matrix)


@pytest.mark.parametrize("key", ["", "0,4", "0,4,3,xyz", "0,4,3,0,0", "-1,4,3", "0,-4,3", "a,b,c"])
def test_a_place_that_makes_no_sense_is_named(tmp_path, key):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(48))
    with pytest.raises(SamlError, match="is no place in a features file"):
        ArchiveReader(path).read(key)
    with pytest.raises(SamlError, match="cut short"):  # before any memory is taken
        ArchiveReader(path).read(f"0,{1 << 60},80")


def test_an_archive_that_was_not_finished_is_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), ArchiveWriter(tmp_path / "a.bin") as archive:
        archive.write("", np.zeros((1, 1)))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_collate_pads_with_zeros_and_tells_lengths(tmp_path):
    cuts = stored(tmp_path, LogMelConfig("conformer"), [0.5, 0.8, 0.3])
    batch, lengths = features.collate(cuts)
    assert batch.shape == (3, 80, 80) and lengths.tolist() == [50, 80, 30]
    assert not batch[0, 50:].any() and not batch[2, 30:].any()
    cached = features.load_features(cuts)
    assert torch.equal(batch[1], cached["u1"])
    assert torch.equal(features.collate(cuts, cached)[0], batch)
    assert features.collate([cuts[0], cuts[0]])[0].shape == (2, 50, 80)


def plain_cuts(durations):
    return [
        MonoCut(id=f"u{index:03d}", start=0, duration=duration, channel=0)
        for index, duration in enumerate(durations)
    ]


DURATIONS = np.random.default_rng(3).uniform(0.5, 8.0, 300).round(2).tolist()


def test_batches_hold_every_cut_once_within_their_limits():
    cuts = plain_cuts(DURATIONS)
    for options in ({"max_seconds": 40}, {"max_utterances": 8}, {"max_seconds": 40, "max_utterances": 8}):
        made = features.batches(cuts, seed=1, **options)
        assert sorted(cut.id for batch in made for cut in batch) == [cut.id for cut in cuts]
        for batch in made:
            padded = len(batch) * max(cut.duration for cut in batch)
            assert padded <= options.get("max_seconds", 1e9)
            assert 1 <= len(batch) <= options.get("max_utterances", 1e9)


def test_batches_depend_on_seed_and_pass_only():
    cuts = plain_cuts(DURATIONS)

    def ids(order=1, **options):
        made = features.batches(cuts[::order], **({"max_seconds": 40, "seed": 1} | options))
        return [[cut.id for cut in batch] for batch in made]

    assert ids() == ids(order=-1)
    assert ids() != ids(epoch=1) and ids() != ids(seed=2)
    # Not only the order of the batches differs: other cuts meet.
    assert len({frozenset(batch) for batch in ids()} & {frozenset(batch) for batch in ids(epoch=1)}) < 5


def test_batches_waste_little():
    cuts = plain_cuts(DURATIONS * 5)
    total = sum(cut.duration for cut in cuts)

    def padded(made):
        return sum(len(batch) * max(cut.duration for cut in batch) for batch in made)

    assert padded(in_order(cuts, max_seconds=40)) < 1.02 * total
    assert padded(features.batches(cuts, max_seconds=40)) < 1.25 * total


def test_batches_of_few_cuts_are_wholly_mixed():
    cuts = plain_cuts([2.0 + 0.01 * index for index in range(24)])
    together = collections.Counter()
    for index in range(40):
        for batch in features.batches(cuts, max_utterances=8, seed=1, epoch=index):
            together.update(frozenset((a.id, b.id)) for a in batch for b in batch if a.id < b.id)
    # Every pair of the 24 meets sooner or later.
    assert len(together) == 24 * 23 / 2


def test_a_cut_that_is_too_long_is_a_batch_alone():
    cuts = plain_cuts([50.0, 1.0, 2.0])
    for made in (in_order(cuts, max_seconds=10), features.batches(cuts, max_seconds=10)):
        assert sorted(len(batch) for batch in made) == [1, 2]
    assert features.batches([], max_seconds=10) == in_order([], max_seconds=10) == []


def test_whisper_batches_count_padding(tmp_path):
    cuts = stored(tmp_path, LogMelConfig("whisper", pad_seconds=7), [1.0, 2.0, 1.5, 1.0])
    for made in (in_order(cuts, max_seconds=14), features.batches(cuts, max_seconds=14)):
        assert [len(batch) for batch in made] == [2, 2]


def test_torchaudio_and_transformers_can_be_imported_together():
    # Importing transformers' models imports torchaudio, which fails beside a CPU torch if nothing is done.
    from transformers import WhisperForConditionalGeneration

    assert WhisperForConditionalGeneration is not None


def test_torchaudio_can_be_imported_after_it_failed():
    code = """
try:
    import torchaudio
except OSError:
    pass
from saml.compat.torchaudio import ensure
print(ensure(), ensure())
import torchaudio
print(torchaudio.transforms.Resample(8000, 16000) is not None)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "True True\nTrue\n", ran.stderr
