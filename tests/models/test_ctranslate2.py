"""A Whisper in CTranslate2's format, against the transformers network that it was made from."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from saml.doctor.diagnosis import base
from saml.models.checkpoints.ctranslate2 import read_ctranslate2
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.recogniser import as_module
from saml.models.store import load_model
from saml.stages.import_base import import_base
from saml.tracking import read_record
from saml.transcribe.command import transcribe_files
from tests.models.conftest import BPE, IDS, SPECIAL, section
from tests.models.ctranslate2_writer import KINDS, network_in, whisper_content, write_config, write_folder
from tests.models.stand_in_hub import COMMIT, Hub, Machine, running_hub

GIVEN = os.environ.get("SAML_TEST_CTRANSLATE2")
PIECE = Path(os.environ.get("SAML_TEST_LIBRISPEECH", Path(__file__).parents[3] / "shared/data/librispeech"))
POSITIONS = "model.encoder.embed_positions.weight"


def imported(folder: Path, out: Path) -> tuple[Any, dict[str, Any]]:
    import_base(
        experiment="test",
        settings={"model": section(folder, characters=None)},
        out_weights=out / "model.safetensors",
        out_description=out / "model.json",
        record=out / "run.jsonl",
    )
    return load_model(out / "model.safetensors", out / "model.json")


def is_rounded(name: str, tensor: torch.Tensor) -> bool:
    """Whether a tensor is among those that become integers, by transformers' name."""
    return name.endswith(".weight") and tensor.dim() > 1 and "embed_positions" not in name


