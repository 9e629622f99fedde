"""What is said of roles that do not fit together, in corpora that come in parts."""

import copy
from pathlib import Path

import pytest

from saml.config.checks import problems
from saml.config.load import load, validate
from saml.runtime.errors import SamlError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
CONFIGURATIONS = {
    name: load([ROOT / "config/config.yaml", ROOT / f"config/{name}.yaml"])
    for name in (
        "librispeech-whisper",
        "librispeech-conformer",
        "librispeech-mini",
        "tedlium3-whisper",
        "tedlium3-conformer",
    )
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_configurations_are_right(name):
    validate(CONFIGURATIONS[name], SCHEMA)


# Configuration, key, value, and what is said.
WRONG = {
    "named twice": (
        "librispeech-conformer",
        "corpus__librispeech__roles__heldout__named",
        ["19"],
        "corpus.librispeech.roles.heldout.named: '19' is in corpus.librispeech.roles.pretrain.named too",
    ),
    "named target": (
        "librispeech-conformer",
        "corpus__librispeech__roles__base__named",
        ["115"],
        "corpus.librispeech.roles.base.named: '115' is in target_speakers too",
    ),
    "all twice": (
        "librispeech-conformer",
        "corpus__librispeech__roles__pretrain__drawn",
        None,
        "corpus.librispeech.roles.pretrain.drawn: base takes all of train-clean-100 too",
    ),
    "no base": (
        "librispeech-conformer",
        "corpus__librispeech__roles__base__drawn",
        0,
        "corpus.librispeech.roles.base: it needs speakers",
    ),
    "no speakers of pre-training": (
        "librispeech-conformer",
        "corpus__librispeech__roles__pretrain",
        {"named": [], "drawn": 0},
        "corpus.librispeech.roles.pretrain: it needs speakers",
    ),
    "target may be drawn": (
        "librispeech-mini",
        "corpus__librispeech__reserved",
        ["26", "118"],
        "corpus.librispeech.reserved: '19' of target_speakers is missing, and base draws from",
    ),
    "tuning speaker may be drawn": (
        "tedlium3-whisper",
        "tuning__speakers",
        ["WadeDavis_2003"],
        "corpus.tedlium3.reserved: 'WadeDavis_2003' of tuning.speakers is missing",
    ),
    "tuning speaker gives a target talk": (
        "tedlium3-whisper",
        "target_speakers",
        ["AlGore_2006"],
        "tuning.speakers: 'AlGore_2009' is a talk by the speaker of 'AlGore_2006' in target_speakers",
    ),
    "reserved and named": (
        "tedlium3-conformer",
        "corpus__tedlium3__roles__pretrain__named",
        ["AlGore_2009"],
        "corpus.tedlium3.roles.pretrain.named: 'AlGore_2009' is in",
    ),
    "fewer than experts": (
        "tedlium3-conformer",
        "corpus__tedlium3__roles__pretrain__drawn",
        9,
        "corpus.tedlium3.roles.pretrain: 9 speakers are fewer than the 10 experts of arms.saml",
    ),
    "negative": (
        "librispeech-conformer",
        "corpus__librispeech__roles__pretrain__drawn",
        -1,
        "corpus.librispeech.roles.pretrain.drawn: -1 is less than the minimum of 0",
    ),
    "no such distribution": (
        "tedlium3-conformer",
        "corpus__tedlium3__distribution",
        "adaptation",
        "corpus.tedlium3.distribution: 'adaptation' is not one of",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case):
    name, path, value, message = WRONG[case]
    config = copy.deepcopy(CONFIGURATIONS[name])
    section = config
    *keys, last = path.split("__")
    for key in keys:
        section = section[key]
    section[last] = value
    with pytest.raises(SamlError) as error:
        validate(config, SCHEMA)
    assert f"config: {message}" in str(error.value)


def test_an_initial_speaker_without_the_role_is_named():
    """Where the role is named in full; whom a draw brings, only the corpus knows."""
    config = copy.deepcopy(CONFIGURATIONS["librispeech-conformer"])
    config["initial_speakers"] = [str(number) for number in range(1000, 1010)]
    validate(config, SCHEMA)
    config["corpus"]["librispeech"]["roles"]["pretrain"]["drawn"] = 0
    with pytest.raises(
        SamlError, match="initial_speakers: '1000' is not in corpus.librispeech.roles.pretrain"
    ):
        validate(config, SCHEMA)


def test_lists_of_a_corpus_that_is_added():
    """As in docs/adding-a-corpus.md: roles share no speaker, with target speakers neither."""
    roles = {"base": ["ben", "carl"], "pretrain": ["dora", "ben"], "heldout": ["fay"]}
    config = copy.deepcopy(CONFIGURATIONS["librispeech-mini"]) | {"target_speakers": ["fay"]}
    config["corpus"] |= {"name": "plain", "plain": {"root": "speech", "roles": roles}}
    doubles = [line for line in problems(config) if "must not share" in line]
    assert [line.split(", and")[0] for line in doubles] == [
        "corpus.plain.roles.heldout: 'fay' is in target_speakers too",
        "corpus.plain.roles.pretrain: 'ben' is in corpus.plain.roles.base too",
    ]
    config["corpus"]["plain"]["roles"] = "roles.csv"
    assert not any("must not share" in line for line in problems(config))
