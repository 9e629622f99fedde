"""Transcription of cuts by batched beam search."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import StoredAdapter, load_adapter
from saml.config.settings import DecodingSettings
from saml.decoding.beam_search import Rules, Scorer, find
from saml.decoding.ctc_prefix import JointScores, PrefixScorer
from saml.decoding.encoder_batches import encoded_batches, with_context
from saml.decoding.looping import BlockedRepeats, loops
from saml.models.recogniser import Encoded, Recogniser
from saml.runtime.devices import device
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress

# How to search; the name for callers that have no configuration.
Search = DecodingSettings


@dataclass(frozen=True)
class Output:
    """What was recognised in an utterance.

    `guard` says whether the guard against loops was needed: "" if not, "context" if the whole context was
    enough, "blocked" if repetition had to be blocked.
    """

    text: str
    guard: str


def transcribe(
    recogniser: Recogniser, cuts: Sequence[MonoCut], search: Search, progress: Progress | None = None
) -> dict[str, str]:
    """The best hypothesis of every cut by its id, see `best_outputs`."""
    outputs = best_outputs(recogniser, cuts, search, progress)
    return {cut.id: output.text for cut, output in zip(cuts, outputs, strict=True)}


def best_outputs(
    recogniser: Recogniser,
    cuts: Sequence[MonoCut],
    search: Search,
    progress: Progress | None = None,
    adapters: Sequence[int] | None = None,
    *,
    whole_context: bool = False,
) -> list[Output]:
    """The best hypothesis of every cut, in the order of `cuts`; those that loop are decoded again.

    In a multi-adapter batch each utterance is decoded with its own adapter and routes.

    Args:
        recogniser: the model, with or without adapters.
        cuts: the utterances; one may occur several times, with different adapters.
        search: settings of the search, and whether outputs are guarded against loops.
        progress: counts the utterances; those that loop are counted for each attempt.
        adapters: in a multi-adapter batch, the index of each cut's adapter.
        whole_context: decode with the whole context (see `Recogniser`) from the start.

    Raises:
        SamlError: `ctc_weight` is not 0 and the model has no CTC head.
    """
    attempts = [_Attempt("", whole_context, blocked=False)]
    if search.guard:
        if recogniser.whole_frames is not None and not whole_context:
            attempts.append(_Attempt("context", whole=True, blocked=False))
        attempts.append(_Attempt("blocked", whole=True, blocked=True))
    outputs: dict[int, Output] = {}
    places = list(range(len(cuts)))
    for attempt in attempts:
        chosen = None if adapters is None else [adapters[place] for place in places]
        own = [cuts[place] for place in places]
        if attempt.name and progress is not None:
            progress.total += len(own)  # work that was not known before
        found = _decode(recogniser, own, search, attempt, progress, chosen)
        outputs |= {place: Output(one.text, attempt.name) for place, one in zip(places, found, strict=True)}
        places = [
            place
            for place, one in zip(places, found, strict=True)
            if search.guard and loops(one.text, one.tokens, cuts[place].duration)
        ]
        if not places:
            break
    return [outputs[place] for place in range(len(cuts))]


class _Attempt(NamedTuple):
    """How utterances are decoded: the name for `Output.guard`, with the whole context, repetition blocked."""

    name: str
    whole: bool
    blocked: bool


class _Text(NamedTuple):
    """A text and the number of its tokens."""

    text: str
    tokens: int


@torch.inference_mode()
def _decode(
    recogniser: Recogniser,
    cuts: Sequence[MonoCut],
    search: Search,
    attempt: _Attempt,
    progress: Progress | None,
    adapters: Sequence[int] | None,
) -> list[_Text]:
    """The best hypothesis of every cut.

    Batches have utterances of similar length. Encoder states, routes and cross-attention keys are computed
    once per utterance (with `decoder_routing: input` the decoder's routes and keys at each step, for each
    beam).
    """
    tokeniser = recogniser.tokeniser
    texts = [_Text("", 0)] * len(cuts)
    seconds = search.batch_seconds
    recogniser.use_whole_context(attempt.whole)
    frames = recogniser.whole_frames if attempt.whole else None
    cuts = cuts if frames is None else [with_context(cut, frames) for cut in cuts]
    for batch, encoded in encoded_batches(recogniser, cuts, max_seconds=seconds, adapters=adapters):
        rules = _rules([cut for _, cut in batch], search, recogniser)
        scorer: Scorer | None = _joint(recogniser, encoded, search)
        if attempt.blocked:
            scorer = BlockedRepeats(tokeniser.size, scorer)
        found = find(recogniser, encoded, rules, scorer)
        for (place, _), hypotheses in zip(batch, found, strict=True):
            tokens = hypotheses[0].tokens
            texts[place] = _Text(tokeniser.decode([*tokeniser.prompt, *tokens]), len(tokens))
        if progress is not None:
            progress.update(progress.done + len(batch), "again what looped" if attempt.name else "")
    recogniser.use_whole_context(False)
    return texts


def _rules(cuts: Sequence[MonoCut], search: Search, recogniser: Recogniser) -> Rules:
    """The constraints of the search for a batch."""
    tokeniser = recogniser.tokeniser
    most = recogniser.max_tokens - len(tokeniser.prompt)
    return Rules(
        beams=search.beams,
        room=[min(most, 10 + math.ceil(search.max_tokens_per_second * cut.duration)) for cut in cuts],
        prompt=tokeniser.prompt,
        end=tokeniser.end,
        never=tokeniser.never,
        never_first=tokeniser.never_first,
    )


def _joint(recogniser: Recogniser, encoded: Encoded, search: Search) -> JointScores | None:
    """The joint CTC scores of a batch; None if the decoder's scores are used alone."""
    if not search.ctc_weight:
        return None
    tokeniser = recogniser.tokeniser
    scorer = PrefixScorer(recogniser.ctc_logits(encoded), encoded.mask.sum(dim=1), tokeniser.pad)
    return JointScores(
        scorer,
        prompt=len(tokeniser.prompt),
        end=tokeniser.end,
        weight=search.ctc_weight,
    )


def load_given(
    adapter: Path | None, description: Path | None, content: Mapping[str, Any]
) -> StoredAdapter | None:
    """The adapter for the model described by `content`, if one is given.

    Raises SamlError when it has no description or belongs to another model.
    """
    if adapter is None:
        return None
    if description is None:
        raise SamlError("--adapter needs --adapter-description")
    return load_adapter(adapter, description, content)


def adapted(base: Recogniser, stored: StoredAdapter) -> AdaptedRecogniser:
    """The model with room for one state of a stored adapter, on the device; no state is loaded yet."""
    made = AdaptedRecogniser(base, stored.spec, seed=0)
    made.to(device())
    return made
