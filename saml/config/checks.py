"""What a JSON schema cannot say about a configuration: how its sections fit together.

Each check takes a configuration that has passed the schema and yields messages "<key path>: <what is wrong>".
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from saml.config.roles import complete_pretrain, drawn_roles, named_roles, pretrain_count
from saml.corpora.people import person
from saml.corpora.registry import folder_name
from saml.models.checkpoints.source import is_given

Config = Mapping[str, Any]

# A folder's name may have 255 bytes on the usual file systems; files beside it have longer names than it.
LONGEST_FOLDER_NAME = 200


def problems(config: Config) -> Iterator[str]:
    """Everything that is wrong with `config`, the most basic first."""
    for check in CHECKS:
        yield from check(config)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown `name`: the known one that is most like it, if any is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _sections(config: Config) -> Iterator[str]:
    """The chosen corpus and family must have their own sections."""
    for section, key in (("corpus", "name"), ("model", "family")):
        chosen = config[section][key]
        if chosen not in config[section]:
            yield f"{section}.{chosen}: this key is missing, as {section}.{key} is {chosen!r}"


def _arms(config: Config) -> Iterator[str]:
    for name, arm in config["arms"].items():
        for problem in _arm(arm):
            yield f"arms.{name}: {problem}"


def _arm(arm: Mapping[str, Any]) -> Iterator[str]:
    """An arm without an adapter has none of an adapter's settings; several experts need a router."""
    if not arm["adapted"]:
        surplus = [key for key in arm if key not in ("precision", "adapted") and arm[key] is not False]
        if surplus:
            yield f"an arm that is not adapted takes no {surplus[0]!r}"
        return
    if "experts" not in arm:
        yield "an adapted arm says how many 'experts' it has (1 is a plain LoRA)"
    elif arm["experts"] > 1 and not arm.get("routed", False):
        yield f"{arm['experts']} experts need a router: say routed: true"
    elif arm["experts"] == 1 and arm.get("routed", False):
        yield "one expert cannot be routed: more experts, or routed: false"
    elif "frozen" in arm.get("adaptation", {}) and not arm.get("routed", False):
        yield "adaptation.frozen is for arms that are routed: this one has LoRAs alone to train"


def _run_arms(config: Config) -> Iterator[str]:
    for name in config["run_arms"]:
        if name not in config["arms"]:
            yield f"run_arms: {_unknown_arm(name, config['arms'])}"


def _unknown_arm(name: str, arms: Iterable[str]) -> str:
    """What is wrong, and which entry may be meant; all of them where none is alike."""
    close = suggestion(name, arms)
    return f"{name!r} is not an entry of arms" + (close or f" (there are: {', '.join(arms)})")


def _speakers(config: Config) -> Iterator[str]:
    """The ids of all whom something is adapted to must do as names of folders, and as options."""
    for key, speakers in _adapted_to(config).items():
        for speaker in speakers:
            if not speaker.isprintable():
                yield f"{key}: {speaker!r} has a control character"
            elif speaker.startswith("-"):
                yield f"{key}: {speaker!r} would be taken for an option; it may not begin with '-'"
            elif len(folder_name(speaker)) > LONGEST_FOLDER_NAME:
                yield f"{key}: {speaker[:40] + '...'!r} makes a folder name that is too long"


def _adapted_to(config: Config) -> dict[str, Sequence[str]]:
    return {"target_speakers": config["target_speakers"], "tuning.speakers": config["tuning"]["speakers"]}


def _roles(config: Config) -> Iterator[str]:
    """Nobody may be heard in two roles (a synthetic corpus names nobody)."""
    listed, roles = _adapted_to(config), named_roles(config)
    listed |= roles
    who = person if config["corpus"]["name"] == "tedlium3" else str
    for first, second in combinations(listed, 2):
        known = {who(speaker): speaker for speaker in listed[first]}
        if same := sorted(set(listed[first]) & set(listed[second])):
            yield f"{second}: {same[0]!r} stands in {first} too, and roles must not share speakers"
        elif alike := sorted(speaker for speaker in listed[second] if who(speaker) in known):
            whose = f"the person who gives {known[who(alike[0])]!r} of {first}"
            yield f"{second}: {alike[0]!r} is a talk of {whose}, and roles must not share people"
    for key, speakers in complete_pretrain(config).items():
        for speaker in config["initial_speakers"] or []:
            if speaker not in speakers:
                yield f"initial_speakers: {speaker!r} is not in {key}"


