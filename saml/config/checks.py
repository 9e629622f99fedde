"""Checks of a configuration that a JSON schema cannot express: relations between its keys.

Each check takes a configuration that has passed the schema and yields messages `<key path>: <problem>`.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from saml.config.model_checks import MODEL_CHECKS
from saml.config.roles import complete_pretrain, drawn_roles, listed_targets, named_roles, pretrain_count
from saml.config.settings import ARM_SECTIONS, adapters_of, merged_with_arm
from saml.corpora.registry import folder_name
from saml.corpora.talks import person

Config = Mapping[str, Any]

# File systems usually allow 255 bytes; the names of some files are longer than that of the speaker's folder.
LONGEST_FOLDER_NAME = 200


def problems(config: Config) -> Iterator[str]:
    """All problems of `config`, the most basic first; only these where a section is missing."""
    missing = list(_sections(config))
    yield from missing
    for check in () if missing else CHECKS:
        yield from check(config)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown `name`: the most similar known one, if any is similar."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _sections(config: Config) -> Iterator[str]:
    """The chosen corpus and family need their own sections."""
    for section, key in (("corpus", "name"), ("model", "family")):
        chosen = config[section][key]
        if chosen not in config[section]:
            yield f"{section}.{chosen}: this key is missing, as {section}.{key} is {chosen!r}"


def _arms(config: Config) -> Iterator[str]:
    for name, arm in config["arms"].items():
        for problem in (*_arm(arm), *_mixture(config, arm)):
            yield f"arms.{name}: {problem}"


def _arm(arm: Mapping[str, Any]) -> Iterator[str]:
    """An arm without an adapter has no settings of an adapter; several experts need a router."""
    if not arm["adapted"]:
        surplus = [key for key in arm if key not in ("precision", "adapted") and arm[key] is not False]
        if surplus:
            yield f"an arm that is not adapted has no {surplus[0]!r}"
        return
    if arm["experts"] > 1 and not arm["routed"]:
        yield f"{arm['experts']} experts need a router: say routed: true"
    elif arm["experts"] == 1 and arm["routed"]:
        yield "one expert cannot be routed: more experts, or routed: false"
    elif not arm["routed"]:
        for section in ARM_SECTIONS:
            if section in arm and "frozen" in arm[section] and arm[section]["frozen"] is not None:
                yield f"{section}.frozen is for arms with a router: this one has only LoRAs to train"


def _starts(config: Config) -> Iterator[str]:
    """An arm that runs from another's pre-training names an arm that has one, of the same shape."""
    arms = config["arms"]
    for name, arm in ((name, arms[name]) for name in config["run_arms"] if name in arms):
        named = arm["pretrained"] if arm["adapted"] else False
        if not isinstance(named, str):
            continue
        if named not in arms:
            yield f"arms.{name}.pretrained: {_unknown_arm(named, arms)}"
        elif not (arms[named]["adapted"] and arms[named]["pretrained"] is True):
            yield f"arms.{name}.pretrained: {named!r} is no arm with a pre-training of its own"
        else:
            ours, theirs = ({**adapters_of(config, one), **_shape(one)} for one in (arm, arms[named]))
            for key in ours:
                if ours[key] != theirs[key]:
                    yield f"arms.{name}.pretrained: {named!r} has another {key}"


def _shape(arm: Mapping[str, Any]) -> dict[str, Any]:
    return {key: arm[key] for key in ("precision", "experts", "routed")}


