"""What was said, by batched beam search."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import StoredAdapter, load_adapter
from saml.decoding.beam_search import Rules, find
from saml.decoding.ctc_prefix import JointScores, PrefixScorer
from saml.decoding.encoder_batches import encoded_batches
from saml.models.recogniser import Encoded, Recogniser, as_module
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress
from saml.training.common import device


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to decode: the config's `decoding` section.

    `ctc_weight` is the share of the CTC head's scores in the search; without any, it is the decoder's alone.
    """

    beams: int
    batch_seconds: float
    max_tokens_per_second: float
    ctc_weight: float = 0.0


def transcribe(
    recogniser: Recogniser, cuts: Sequence[MonoCut], search: Search, progress: Progress | None = None
) -> dict[str, str]:
    """The best hypothesis of every cut by its id: see `best_texts`."""
    texts = best_texts(recogniser, cuts, search, progress)
    return {cut.id: text for cut, text in zip(cuts, texts, strict=True)}


@torch.inference_mode()
def best_texts(
    recogniser: Recogniser,
    cuts: Sequence[MonoCut],
    search: Search,
    progress: Progress | None = None,
    members: Sequence[int] | None = None,
) -> list[str]:
    """The best hypothesis of every cut, in their order.

    Batches are cut by length; encoder, routes and cross-attention keys are computed once an utterance (with
    `decoder_routing: input` the decoder's routes and keys for each beam, as it goes). In a crowd each
    utterance meets the adapter and the routes of its own member, whoever else is in the batch.

    Args:
        recogniser: a model, an adapted one or a crowd.
        cuts: the utterances; one may be there for several members.
        search: how to search.
        progress: told how many are done.
        members: which member of a crowd each cut is decoded by.

    Raises:
        SamlError: CTC scores are wanted and there is no CTC head.
    """
    tokeniser = recogniser.tokeniser
    texts = [""] * len(cuts)
    seconds = search.batch_seconds
    for batch, encoded in encoded_batches(recogniser, cuts, max_seconds=seconds, members=members):
        rules = _rules([cut for _, cut in batch], search, recogniser)
        found = find(recogniser, encoded, rules, _joint(recogniser, encoded, search))
        for (place, _), hypotheses in zip(batch, found, strict=True):
            texts[place] = tokeniser.decode([*tokeniser.prompt, *hypotheses[0].tokens])
        if progress is not None:
            progress.update(progress.done + len(batch))
    return texts


def _rules(cuts: Sequence[MonoCut], search: Search, recogniser: Recogniser) -> Rules:
    """What the search of a batch may find."""
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
    """What makes a batch's search joint with CTC; None where it is the decoder's alone."""
    if not search.ctc_weight:
        return None
    tokeniser = recogniser.tokeniser
    scorer = PrefixScorer(recogniser.ctc_logits(encoded), encoded.mask.sum(dim=1), tokeniser.pad)
    return JointScores(
        scorer,
        prompt=len(tokeniser.prompt),
        end=tokeniser.end,
        weight=search.ctc_weight,
        normalise=search.beams == 1,
    )


def load_given(
    adapter: Path | None, description: Path | None, content: Mapping[str, Any]
) -> StoredAdapter | None:
    """The adapter for the model described by `content`, where one is given.

    Raises SamlError where it has no description or belongs to another model.
    """
    if adapter is None:
        return None
    if description is None:
        raise SamlError("--adapter needs --adapter-description")
    return load_adapter(adapter, description, content)


def with_adapter(
    base: Recogniser, content: Mapping[str, Any], adapter: Path | None, description: Path | None
) -> tuple[Recogniser, StoredAdapter | None]:
    """The recogniser to run, and the adapter whose states it is to load, where there is one.

    Raises SamlError where the adapter has no description or belongs to another model.
    """
    stored = load_given(adapter, description, content)
    if stored is None:
        as_module(base).to(device())
        return base, None
    adapted = AdaptedRecogniser(base, stored.spec, seed=0)
    adapted.to(device())
    return adapted, stored
