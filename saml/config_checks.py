"""What a JSON schema cannot say about a configuration: how its sections fit together.

Each check takes a configuration that has passed the schema and yields messages "<key path>: <what is wrong>".
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from saml.corpora import folder_name

Config = Mapping[str, Any]

# A folder's name may have 255 bytes on the usual file systems; files beside it have longer names than it.
LONGEST_FOLDER_NAME = 200


def problems(config: Config) -> Iterator[str]:
    """Everything that is wrong with `config`, the most basic first."""
    for check in CHECKS:
        yield from check(config)


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


def _run_arms(config: Config) -> Iterator[str]:
    for name in config["run_arms"]:
        if name not in config["arms"]:
            yield f"run_arms: {name!r} is not an entry of arms (there are: {', '.join(config['arms'])})"


def _speakers(config: Config) -> Iterator[str]:
    for speaker in config["target_speakers"]:
        if not speaker.isprintable():
            yield f"target_speakers: {speaker!r} has a control character"
        elif speaker.startswith("-"):
            yield f"target_speakers: {speaker!r} would be taken for an option; it may not begin with '-'"
        elif len(folder_name(speaker)) > LONGEST_FOLDER_NAME:
            yield f"target_speakers: {speaker[:40] + '...'!r} makes a folder name that is too long"


def _roles(config: Config) -> Iterator[str]:
    """Nobody may be heard in two roles (only a folder corpus lists them)."""
    if config["corpus"]["name"] != "folder" or "folder" not in config["corpus"]:
        return
    roles = config["corpus"]["folder"]["roles"]
    listed = {"target_speakers": config["target_speakers"]}
    listed |= {f"corpus.folder.roles.{role}": speakers for role, speakers in roles.items()}
    for first, second in combinations(listed, 2):
        shared = sorted(set(listed[first]) & set(listed[second]))
        if shared:
            yield f"{second}: {shared[0]!r} stands in {first} too, and roles must not share speakers"
    for speaker in config["initial_speakers"] or []:
        if "pretrain" in roles and speaker not in roles["pretrain"]:
            yield f"initial_speakers: {speaker!r} is not in corpus.folder.roles.pretrain"


def _experts(config: Config) -> Iterator[str]:
    """Each expert starts from an initial speaker of its own."""
    initial = config["initial_speakers"]
    for name in config["run_arms"]:
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
    if corpus["name"] == "folder" and "pretrain" in own.get("roles", {}):
        return len(own["roles"]["pretrain"]), "corpus.folder.roles.pretrain"
    return None, ""


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
        yield "partition.scheme: 'given' is for made corpora; recordings take contiguous, random or folds"


def _model(config: Config) -> Iterator[str]:
    model = config["model"].get("conformer")
    if model is None:
        return
    width, heads = model["hidden_size"], model["heads"]
    if width % heads:
        yield f"model.conformer.hidden_size: {width} is not a multiple of the {heads} heads"
    if model["kernel_size"] % 2 == 0:
        yield f"model.conformer.kernel_size: {model['kernel_size']} is even"
    characters = model["characters"]
    if len(set(characters)) != len(characters) or characters != characters.lower():
        yield f"model.conformer.characters: {characters!r} must be distinct and lower case"


CHECKS = (
    _sections,
    _arms,
    _run_arms,
    _speakers,
    _roles,
    _experts,
    _corpus,
    _ranges,
    _partition,
    _model,
)
