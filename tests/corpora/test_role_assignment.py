"""Assignment of roles in a corpus with parts: named or drawn, never two for one speaker."""

import pytest

from saml.corpora.role_assignment import assign_roles
from saml.runtime.errors import SamlError

PARTS = {
    "large": [f"p{number}_{talk}" for number in range(30) for talk in (1, 2)],
    "small": ["q1_1", "q2_1", "p3_3"],
}


def settings(seed=1, reserved=(), parts=None, **roles):
    nobody = {"named": [], "drawn": 0}
    return {
        "parts": {role: ["large"] for role in ("base", "pretrain", "heldout")} | (parts or {}),
        "roles": {role: {**nobody, **roles.get(role, {})} for role in ("heldout", "base", "pretrain")},
        "reserved": list(reserved),
        "seed": seed,
    }


def person(speaker):
    return speaker.split("_")[0]


def assign(own, **options):
    found = {"base": [], "pretrain": [], "heldout": []}
    for assigned in assign_roles("some", own, PARTS.__getitem__, **options):
        assert assigned.speaker in PARTS[assigned.part] and assigned.part in own["parts"][assigned.role]
        found[assigned.role].append(assigned.speaker)
    return found


def test_named_come_first_and_numbers_are_kept():
    own = settings(
        base={"drawn": None}, pretrain={"named": ["p9_1", "p2_2"], "drawn": 3}, heldout={"drawn": 4}
    )
    found = assign(own)
    assert found["pretrain"][:2] == ["p9_1", "p2_2"]
    assert [len(found[role]) for role in ("pretrain", "heldout", "base")] == [5, 4, 51]
    everybody = [speaker for role in found.values() for speaker in role]
    assert sorted(everybody) == sorted(PARTS["large"])  # each once
    drawn = found["pretrain"][2:]
    assert drawn == [speaker for speaker in PARTS["large"] if speaker in drawn]  # in the corpus's order


def test_draws_depend_on_the_seed_and_hardly_on_other_speakers():
    own = settings(pretrain={"drawn": 8}, heldout={"drawn": 5})
    assert assign(own) == assign(own)
    assert assign(own) != assign({**own, "seed": 2})
    first = assign(own)["pretrain"]
    fewer = assign(settings(pretrain={"drawn": 8}, heldout={"drawn": 5}, reserved=[first[0]]))["pretrain"]
    assert first[0] not in fewer and set(first[1:]) < set(fewer)
    assert set(assign(settings(pretrain={"drawn": 5}, heldout={"drawn": 5}))["pretrain"]) < set(first)


def test_roles_share_no_person():
    own = settings(base={"drawn": None}, pretrain={"drawn": 6}, heldout={"drawn": 6}, reserved=["p5_9"])
    found = assign(own, person=person)
    people = {role: {person(speaker) for speaker in speakers} for role, speakers in found.items()}
    assert not people["base"] & people["pretrain"] and not people["heldout"] & people["pretrain"]
    assert not people["base"] & people["heldout"]
    assert "p5" not in set.union(*people.values())


def test_parts_of_roles():
    own = settings(heldout={"drawn": None}, pretrain={"drawn": 2}, parts={"heldout": ["small", "large"]})
    found = assign(own, person=person)
    # `pretrain` draws a number before `heldout` takes the rest, of both parts in their order.
    assert found["heldout"][:2] == ["q1_1", "q2_1"] and len(found["pretrain"]) == 2


def test_all_speakers_may_be_named():
    own = settings(base={"named": PARTS["large"][:30]}, heldout={"named": PARTS["large"][30:]})
    assert assign(own) == {"base": PARTS["large"][:30], "pretrain": [], "heldout": PARTS["large"][30:]}


def test_only_parts_with_speakers_are_read():
    own = settings(heldout={"drawn": 1}, parts={"base": ["absent"], "pretrain": ["absent"]})
    assert len(assign(own)["heldout"]) == 1


WRONG = {
    "not there": (dict(base={"named": ["x"]}), "roles.base.named: x is not in large; remove it"),
    "two roles": (
        dict(base={"named": ["p1_1"]}, heldout={"named": ["p1_1"]}),
        "roles.heldout.named: p1_1 is in base too",
    ),
    "reserved": (dict(base={"named": ["p1_1"]}, reserved=["p1_1"]), "base.named: p1_1 is in reserved too"),
    "too few": (
        dict(base={"drawn": 50}, pretrain={"drawn": 11}),
        "roles.base.drawn: 50 are needed, and 49 remain in large; reduce it",
    ),
    "nobody left": (
        dict(base={"drawn": 60}, heldout={"drawn": None}),
        "roles.heldout.drawn: all are needed, and 0",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_roles(case):
    changes, message = WRONG[case]
    with pytest.raises(SamlError, match=f"corpus.some.*{message}"):
        assign(settings(**changes))
