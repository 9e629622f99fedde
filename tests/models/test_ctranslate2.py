"""A Whisper in CTranslate2's format, against the transformers network that it was made from."""

import hashlib
import json
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saml.compat.torchaudio import ensure
from saml.doctor.diagnosis import base
from saml.models.checkpoints.ctranslate2 import read_ctranslate2
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.recogniser import as_module
from saml.models.store import load_model
from saml.runtime.errors import SamlError
from saml.stages.import_base import import_base
from saml.tracking import read_record
from saml.transcribe.command import transcribe_files
from tests.models.conftest import BPE, IDS, SPECIAL, save_bpe_checkpoint, section
from tests.models.ctranslate2_writer import KINDS, Content, whisper_content, write_config
from tests.models.stand_in_hub import COMMIT, Hub, Machine, running_hub

ensure()  # before transformers, with which these models are written

GIVEN = os.environ.get("SAML_TEST_CTRANSLATE2")
PIECE = Path(os.environ.get("SAML_TEST_LIBRISPEECH", Path(__file__).parents[3] / "shared/data/librispeech"))
POSITIONS = "model.encoder.embed_positions.weight"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return save_bpe_checkpoint(tmp_path / "original")


def network_in(folder: Path) -> Any:
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def write_folder(folder: Path, original: Path, content: Content) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(content.pack())
    write_config(folder)
    shutil.copy(original / "tokenizer.json", folder)
    tokens = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocabulary.txt").write_text("\n".join(tokens))
    return folder


@pytest.fixture
def written(tmp_path: Path, original: Path) -> Callable[[str], Path]:
    """A function that writes the folder of one kind."""

    def write(kind: str) -> Path:
        return write_folder(tmp_path / "faster", original, whisper_content(network_in(original), kind))

    return write


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


def refused(folder: Path) -> str:
    """What is said of a folder, by the checks before a run or else by the job; never another error."""
    with pytest.raises(SamlError) as caught:
        read_recogniser(open_checkpoint(section(folder, characters=None)))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


Change = Callable[[Content], None]
CONV, KEYS = "encoder/conv1/weight", "decoder/layer_0/self_attention/linear_0/bias"


def drop(name: str) -> Change:
    def change(content: Content) -> None:
        del content.tensors[name]

    return change


def put(name: str, array: Any, dtype: str = "float32") -> Change:
    return lambda content: content.put(name, np.asarray(array), dtype)


def say(**changes: Any) -> Change:
    def change(content: Content) -> None:
        for name, value in changes.items():
            setattr(content, name, value)

    return change


def declare(name: str, *shape: int) -> Change:
    def change(content: Content) -> None:
        dtype, _, data = content.tensors[name]
        content.tensors[name] = (dtype, shape, data)

    return change


