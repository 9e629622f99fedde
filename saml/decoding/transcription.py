"""Transcription of cuts by batched beam search."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import StoredAdapter, load_adapter
from saml.config.settings import DecodingSettings
from saml.decoding.beam_search import Rules, find
from saml.decoding.ctc_prefix import JointScores, PrefixScorer
from saml.decoding.encoder_batches import encoded_batches
from saml.models.recogniser import Encoded, Recogniser
from saml.runtime.devices import device
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress

# How to search; the name for callers that have no configuration.
Search = DecodingSettings


def transcribe(
    recogniser: Recogniser, cuts: Sequence[MonoCut], search: Search, progress: Progress | None = None
) -> dict[str, str]:
    """The best hypothesis of every cut by its id, see `best_texts`."""
    texts = best_texts(recogniser, cuts, search, progress)
    return {cut.id: text for cut, text in zip(cuts, texts, strict=True)}


@torch.inference_mode()
def best_texts(
    recogniser: Recogniser,
    cuts: Sequence[MonoCut],
    search: Search,
    progress: Progress | None = None,
    adapters: Sequence[int] | None = None,
) -> list[str]:
    """The best hypothesis of every cut, in the order of `cuts`.

    Batches have utterances of similar length. Encoder states, routes and cross-attention keys are computed
    once per utterance (with `decoder_routing: input` the decoder's routes and keys at each step, for each
    beam). In a multi-adapter batch each utterance is decoded with its own adapter and routes.

    Args:
        recogniser: the model, with or without adapters.
        cuts: the utterances; one may occur several times, with different adapters.
        search: settings of the search.
        progress: counts the utterances.
        adapters: in a multi-adapter batch, the index of each cut's adapter.

    Raises:
        SamlError: `ctc_weight` is not 0 and the model has no CTC head.
    """
    tokeniser = recogniser.tokeniser
    texts = [""] * len(cuts)
    seconds = search.batch_seconds
    for batch, encoded in encoded_batches(recogniser, cuts, max_seconds=seconds, adapters=adapters):
        rules = _rules([cut for _, cut in batch], search, recogniser)
        found = find(recogniser, encoded, rules, _joint(recogniser, encoded, search))
        for (place, _), hypotheses in zip(batch, found, strict=True):
            texts[place] = tokeniser.decode([*tokeniser.prompt, *hypotheses[0].tokens])
        if progress is not None:
            progress.update(progress.done + len(batch))
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