def check_values(folder: Path, original: Path, kind: str) -> None:
    """Each tensor is that of the original, as exactly as this kind can hold it."""
    found, wanted = read_ctranslate2(folder, "copy it again"), network_in(original).state_dict()
    assert found.keys() == wanted.keys() - {"proj_out.weight"}
    floats = kind.split("_")[-1] if "float" in kind else "float32"
    for name, value in found.items():
        if not kind.startswith("int") or not is_rounded(name, value):
            assert torch.equal(value, wanted[name].to(getattr(torch, floats)).float()), name
            continue
        rows = wanted[name].flatten(1).abs().amax(1, keepdim=True)
        # 16 bits have one scale for all tensors that are stacked: here none is twice as large as another.
        step = rows / 127 if kind.startswith("int8") else 2 * rows.max().expand_as(rows) / 2**10
        assert ((value - wanted[name]).flatten(1).abs() <= step * 0.501).all(), name
        assert not torch.equal(value, wanted[name])


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_those_of_the_original(written: Any, original: Path, kind: str) -> None:
    check_values(written(kind), original, kind)


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "int8_float16"])
def test_logits_are_those_of_transformers(written: Any, original: Path, tmp_path: Path, kind: str) -> None:
    """Of transformers' network with weights that were rounded here."""
    recogniser, content = imported(written(kind), tmp_path / "base")
    theirs = network_in(original)
    half = kind.endswith("float16")
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if kind.startswith("int8") and is_rounded(name, parameter):
                most = parameter.flatten(1).abs().amax(1).clamp(min=1e-9)  # the row of padding is zero
                steps = most.reshape(-1, *[1] * (parameter.dim() - 1)) / 127
                parameter.copy_((parameter / steps).round() * steps)
            elif half:
                parameter.copy_(parameter.half())
    features = torch.randn(2, 140, 80, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[IDS[SPECIAL[0]], 5, 6, 3, 9], [IDS[SPECIAL[0]], 8, 4, 30, 2]])
    with torch.inference_mode():
        logits = recogniser.logits(recogniser.encode(features, torch.tensor([140, 90])), tokens)
        expected = theirs(input_features=features.transpose(1, 2), decoder_input_ids=tokens).logits
        original_logits = network_in(original)(
            input_features=features.transpose(1, 2), decoder_input_ids=tokens
        ).logits
    torch.testing.assert_close(logits, expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(logits, original_logits, atol=0.05 * float(original_logits.std()), rtol=0)
    assert content["settings"]["positions"] == ("float16" if half else "float32")


def test_sizes_and_suppressed_tokens(written: Any, tmp_path: Path) -> None:
    """Sizes are those of `save_checkpoint`; config.json says which tokens decoding suppresses."""
    folder = written("float16")
    checkpoint = open_checkpoint(section(folder, characters=None))
    sizes = {"hidden_size": 32, "encoder_layers": 2, "decoder_layers": 1, "heads": 2}
    sizes |= {"encoder_feed_forward": 64, "decoder_feed_forward": 48, "max_target_positions": 40}
    assert sizes.items() <= checkpoint.settings.items()
    tokeniser = checkpoint.tokeniser
    assert tokeniser.size == BPE + len(SPECIAL) + 5
    assert 3 in tokeniser.never and tokeniser.never_first == (4,)
    # A file of transformers' beside it has no say in what CTranslate2 suppresses.
    (folder / "generation_config.json").write_text('{"suppress_tokens": [7], "begin_suppress_tokens": [8]}')
    tokeniser = open_checkpoint(section(folder, characters=None)).tokeniser
    assert {3, 7} & set(tokeniser.never) == {3} and tokeniser.never_first == (4,)
    write_config(folder, suppress_ids=None, suppress_ids_begin=None)
    (folder / "generation_config.json").unlink()
    tokeniser = open_checkpoint(section(folder, characters=None)).tokeniser
    assert 3 not in tokeniser.never and tokeniser.never_first == ()


@pytest.mark.parametrize("kind", ["float16", "int8_float16", "int16"])
def test_rounded_weights_are_said(written: Any, tmp_path: Path, capsys: Any, kind: str) -> None:
    folder = written(kind)
    imported(folder, tmp_path / "base")
    log = capsys.readouterr().err
    origin = read_record(tmp_path / "base/run.jsonl").settings["checkpoint"]
    lines = list(base({"model": section(folder, characters=None)}))
    assert (
        lines[0].status == "ok"
        and f"{(folder / 'model.bin').stat().st_size / 1e6:.1f} MB" in lines[0].finding
    )
    data = (folder / "model.bin").read_bytes()
    assert origin["sha256"]["model.bin"] == hashlib.sha256(data).hexdigest()
    assert set(origin["sha256"]) == {"model.bin", "config.json", "tokenizer.json"}
    if kind == "float16":
        assert "caution" not in origin and "rounded" not in log and len(lines) == 1
        return
    integers = kind.partition("_")[0]
    caution = (
        f"the base is {integers}: its weights are rounded; full precision is that of the {integers} model"
    )
    assert origin["caution"] == caution and f"{folder}: {caution}" in log
    assert (lines[1].status, lines[1].finding) == ("warn", caution)


def test_the_same_tensor_under_two_names(original: Path, tmp_path: Path) -> None:
    """As the converter writes tensors that are equal, with the scale of the first."""
    content = whisper_content(network_in(original), "int8")
    first, second = (f"encoder/layer_{k}/self_attention/linear_1/weight" for k in (0, 1))
    del content.tensors[second], content.tensors[f"{second}_scale"]
    content.aliases.append((second, first))
    folder = write_folder(tmp_path / "faster", original, content)
    state = read_recogniser(open_checkpoint(section(folder, characters=None))).network.state_dict()
    one, other = (state[f"model.encoder.layers.{k}.self_attn.out_proj.weight"] for k in (0, 1))
    assert torch.equal(one, other)


def test_transformers_weights_come_first(written: Any, original: Path) -> None:
    """A folder of both formats: the weights that nothing has rounded."""
    folder = written("int8")
    for name in ("model.safetensors", "config.json"):
        shutil.copy(original / name, folder)
    checkpoint = open_checkpoint(section(folder, characters=None))
    assert checkpoint.rounded is None
    state = read_recogniser(checkpoint).network.state_dict()
    assert torch.equal(state["model.encoder.conv1.weight"], network_in(original).model.encoder.conv1.weight)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


def test_on_the_hub(hub: Hub, written: Any, tmp_path: Path) -> None:
    """Downloaded once and no file too many; a cache that faster-whisper filled needs no hub."""
    folder = hub.models["me/tiny"] = written("float16")
    (folder / "README.md").write_text("unread")
    machine = Machine(hub, tmp_path / "home")
    model = section("hf://me/tiny", characters=None)
    assert machine.import_base(model, tmp_path / "first").returncode == 0
    assert sorted(hub.sent) == ["config.json", "model.bin", "tokenizer.json"]
    imported(folder, tmp_path / "folder")
    first = (tmp_path / "first/model.safetensors").read_bytes()
    assert first == (tmp_path / "folder/model.safetensors").read_bytes()
    hub.forget()
    other = Machine(hub, tmp_path / "other")
    snapshot = other.cached("model.bin").parent
    shutil.copytree(folder, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text(COMMIT)
    code = f"from saml.models.checkpoints.source import checkpoint_path; print(checkpoint_path({model!r}))"
    done = other.python("-c", code)
    assert done.stdout.strip() == str(snapshot) and hub.asked == [], done.stderr
    assert "but tokenizer.json; say model.whisper.characters: null" in other.refusal(section("hf://me/tiny"))
    (snapshot / "tokenizer.json").unlink()
    assert other.python("-c", code).stdout.strip() == str(snapshot)
    assert hub.sent == ["tokenizer.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_its_own_converter_writes(original: Path, tmp_path: Path, kind: str) -> None:
    converters = pytest.importorskip("ctranslate2.converters", reason="ctranslate2 is not installed")
    out = tmp_path / "converted"
    converter = converters.TransformersConverter(str(original), copy_files=["tokenizer.json"])
    converter.convert(str(out), quantization=kind)
    check_values(out, original, kind)
    checkpoint = open_checkpoint(section(out, characters=None))
    assert 3 in checkpoint.tokeniser.never and checkpoint.tokeniser.never_first == (4,)
    assert checkpoint.rounded == (kind.partition("_")[0] if kind.startswith("int") else None)


@pytest.mark.slow
@pytest.mark.skipif(
    GIVEN is None, reason="SAML_TEST_CTRANSLATE2 names no folder with tiny.en of faster-whisper"
)
def test_tiny_en_recognises_a_sentence(tmp_path: Path) -> None:
    model = section(str(GIVEN), characters=None)
    model["whisper"]["features"]["pad_seconds"] = 30
    out = tmp_path / "base"
    import_base(
        experiment="test",
        settings={"model": model},
        out_weights=out / "model.safetensors",
        out_description=out / "model.json",
        record=out / "run.jsonl",
    )
    recogniser = load_model(out / "model.safetensors", out / "model.json")[0]
    assert sum(parameter.numel() for parameter in as_module(recogniser).parameters()) == 37_760_256
    files = list(PIECE.rglob("118-121721-0000.flac"))
    if not files:
        pytest.skip(f"no piece of LibriSpeech in {PIECE}")
    (one,) = transcribe_files(files=files, weights=out / "model.safetensors", beams=1)
    assert one.text == "A stitch in time saves embarrassing exposure."