CHANGES: dict[str, tuple[str, Change, str]] = {
    "version": (
        "float16",
        say(version=5),
        "has version 5 of CTranslate2's format, and only 6 can be read; convert",
    ),
    "kind": (
        "float16",
        say(kind="TransformerSpec", revision=7),
        "a TransformerSpec of revision 7 of CTranslate2",
    ),
    "revision": (
        "float16",
        say(revision=2),
        "only a WhisperSpec of revision 3 can be read; name a Whisper, or",
    ),
    "name": ("float16", say(kind="a\x1b[2J"), "truncated or damaged model of CTranslate2"),
    "missing": ("float16", drop(CONV), f"tensor {CONV} is missing; convert the model again"),
    "layer": (
        "float16",
        drop("encoder/layer_1/ffn/linear_1/bias"),
        "tensor encoder/layer_1/ffn/linear_1/bias is missing",
    ),
    "heads missing": ("float16", drop("encoder/num_heads"), "tensor encoder/num_heads is missing"),
    "more": (
        "float16",
        put("encoder/more", [1.0]),
        "tensor encoder/more is left over, and no Whisper has it",
    ),
    "layers": (
        "float16",
        put("decoder/layer_9/ffn/layer_norm/beta", [1.0]),
        "tensor decoder/layer_1/self_attention/layer_norm/gamma is missing",
    ),
    "shape": ("float16", put("decoder/layer_norm/beta", [1.0]), "has shape (1,), not (32,)"),
    "dimensions": ("float16", put(CONV, [[1.0]]), "has shape (1, 1), not one of 3 dimensions"),
    "wide": (
        "float16",
        declare("encoder/conv2/weight", 32 * 32 * 3, 1, 1),
        "has shape (3072, 1, 1), not (32, 32, 3)",
    ),
    "no heads": (
        "float16",
        put("encoder/num_heads", 0, "int16"),
        "encoder/num_heads is 0, and does not divide",
    ),
    "odd heads": ("float16", put("encoder/num_heads", 5, "int16"), "is 5, and does not divide the width 32"),
    "part of a head": ("float16", put("encoder/num_heads", 1.5), "is 1.5, and does not divide"),
    "no number of heads": ("float16", put("encoder/num_heads", np.nan), "is nan, and does not divide"),
    "other heads": (
        "float16",
        put("encoder/num_heads", 4, "int16"),
        "encoder and decoder differ in their heads",
    ),
    "activation": (
        "float16",
        put("decoder/activation", 0, "int8"),
        "decoder/activation is 0, and only 3 can be",
    ),
    "flag": ("float16", put("decoder/alibi", 1, "int8"), "decoder/alibi is 1, and only 0 can be read"),
    "untied": (
        "float16",
        say(aliases=[("decoder/projection/weight", CONV)]),
        "is not decoder/embeddings/weight",
    ),
    "no projection": ("float16", say(aliases=[]), "tensor decoder/projection/weight is missing"),
    "no target": ("float16", say(aliases=[("a", "b")]), "a stands for b, which is not there"),
    "twice": ("float16", say(aliases=[(CONV, CONV)]), f"there are two tensors {CONV}"),
    "key bias": (
        "float16",
        put(KEYS, np.ones(96)),
        f"tensor {KEYS} has a bias for keys, and no Whisper has one",
    ),
    "no scale": ("int8", drop(f"{CONV}_scale"), f"tensor {CONV} is int8 and has no scale for each row"),
    "scales": (
        "int8",
        put(f"{CONV}_scale", np.ones(5)),
        f"tensor {CONV} is int8 and has no scale for each row",
    ),
    "zero scale": (
        "int8",
        put(f"{CONV}_scale", np.zeros(32)),
        "tensor model.encoder.conv1.weight is not finite",
    ),
    "scale of floats": ("float16", put(f"{CONV}_scale", np.ones(32)), f"tensor {CONV}_scale is left over"),
    "zero points": ("int8", put("encoder/conv1/weight_zero", np.ones(32)), "weight_zero is left over"),
    "not finite": ("float16", put("encoder/conv1/bias", np.full(32, np.nan)), "conv1.bias is not finite"),
    "positions": (
        "float16",
        put("encoder/position_encodings/encodings", np.ones((70, 32))),
        "positions are not Whisper's sinusoids",
    ),
    "an exabyte": ("float16", declare(CONV, 2**20, 2**20, 2**20), "bytes, not 2305843009213693952"),
    "longer": ("float16", declare(CONV, 32, 80, 4), "of shape [32, 80, 4] has 15360 bytes, not 20480"),
    "empty": ("float16", put(CONV, np.zeros((32, 0, 3))), f"{CONV} is empty"),
    "eight dimensions": ("float16", put(CONV, np.zeros([1] * 8)), f"{CONV} has 8 dimensions"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_another_network_or_a_damaged_file_is_named(original: Path, tmp_path: Path, case: str) -> None:
    kind, change, message = CHANGES[case]
    content = whisper_content(network_in(original), kind)
    change(content)
    folder = write_folder(tmp_path / "faster", original, content)
    tracemalloc.start()
    found = refused(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(folder) in found and message in found
    assert peak < 30e6


def test_a_file_that_is_cut_anywhere(written: Any) -> None:
    """Before a run already: nothing but the heads of tensors is read then."""
    folder = written("int8")
    path = folder / "model.bin"
    data = path.read_bytes()
    for end in (*range(1, 200), *range(200, len(data), 991), len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(SamlError) as caught:
            open_checkpoint(section(folder, characters=None))
        found = str(caught.value)
        assert str(path) in found and (end < 4 or found.endswith("; copy or download it again")), end
    path.write_bytes(data + b"\0")
    assert "1 bytes follow its end" in refused(folder)


def test_a_changed_byte_is_no_defect(written: Any) -> None:
    """Refused in one line, or a model of other values: never another exception, nor much memory."""
    folder = written("float16")
    path = folder / "model.bin"
    data = path.read_bytes()
    random = np.random.default_rng(3)
    heads = [
        data.index(name)
        for name in (b"decoder/embeddings/weight", b"encoder/num_heads", b"encoder/conv1/bias")
    ]
    places = [
        *range(25),
        *(place + k for place in heads for k in range(-8, 45)),
        *range(len(data) - 70, len(data)),
    ]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= int(random.integers(1, 256))
        path.write_bytes(changed)
        try:
            open_checkpoint(section(folder, characters=None))
        except SamlError as error:
            assert str(folder) in str(error), place


def test_files_beside_the_weights(written: Any, original: Path, tmp_path: Path) -> None:
    folder = written("float16")

    def without(name: str) -> str:
        lacking = tmp_path / f"without-{name}"
        shutil.copytree(folder, lacking)
        (lacking / name).unlink()
        return refused(lacking)

    assert "has no config.json; point it to a folder" in without("config.json")
    assert "no vocabulary of Whisper's; put its tokenizer.json" in without("tokenizer.json")
    write_config(folder, suppress_ids=[3, 999])
    assert "config.json: suppress_ids is no list of ids of the 286 tokens ([3, 999])" in refused(folder)
    write_config(folder, suppress_ids=[3], suppress_ids_begin="4")
    assert "suppress_ids_begin is no list of ids" in refused(folder)
    shutil.copy(original / "config.json", folder)
    assert (
        "config.json: has no suppress_ids, so it is not that of model.bin; copy the config.json"
        in refused(folder)
    )
    with pytest.raises(
        SamlError, match=r"no vocab.json of characters, but tokenizer.json; say model\S+: null$"
    ):
        open_checkpoint(section(folder))


def test_weights_of_torch_under_this_name(written: Any, tmp_path: Path) -> None:
    """Nothing is unpickled."""
    folder = written("float16")
    torch.save({"a": torch.zeros(3)}, folder / "model.bin")
    assert "not in CTranslate2's format of version 6; if these are PyTorch weights, call" in refused(folder)
    (folder / "model.bin").write_bytes(struct.pack("<I", 6))
    assert "truncated or damaged model of CTranslate2, 4 bytes (it ends within its kind" in refused(folder)


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