def _mixture(config: Config, arm: Mapping[str, Any]) -> Iterator[str]:
    """What is for mixtures only, and what needs one route for a whole utterance."""
    if not arm["adapted"]:
        return
    for key in ("shared", "routes_from", "experts_from"):
        if key in arm and arm["experts"] == 1:
            yield f"{key} is for arms with several experts"
    collapsed = _is_collapsed(config, arm)
    if collapsed and not (arm["routed"] and arm["pretrained"]):
        yield "adaptation.collapse is for arms that have a router and are pre-trained"
    own = adapters_of(config, arm)
    for key, wanted in (("adaptation.collapse", collapsed), ("routes_from", own["routes_from"] == "table")):
        if wanted and arm["routed"] and own["decoder_routing"] == "input":
            yield f"{key} needs one route for an utterance: take decoder_routing: encoder"
    if (
        own["shared"] == "down"
        and own["experts_from"] != "lora"
        and arm["experts"] > 1
        and arm["pretrained"] is True
    ):
        yield "shared: down has one A for all experts, which needs experts_from: lora"


def _is_collapsed(config: Config, arm: Mapping[str, Any]) -> bool:
    merged = merged_with_arm({"adaptation": config["adaptation"], "arm": arm}, "adaptation")
    return bool(merged["collapse"])


def _run_arms(config: Config) -> Iterator[str]:
    for name in config["run_arms"]:
        if name not in config["arms"]:
            yield f"run_arms: {_unknown_arm(name, config['arms'])}"


def _unknown_arm(name: str, arms: Iterable[str]) -> str:
    """The problem with a similar entry, or with all entries where none is similar."""
    close = suggestion(name, arms)
    return f"{name!r} is not an entry of arms" + (close or f" (there are: {', '.join(arms)})")


def _speakers(config: Config) -> Iterator[str]:
    """Ids of target and tuning speakers become folder names and values of options."""
    for key, speakers in _adapted_to(config).items():
        for speaker in speakers:
            if not speaker.isprintable():
                yield f"{key}: {speaker!r} has a control character"
            elif speaker.startswith("-"):
                yield f"{key}: {speaker!r} would be read as an option; it may not begin with '-'"
            elif len(folder_name(speaker)) > LONGEST_FOLDER_NAME:
                yield f"{key}: {speaker[:40] + '...'!r} gives a folder name that is too long"


def _adapted_to(config: Config) -> dict[str, Sequence[str]]:
    return {"target_speakers": listed_targets(config), "tuning.speakers": config["tuning"]["speakers"]}


def _roles(config: Config) -> Iterator[str]:
    """No speaker has two roles (the synthetic corpus lists no speakers of roles)."""
    listed = _adapted_to(config) | named_roles(config)
    identify = person if config["corpus"]["name"] == "tedlium3" else str
    for first, second in combinations(listed, 2):
        known = {identify(speaker): speaker for speaker in listed[first]}
        if same := sorted(set(listed[first]) & set(listed[second])):
            yield f"{second}: {same[0]!r} is in {first} too, and roles must not share speakers"
        elif same := sorted(speaker for speaker in listed[second] if identify(speaker) in known):
            other = f"the speaker of {known[identify(same[0])]!r} in {first}"
            yield f"{second}: {same[0]!r} is a talk by {other}, and roles must not share speakers"
    for key, speakers in complete_pretrain(config).items():
        for speaker in config["initial_speakers"] or []:
            if speaker not in speakers:
                yield f"initial_speakers: {speaker!r} is not in {key}"


def _experts(config: Config) -> Iterator[str]:
    yield from without_initial_speakers(config, config["run_arms"])


def without_initial_speakers(config: Config, arms: Iterable[str]) -> Iterator[str]:
    """Problems of those of `arms` whose experts cannot all start from an initial speaker of their own."""
    initial, (available, key) = config["initial_speakers"], _pretrain_speakers(config)
    for name in arms:
        if name not in config["arms"]:
            continue  # _run_arms says so
        arm = config["arms"][name]
        if not arm["adapted"] or arm["experts"] == 1 or arm["pretrained"] is not True:
            continue
        experts, start = arm["experts"], adapters_of(config, arm)["experts_from"]
        if start == "lora":
            continue
        if start == "initial_speakers" and initial is not None and len(initial) != experts:
            yield f"initial_speakers: {len(initial)} speakers for the {experts} experts of arms.{name}"
        if available is not None and available < experts:
            yield f"{key}: {available} speakers are fewer than the {experts} experts of arms.{name}"