def _experts(config: Config) -> Iterator[str]:
    yield from without_initial_speakers(config, config["run_arms"])


def without_initial_speakers(config: Config, arms: Iterable[str]) -> Iterator[str]:
    """Which of `arms` cannot be run: each of its experts starts from an initial speaker of its own."""
    initial = config["initial_speakers"]
    for name in arms:
        arm = config["arms"].get(name, {})
        experts = arm.get("experts", 1)
        if experts == 1 or not arm.get("pretrained", False):
            continue
        if initial is not None and len(initial) != experts:
            yield f"initial_speakers: {len(initial)} speakers for the {experts} experts of arms.{name}"
        available, key = _pretrain_speakers(config)
        if available is not None and available < experts:
            yield f"{key}: {available} speakers are fewer than the {experts} experts of arms.{name}"


def _pretrain_speakers(config: Config) -> tuple[int | None, str]:
    """How many `pretrain` speakers the configuration promises, and where; None if only the corpus knows."""
    corpus = config["corpus"]
    own = corpus.get(corpus["name"], {})
    if corpus["name"] == "spoken_commands" and own:
        return own["pretrain"]["voices"], "corpus.spoken_commands.pretrain.voices"
    return pretrain_count(config)


def _ranges(config: Config) -> Iterator[str]:
    made = config["corpus"].get("spoken_commands", {})
    ranges = {f"corpus.spoken_commands.{key}": made[key] for key in ("snr_db", "gain_db") if key in made}
    ranges["base_training.time_stretch"] = config["base_training"]["time_stretch"]
    for key, value in ranges.items():
        if value is not None and value[0] > value[1]:
            yield f"{key}: {value} has its ends the wrong way round"


def _corpus(config: Config) -> Iterator[str]:
    corpus = config["corpus"]
    if corpus["min_seconds"] >= corpus["max_seconds"]:
        yield f"corpus.min_seconds: {corpus['min_seconds']} is not below {corpus['max_seconds']}, max_seconds"
    made = corpus.get("spoken_commands")
    if made is None:
        return
    for role, of in (("base", "voices"), ("pretrain", "sentences")):
        dev, number = made[role][f"dev_{of}"], made[role][of]
        if dev >= number:
            yield f"corpus.spoken_commands.{role}.dev_{of}: {dev} leaves none of {number} {of} to train on"


def _partition(config: Config) -> Iterator[str]:
    made = config["corpus"]["name"] == "spoken_commands"
    scheme = config["partition"]["scheme"]
    if made and scheme != "given":
        yield f"partition.scheme: {scheme!r} is for recordings; spoken_commands brings its parts: given"
    if not made and scheme == "given":
        yield "partition.scheme: 'given' is for synthetic speech; recordings take contiguous, random or folds"


def _enrolment(config: Config) -> Iterator[str]:
    """The curve needs adapted arms, and its reference is one of them."""
    own = config["enrolment"]
    for name in own["arms"]:
        if not config["arms"].get(name, {}).get("adapted", False):
            yield f"enrolment.arms: {name!r} is not an adapted entry of arms"
    if own["reference"] is not None and own["reference"] not in own["arms"]:
        yield f"enrolment.reference: {own['reference']!r} is not one of enrolment.arms"


def _ablation(config: Config) -> Iterator[str]:
    """What is asked for by name must be there, and be what the question is about."""
    own, arms = config["ablation"], config["arms"]
    asked = {f"questions.{question}": names for question, names in own["questions"].items()}
    for key, names in (asked | {"pruning": own["pruning"], "embeddings": own["embeddings"]}).items():
        for name in names:
            if name not in arms:
                yield f"ablation.{key}: {_unknown_arm(name, arms)}"
            elif key == "pruning" and not arms[name].get("routed", False):
                yield f"ablation.pruning: {name!r} has no router, so no expert can be left out"
    if own["reference"] is not None and not any(own["reference"] in names for names in asked.values()):
        yield f"ablation.reference: {own['reference']!r} stands under no question"


