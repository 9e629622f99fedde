"""Checks of a corpus of recordings against the configuration, for `saml doctor`: roles and speakers.

Roles, parts, splits and initial speakers come from the functions that the jobs call, so that what passes here
passes there. No audio is decoded: what only the samples show is left to the jobs.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from saml.config.roles import needed_roles
from saml.config.settings import adapters_of
from saml.corpora.espeak import speak
from saml.corpora.folder import synthetic_voices
from saml.corpora.splits import enrolled, split_speaker
from saml.corpora.utterance_checks import POOLS
from saml.corpora.utterances import Utterance, limit_heldout, pool_parts
from saml.doctor.corpus_files import CorpusListing
from saml.doctor.machine import Line
from saml.doctor.utterances import about_files, lost_files, split_by_text
from saml.runtime.errors import SamlError
from saml.stages.expert_groups import choose_speakers
from saml.stages.prepare import no_speaker

Config = Mapping[str, Any]


def recordings(config: Config, found: CorpusListing) -> Iterator[Line]:
    """The findings on a corpus of recordings; the last line counts what is there."""
    targets: dict[str, Sequence[Utterance]] = {}
    for speaker in (*config["target_speakers"], *config["tuning"]["speakers"]):
        try:
            targets[speaker] = found.of_target(speaker)
        except SamlError as error:
            yield of_speaker(config, speaker, error)
    everything = {row.utterance: row for rows in (found.utterances, *targets.values()) for row in rows}
    lost = lost_files(row.path for row in everything.values())
    yield from about_files(config, lost)
    yield from _pools(config, _without(found.utterances, lost))
    for speaker, rows in targets.items():
        yield from _target(config, speaker, _without(rows, lost))
    speakers = {row.speaker: row.role for row in everything.values()}
    roles = Counter(speakers.values())
    roles["target"] = len(config["target_speakers"])
    counts = ", ".join(f"{roles[role]} {role}" for role in (*POOLS, "target") if roles[role])
    listed = f"{len(everything)} utterances of {len(speakers)} speakers in {found.root}"
    yield Line("ok", "corpus", f"{listed}: {counts}")


def of_speaker(config: Config, speaker: str, error: SamlError) -> Line:
    """A finding on a target speaker, or on a tuning speaker, whom `snakemake all` does without."""
    if speaker in config["target_speakers"]:
        return Line("fail", "corpus", str(error))
    advice = "only `snakemake tune` needs this speaker (tuning.speakers)"
    return Line("warn", "corpus", str(error), advice)


def _pools(config: Config, rows: Sequence[Utterance]) -> Iterator[Line]:
    """Roles without speakers, without a part to train on, or with too few speakers for the experts."""
    own = config["corpus"][config["corpus"]["name"]]
    limited = limit_heldout(rows, own["heldout_utterances"], own["seed"])
    try:
        parts = pool_parts(limited, own["dev_share"], own["seed"])
    except SamlError as error:
        yield Line("fail", "corpus", str(error))
        parts = {}
    for role in needed_roles(config):
        of_role = [row for row in limited if row.role == role]
        if not of_role:
            yield Line("fail", "corpus", str(no_speaker(role, config["corpus"]["name"])))
            continue
        usable, findings = split_by_text(config, of_role)
        yield from findings
        if role == "pretrain" and parts:
            trained_on = [row.speaker for row in usable if parts[row.utterance] == "train"]
            yield from _experts(config, trained_on)
    if config["corpus"]["name"] == "folder":
        texts = [row.text for row in limited if row.role == "base" and parts.get(row.utterance) == "train"]
        yield from _synthetic_speech([text for text in texts if text.strip()], own)


def _experts(config: Config, trained_on: Sequence[str]) -> Iterator[Line]:
    """Whether every expert has an initial speaker, in every mixture that runs."""
    for name in config["run_arms"]:
        arm = config["arms"][name]
        if not arm["adapted"] or arm["pretrained"] is not True or arm["experts"] == 1:
            continue
        start = adapters_of(config, arm)["experts_from"]
        if start == "lora":
            continue
        chosen = config["initial_speakers"] if start == "initial_speakers" else None
        try:
            choose_speakers(trained_on, chosen, arm["experts"])
        except SamlError as error:
            yield Line("fail", "corpus", f"arms.{name}: {error}")


def _synthetic_speech(texts: Sequence[str], own: Mapping[str, Any]) -> Iterator[Line]:
    """Whether the additional speech of a folder corpus can be synthesised."""
    try:
        for voice in synthetic_voices(texts, own)[:1]:
            speak(voice, ["one"])
    except SamlError as error:
        yield Line("fail", "corpus", str(error))


def _target(config: Config, speaker: str, rows: Sequence[Utterance]) -> Iterator[Line]:
    """Whether the usable utterances of a target or tuning speaker can be split, and enrolled."""
    usable, findings = split_by_text(config, rows)
    yield from findings
    try:
        splits = split_speaker(speaker, {row.utterance: None for row in usable}, config["partition"])
        for fold in splits["folds"]:
            enrolled(fold["train"], config["partition"]["enrolment"], speaker)
    except SamlError as error:
        yield of_speaker(config, speaker, error)


def _without(rows: Sequence[Utterance], lost: Mapping[Path, str]) -> list[Utterance]:
    return [row for row in rows if row.path not in lost]