def _pretrain_speakers(config: Config) -> tuple[int | None, str]:
    """Number of `pretrain` speakers and the key that decides it; None where only the corpus decides."""
    corpus = config["corpus"]
    if corpus["name"] == "spoken_commands":
        return corpus["spoken_commands"]["pretrain"]["voices"], "corpus.spoken_commands.pretrain.voices"
    return pretrain_count(config)


def _ranges(config: Config) -> Iterator[str]:
    ranges = {"base_training.time_stretch": config["base_training"]["time_stretch"]}
    for path in (("spoken_commands",), ("folder", "synthetic_speech")):
        section: Any = config["corpus"]
        for key in path:
            section = section[key] if key in section else {}
        for key in ("snr_db", "gain_db"):
            ranges[".".join(("corpus", *path, key))] = section[key] if section else None
    for key, value in ranges.items():
        if value is not None and value[0] > value[1]:
            yield f"{key}: {value}: the lower value stands first"


def _corpus(config: Config) -> Iterator[str]:
    corpus = config["corpus"]
    if corpus["min_seconds"] >= corpus["max_seconds"]:
        yield f"corpus.min_seconds: {corpus['min_seconds']} is not below {corpus['max_seconds']}, max_seconds"
    if "spoken_commands" not in corpus:
        return
    for role, unit in (("base", "voices"), ("pretrain", "sentences")):
        own = corpus["spoken_commands"][role]
        dev, number = own[f"dev_{unit}"], own[unit]
        if dev >= number:
            key = f"corpus.spoken_commands.{role}.dev_{unit}"
            yield f"{key}: {dev} leaves none of {number} {unit} to train on"


def _partition(config: Config) -> Iterator[str]:
    synthetic = config["corpus"]["name"] == "spoken_commands"
    scheme = config["partition"]["scheme"]
    if synthetic and scheme != "given":
        yield f"partition.scheme: {scheme!r} is for recordings; spoken_commands has parts of its own: given"
    if not synthetic and scheme == "given":
        yield "partition.scheme: 'given' is for synthetic speech; recordings take contiguous, random or folds"


def _enrolment(config: Config) -> Iterator[str]:
    """The curve needs adapted arms, and its reference is one of them."""
    own = config["enrolment"]
    for name in own["arms"]:
        if name not in config["arms"] or not config["arms"][name]["adapted"]:
            yield f"enrolment.arms: {name!r} is not an adapted entry of arms"
    if own["reference"] is not None and own["reference"] not in own["arms"]:
        yield f"enrolment.reference: {own['reference']!r} is not one of enrolment.arms"


def _ablation(config: Config) -> Iterator[str]:
    """The arms of the questions exist, those to prune have routers, and the reference is among them."""
    own, arms = config["ablation"], config["arms"]
    questions = {f"questions.{question}": names for question, names in own["questions"].items()}
    for key, names in (questions | {"pruning": own["pruning"], "embeddings": own["embeddings"]}).items():
        for name in names:
            if name not in arms:
                yield f"ablation.{key}: {_unknown_arm(name, arms)}"
            elif key == "pruning" and not (arms[name]["adapted"] and arms[name]["routed"]):
                yield f"ablation.pruning: {name!r} has no router, so no expert can be left out"
            elif (
                key in ("pruning", "embeddings")
                and arms[name]["adapted"]
                and _is_collapsed(config, arms[name])
            ):
                yield f"ablation.{key}: {name!r} is a mixture before adaptation and one LoRA after it"
    if own["reference"] is not None and not any(own["reference"] in names for names in questions.values()):
        yield f"ablation.reference: {own['reference']!r} is an arm of no question"


CHECKS = (
    _arms,
    _starts,
    _run_arms,
    _speakers,
    _roles,
    drawn_roles,
    _experts,
    _corpus,
    _ranges,
    _partition,
    _enrolment,
    _ablation,
    *MODEL_CHECKS,
)
