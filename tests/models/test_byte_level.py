"""Whisper's own tokens against transformers' tokeniser, from every kind of file they come in."""

import base64
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from saml.decoding.transcription import Search, transcribe
from saml.models.checkpoints.tokeniser_files import read_tokenizer
from saml.models.checkpoints.transformers import open_checkpoint
from saml.models.store import load_model
from saml.models.tokenisers.byte_level import WhisperTokeniser
from saml.models.tokenisers.characters import unknown_characters
from saml.models.tokenisers.kinds import tokeniser_of
from saml.runtime.errors import SamlError
from saml.stages.import_base import import_base
from saml.training.data import Examples
from tests.models.conftest import BPE, IDS, SPECIAL, save_bpe_checkpoint, section, whisper_tokeniser
from tests.training.conftest import CutSet, write_pool

TEXTS = ["the cat's hat", "A na\u00efve MAT,  on 2 \u732b", "", "sat <|endoftext|> sat"]


def opened(folder: Path, **changes: object) -> WhisperTokeniser:
    tokeniser = open_checkpoint(section(folder, characters=None, **changes)).tokeniser
    assert isinstance(tokeniser, WhisperTokeniser)
    return tokeniser


@pytest.mark.parametrize("files", ["new", "old"])
def test_ids_and_texts_are_those_of_transformers(tmp_path: Path, files: str) -> None:
    """With one space before the first word, lower-cased; a special token's name is no special token."""
    ours, theirs = opened(save_bpe_checkpoint(tmp_path / "bpe", files=files)), whisper_tokeniser()
    for text in TEXTS:
        plain = " ".join(text.lower().split())
        expected = theirs(f" {plain}", add_special_tokens=False).input_ids if plain else []
        if "<|" not in text:
            assert ours.encode(text) == expected
        assert max(ours.encode(text), default=0) < BPE
        assert ours.decode([*ours.prompt, *ours.encode(text), ours.end, ours.end]) == plain
        assert ours.unknown(text) == ""
    assert len(ours.encode("the")) == 1  # " the" is a word of its own, "the" is not
    assert (ours.size, ours.end, ours.pad) == (BPE + 15, BPE, BPE)


@pytest.mark.parametrize("multilingual", [False, True])
def test_the_prompt_is_that_of_transformers(tmp_path: Path, multilingual: bool) -> None:
    ours, theirs = (
        opened(save_bpe_checkpoint(tmp_path / "bpe", multilingual=multilingual)),
        whisper_tokeniser(),
    )
    if multilingual:
        theirs.set_prefix_tokens(language="en", task="transcribe", predict_timestamps=False)
    assert list(ours.prompt) == theirs.prefix_tokens
    # all special tokens but the end, timestamps without a name, and what generation_config.json names
    assert set(ours.never) == {3} | set(range(BPE + 1, BPE + 15)) and ours.never_first == (4,)


TEN = ["en", "de", "zh", "ja", "fr", "es", "pt", "sw", "haw", "fi"]


def test_prompts_of_ten_languages_are_those_of_transformers() -> None:
    """By code and by name, to transcribe and to translate."""
    special = [SPECIAL[0], SPECIAL[1], *(f"<|{code}|>" for code in LANGUAGES if code != "yue"), *SPECIAL[4:]]
    theirs = whisper_tokeniser(special)
    own = Tokenizer.from_str(theirs.backend_tokenizer.to_str())
    ours = WhisperTokeniser(own, size=BPE + len(special), multilingual=True)
    prompts = set()
    for code in TEN:
        for task in ("transcribe", "translate"):
            theirs.set_prefix_tokens(language=code, task=task, predict_timestamps=False)
            for name in (code, LANGUAGES[code], LANGUAGES[code].title()):
                ours.choose(name, task)
                assert list(ours.prompt) == theirs.prefix_tokens
            prompts.add(ours.prompt)
    assert len(prompts) == 20
    for unknown in ("yue", "klingon", "transcribe"):  # transformers knows the first, this model does not
        with pytest.raises(SamlError, match=f"does not know the language '{unknown}'"):
            ours.choose(unknown, "transcribe")


def test_an_english_model_takes_english_only(tmp_path: Path) -> None:
    ours = opened(save_bpe_checkpoint(tmp_path / "bpe"))
    before = ours.prompt
    ours.choose("english", "transcribe")
    assert ours.prompt == before
    for language, task in (("de", "transcribe"), ("en", "translate")):
        with pytest.raises(SamlError, match="knows English only"):
            ours.choose(language, task)


def test_the_style_of_texts_is_a_setting(tmp_path: Path) -> None:
    folder = save_bpe_checkpoint(tmp_path / "bpe")
    kept = opened(folder, text_style="transcript")
    assert kept.decode(kept.encode(" The  CAT ")) == "The CAT"
    assert opened(folder).decode(opened(folder).encode("The CAT")) == "the cat"