def _model(config: Config) -> Iterator[str]:
    for family in ("conformer", "whisper"):
        for problem in _network(config["model"].get(family, {})):
            yield f"model.{family}.{problem}"


def _network(model: Mapping[str, Any]) -> Iterator[str]:
    """What holds for the settings of any family that has them."""
    if not model:
        return
    width, heads = model["hidden_size"], model["heads"]
    if width % heads:
        yield f"hidden_size: {width} is not a multiple of the {heads} heads"
    elif width % 2:
        yield f"hidden_size: {width} is odd, and half of the positions' values are sines"
    if model.get("kernel_size", 1) % 2 == 0:
        yield f"kernel_size: {model['kernel_size']} is even"
    characters = model["characters"]
    if characters is None:
        if model.get("checkpoint") is None:
            yield "characters: null is the vocabulary of a checkpoint; name one, or say which characters"
    elif len(set(characters)) != len(characters) or characters != characters.lower():
        yield f"characters: {characters!r} must be distinct and lower case"
    elif model.get("bpe") is not None and model["bpe"] < _fewest_subwords(characters):
        yield f"bpe: {model['bpe']} tokens are too few: these characters need {_fewest_subwords(characters)}"
    seconds = model.get("features", {}).get("pad_seconds", 1.0)
    if abs(seconds * 50 - round(seconds * 50)) > 1e-6:
        yield f"features.pad_seconds: {seconds} is not a multiple of 0.02, the length of an encoder frame"


def _fewest_subwords(characters: str) -> int:
    """Each character is a piece, the start of a word another, and four tokens are special."""
    return len(set(characters) - {" "}) + 1 + 4


def _whisper(config: Config) -> Iterator[str]:
    """A Whisper's context has a length that its encoder can take, and a CTC head only where it is told to."""
    model = config["model"]
    own = model.get("whisper")
    if model["family"] != "whisper" or own is None:
        return
    if is_given(model) and own["ctc_head"]:
        yield "model.whisper.ctc_head: a checkpoint has none; say false"
    if not own["ctc_head"]:
        for key, weight in _ctc_weights(config):
            if weight:
                yield f"{key}: {weight}, but model.whisper.ctc_head is false; say 0"
    if own["characters"] is not None and own.get("letter_case", "lower") != "lower":
        yield "model.whisper.letter_case: characters are lower case; this is for Whisper's vocabulary"
    for key, slowest in () if is_given(model) else _slowest(config["base_training"]):
        longest, room = config["corpus"]["max_seconds"], own["features"]["pad_seconds"]
        if longest * slowest > room:
            yield (
                f"base_training.{key}: corpus.max_seconds, {longest}, become {longest * slowest:g}, "
                f"more than the {room} of model.whisper.features.pad_seconds"
            )


def _slowest(how: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """By how much base training makes utterances longer at most, by its key."""
    by_speed = max(1.0, 1 / min(how.get("speed_perturbation") or [1.0]))
    if by_speed > 1:
        yield "speed_perturbation", by_speed
    if how["time_stretch"] is not None:
        yield "time_stretch", how["time_stretch"][1] * by_speed


def _ctc_weights(config: Config) -> Iterator[tuple[str, float]]:
    """Every weight of CTC that the experiment uses, by its key."""
    if not is_given(config["model"]):
        yield "base_training.ctc_weight", config["base_training"]["ctc_weight"]
    for section in ("pretraining", "adaptation"):
        yield f"{section}.ctc_weight", config[section]["ctc_weight"]
        for name, arm in config["arms"].items():
            yield f"arms.{name}.{section}.ctc_weight", arm.get(section, {}).get("ctc_weight", 0)
    yield "decoding.ctc_weight", config["decoding"].get("ctc_weight", 0)


def _ctc_decoding(config: Config) -> Iterator[str]:
    """A search can only listen to a CTC head that has been trained."""
    weight = config["decoding"].get("ctc_weight", 0)
    if weight and not is_given(config["model"]) and not config["base_training"]["ctc_weight"]:
        yield f"decoding.ctc_weight: {weight}, but base_training.ctc_weight is 0: nothing trains the CTC head"


CHECKS = (
    _sections,
    _arms,
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
    _model,
    _whisper,
    _ctc_decoding,
)