def test_a_description_gives_the_tokeniser_back(tmp_path: Path) -> None:
    ours = opened(save_bpe_checkpoint(tmp_path / "bpe", multilingual=True))
    description = json.loads(json.dumps(ours.describe()))
    again = tokeniser_of(description, ours.to_json())
    for text in TEXTS:
        assert again.encode(text) == ours.encode(text)
    for name in ("prompt", "end", "pad", "size", "never", "never_first"):
        assert getattr(again, name) == getattr(ours, name)
    assert again.describe() == description
    with pytest.raises(SamlError, match="not a tokeniser of the tokenizers library"):
        tokeniser_of(description, ours.to_json()[:40])


def test_the_name_of_a_timestamp_in_a_text_is_text(tmp_path: Path) -> None:
    """Published files do not mark timestamps as special."""
    folder = save_bpe_checkpoint(tmp_path / "bpe")
    content = json.loads((folder / "tokenizer.json").read_text())
    timestamp = {**content["added_tokens"][0], "id": BPE + 10, "content": "<|0.00|>", "special": False}
    content["added_tokens"].append(timestamp)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    ours = opened(folder)
    assert max(ours.encode("at <|0.00|> sat")) < BPE
    assert ours.decode([*ours.encode("sat <|0.00|>"), BPE + 10]) == "sat <|0.00|>"


def test_what_is_stored_is_what_transformers_reads(tmp_path: Path) -> None:
    """The file beside a model is transformers' own tokenizer.json."""
    from transformers import PreTrainedTokenizerFast

    ours = opened(save_bpe_checkpoint(tmp_path / "bpe"))
    (tmp_path / "tokenizer.json").write_text(ours.to_json())
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    ids = theirs(" the cat's hat", add_special_tokens=False).input_ids
    assert ids == ours.encode("the cat's hat") and theirs.decode(ids) == " the cat's hat"


def test_imported_it_trains_and_decodes_without_the_checkpoint(tmp_path: Path) -> None:
    """Targets leave out the prompt of four tokens; logits and hypotheses are those of transformers."""
    from transformers import GenerationConfig, GenerationMixin, WhisperForConditionalGeneration

    folder = save_bpe_checkpoint(tmp_path / "bpe", multilingual=True)
    theirs = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    out = tmp_path / "base"
    import_base(
        experiment="test",
        settings={"model": section(folder, characters=None)},
        out_weights=out / "model.safetensors",
        out_description=out / "model.json",
        record=out / "run.jsonl",
    )
    folder.rename(tmp_path / "gone")
    recogniser, _ = load_model(out / "model.safetensors", out / "model.json")
    cuts = list(CutSet.from_file(write_pool(tmp_path / "pool", ["a"], ["test"] * 2, padded=140)))
    batch = Examples(cuts, recogniser).batch(cuts)
    prompt = [IDS[name] for name in ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")]
    assert batch.inputs[:, :4].tolist() == [prompt] * 2
    assert (batch.targets[:, :3] == -100).all() and (batch.targets[:, 3] >= 0).all()
    mel = batch.features.transpose(1, 2)
    with torch.inference_mode():
        logits = recogniser.logits(recogniser.encode(batch.features, batch.lengths), batch.inputs)
        expected = theirs(input_features=mel, decoder_input_ids=batch.inputs).logits
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
        ids = GenerationMixin.generate(  # that of all transformers' models, without Whisper's own extras
            theirs,
            mel,
            decoder_input_ids=torch.tensor([prompt] * 2),
            generation_config=GenerationConfig(
                num_beams=2,
                max_new_tokens=11,
                suppress_tokens=[3, *range(BPE + 1, BPE + 15)],
                begin_suppress_tokens=[4],
                decoder_start_token_id=prompt[0],
                pad_token_id=BPE,
                eos_token_id=BPE,
            ),
        )
    texts = transcribe(
        recogniser,
        cuts,
        Search(beams=2, batch_seconds=100, max_tokens_per_second=0.01, ctc_weight=0.0, guard=False),
    )
    own = whisper_tokeniser()
    assert [texts[cut.id] for cut in cuts] == [
        own.decode([i for i in row if i < BPE]).strip() for row in ids.tolist()
    ]


def test_openais_table_gives_the_same_ids(tmp_path: Path) -> None:
    """A table of bytes and ranks, 15 merges; the ids of special tokens follow from the size."""
    theirs = whisper_tokeniser()
    letters = {letter: byte for byte, letter in enumerate(bytes_in_order())}
    tokens = sorted((index, token) for token, index in theirs.get_vocab().items() if index < BPE)
    lines = [
        f"{base64.b64encode(bytes(letters[letter] for letter in token)).decode()} {index}"
        for index, token in tokens
    ]
    (tmp_path / "tiny.tiktoken").write_text("\n".join(lines) + "\n")
    size = BPE + 8 + 99 + 1501
    found = read_tokenizer(tmp_path, size)
    assert [found.id_to_token(index) for index in range(BPE)] == [token for _, token in tokens]
    ours = WhisperTokeniser(found, size=size, multilingual=True)
    assert ours.encode("the cat's hat") == theirs(" the cat's hat", add_special_tokens=False).input_ids
    # end, start, 99 languages, translate, transcribe, startoflm, startofprev, nospeech, notimestamps, times
    assert ours.prompt == (BPE + 1, BPE + 2, BPE + 102, size - 1502)
    assert ours.decode([*ours.prompt, *ours.encode("the mat"), size - 1, ours.end]) == "the mat"
    for other in (300, size - 99, size + 2):
        with pytest.raises(SamlError, match=f"do not suit a Whisper of {other}; take the other table"):
            read_tokenizer(tmp_path, other)
    (tmp_path / "tiny.tiktoken").write_text("YQ== first\n")
    with pytest.raises(SamlError, match=r"tiny\.tiktoken: not a table of tokens and ranks"):
        read_tokenizer(tmp_path, size)


def bytes_in_order() -> list[str]:
    """The letters that stand for bytes: visible Latin-1 for itself, the others from U+0100 on."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) if byte in visible else chr(256 + hidden.index(byte)) for byte in range(256)]


def test_vocabularies_that_cannot_be(tmp_path: Path) -> None:
    folder = save_bpe_checkpoint(tmp_path / "bpe")
    whole = json.loads((folder / "tokenizer.json").read_text())

    def refused(message: str, **changes: object) -> None:
        (folder / "tokenizer.json").write_text(json.dumps({**whole, **changes}))
        with pytest.raises(SamlError, match=message):
            opened(folder)

    refused(r"tokenizer\.json: not a byte-level BPE", pre_tokenizer={"type": "Whitespace"})
    fewer = [token for token in whole["added_tokens"] if token["content"] != "<|notimestamps|>"]
    # transformers takes it from tokenizer_config.json, and gives it the next id.
    refused(
        r"tokenizer\.json: the id of the token <\|notimestamps\|> is missing, but 280 as", added_tokens=fewer
    )
    fewer = [token for token in whole["added_tokens"] if token["content"] != "<|de|>"]
    refused(r"tokenizer\.json: the id of the token <\|translate\|> is 275, but 274 as", added_tokens=fewer)
    gap = {**whole["model"], "vocab": {token: 2 * i for token, i in whole["model"]["vocab"].items()}}
    refused("bpe: .*token ids have gaps|the id of the token", model=gap)
    lacking = dict(whole["model"], merges=[], vocab={"a": 0})
    refused("bpe: .*without tokens for 255 of the 256 bytes|the id of the token", model=lacking)
    refused(r"tokenizer\.json: cannot read this vocabulary", model={**whole["model"], "merges": ["q z"]})
    refused(r"tokenizer\.json: not a byte-level BPE", model={})
    (folder / "tokenizer_config.json").unlink()
    fewer = [token for token in whole["added_tokens"] if token["content"] != "<|notimestamps|>"]
    refused(r"bpe: a BPE vocabulary without the special token <\|notimestamps\|>", added_tokens=fewer)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SamlError, match="no vocabulary of Whisper's; put its tokenizer.json"):
        opened(folder)


def test_characters_or_not_is_said_in_the_config(tmp_path: Path) -> None:
    folder = save_bpe_checkpoint(tmp_path / "bpe", files="old")
    with pytest.raises(SamlError, match=r"vocab\.json: .*for Whisper's own vocabulary say characters: null"):
        open_checkpoint(section(folder))
    lacking = unknown_characters({"family": "whisper", "whisper": {"characters": None}})
    assert lacking("\u732b 7") == "" and SPECIAL[0] in IDS
    assert unknown_characters({"family": "whisper", "whisper": {"characters": "ab "}})("abc") == "c"


TABLES = "SAML_WHISPER_TABLES"


@pytest.mark.skipif(
    not os.environ.get(TABLES), reason=f"needs {TABLES}, whisper/assets of openai-whisper's package"
)
@pytest.mark.parametrize(
    ("name", "size", "prompt", "multilingual"),
    [
        ("gpt2", 51864, (50257, 50362), False),
        ("multilingual", 51865, (50258, 50259, 50359, 50363), True),
    ],
)
def test_published_tables(
    tmp_path: Path, name: str, size: int, prompt: tuple[int, ...], multilingual: bool
) -> None:
    """The published ids of the prompt, and words merged by hand: the pair of lowest rank first."""
    table = Path(os.environ[TABLES]) / f"{name}.tiktoken"
    (tmp_path / table.name).write_bytes(table.read_bytes())
    ours = WhisperTokeniser(read_tokenizer(tmp_path, size), size=size, multilingual=multilingual)
    assert ours.prompt == prompt
    pairs = [line.split(" ") for line in table.read_text().splitlines()]
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    again = tokeniser_of(ours.describe(), ours.to_json())
    for (
        word
    ) in "she had your dark suit in greasy wash water na\u00efvely antidisestablishmentarianism".split():
        parts = [bytes([byte]) for byte in f" {word}".encode()]
        while True:
            both = [a + b for a, b in pairwise(parts)]
            found = [(ranks[pair], i) for i, pair in enumerate(both) if pair in ranks]
            if not found:
                break
            _, i = min(found)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        assert ours.encode(word) == again.encode(word) == [ranks[part] for part in parts]
