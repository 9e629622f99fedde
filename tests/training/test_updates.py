"""Optimisers against torch's own, one expert at a time, and against the rule of alternate steps."""

import pytest
import torch
from torch import nn

from saml.training.optim import AdapterUpdates, SeparateAdam, WarmUpUpdates


def test_every_adapter_has_an_adam_of_its_own() -> None:
    """Adapter 1 is absent from every second batch: its own Adam simply takes fewer steps."""
    torch.manual_seed(0)
    start = [torch.randn(2, 3, 4), torch.randn(2, 5)]
    joint = [nn.Parameter(tensor.clone()) for tensor in start]
    updates = SeparateAdam(joint, learning_rate=0.01, clip_norm=1.0, decay=1.0)
    alone = [[nn.Parameter(tensor[e].clone()) for tensor in start] for e in range(2)]
    adams = [torch.optim.Adam(parameters, lr=0.01) for parameters in alone]
    for step in range(6):
        present = [0, 1] if step % 2 == 0 else [0]
        gradients = [torch.randn_like(tensor) * 3 for tensor in start]
        for parameter, gradient in zip(joint, gradients, strict=True):
            # Absent adapters get no gradient from the loss, yet a leftover must not move them either.
            parameter.grad = gradient.clone()
        updates.step(torch.tensor(present * 2))
        for e in present:
            for parameter, gradient in zip(alone[e], gradients, strict=True):
                parameter.grad = gradient[e].clone()
            nn.utils.clip_grad_norm_(alone[e], 1.0)
            adams[e].step()
        for e in range(2):
            for own, parameter in zip(alone[e], joint, strict=True):
                torch.testing.assert_close(parameter[e], own, atol=1e-6, rtol=1e-5)


def test_separate_updates_decay_by_epochs_and_remember_it() -> None:
    """As torch's exponential schedule over Adam; halfway the state goes into a fresh object."""
    torch.manual_seed(0)
    start = torch.randn(1, 4)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())

    def fresh() -> SeparateAdam:
        return SeparateAdam([ours], learning_rate=0.1, clip_norm=100.0, decay=0.5)

    updates, adam = fresh(), torch.optim.Adam([theirs], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(adam, 0.5)
    for index in range(4):
        for parameter in (ours, theirs):
            parameter.grad = parameter.detach().square()
        updates.step(torch.tensor([0]))
        adam.step()
        updates.end_epoch(0)
        schedule.step()
        if index == 1:
            state = updates.state_dict()
            updates = fresh()
            updates.load_state_dict(state)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_parameters_must_have_the_same_adapters() -> None:
    with pytest.raises(ValueError, match="first dimension"):
        SeparateAdam(
            [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))], learning_rate=1, clip_norm=1, decay=1
        )


def test_routers_move_on_even_steps_and_experts_on_odd_ones() -> None:
    expert, router = nn.Parameter(torch.ones(1, 3)), nn.Parameter(torch.ones(1, 3))
    updates = AdapterUpdates(
        [expert],
        [router],
        learning_rate={"expert": 0.1, "router": 0.1},
        clip_norm=10.0,
        decay=0.5,
        interleaved=True,
    )
    for step in range(6):
        before = expert.detach().clone(), router.detach().clone()
        (expert.sum() + router.sum()).backward()
        updates.step(torch.tensor([0]))
        moved = [not torch.equal(now, old) for now, old in zip((expert, router), before, strict=True)]
        assert moved == [step % 2 == 1, step % 2 == 0]


def test_not_interleaved_routers_and_experts_are_two_adams_that_take_every_step() -> None:
    torch.manual_seed(0)
    start = torch.randn(2, 1, 3)
    expert, router, other_expert, other_router = (nn.Parameter(start[i % 2].clone()) for i in range(4))
    rates = {"expert": 0.1, "router": 0.02}
    updates = AdapterUpdates(
        [expert], [router], learning_rate=rates, clip_norm=0.5, decay=1.0, interleaved=False
    )
    adams = [torch.optim.Adam([other_expert], lr=0.1), torch.optim.Adam([other_router], lr=0.02)]
    for _ in range(4):
        for one, two in ((expert, router), (other_expert, other_router)):
            one.grad, two.grad = 3 * one.detach(), two.detach().square()
        updates.step(torch.tensor([0]))
        for adam, parameter in zip(adams, (other_expert, other_router), strict=True):
            nn.utils.clip_grad_norm_([parameter], 0.5)
            adam.step()
    torch.testing.assert_close(expert, other_expert, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(router, other_router, atol=1e-5, rtol=1e-4)


def test_without_routers_every_step_is_the_experts_and_the_rate_decays() -> None:
    """Adam's first steps under a constant gradient are the learning rate itself."""
    expert = nn.Parameter(torch.zeros(1, 1))
    updates = AdapterUpdates(
        [expert], [], learning_rate={"expert": 0.1}, clip_norm=10.0, decay=0.5, interleaved=True
    )
    positions = []
    for _ in range(3):
        expert.sum().backward()
        updates.step(torch.tensor([0]))
        updates.end_epoch(0)
        positions.append(expert.item())
    assert positions == pytest.approx([-0.1, -0.15, -0.175], abs=1e-5)


def test_warm_up_and_decay_by_the_inverse_square_root() -> None:
    """As transformers' schedule, whose first step has the rate 0."""
    from transformers import get_inverse_sqrt_schedule

    ours, theirs = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    settings = {"learning_rate": 0.1, "weight_decay": 0.0, "clip_norm": 1.0}
    updates = WarmUpUpdates([ours], steps=40, warm_up_share=0.2, schedule="inverse_sqrt", **settings)
    adam = torch.optim.AdamW([theirs], lr=0.1, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = get_inverse_sqrt_schedule(adam, num_warmup_steps=8)
    adam.step()  # no gradient, no move: torch wants this order
    schedule.step()
    for _ in range(40):
        for parameter in (ours, theirs):
            parameter.grad = parameter.detach() + 0.1
        nn.utils.clip_grad_norm_([theirs], 1.0)
        updates.step(torch.tensor([0]))
        adam.step()
        schedule.step()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


HOW = {"learning_rate": {"expert": 0.01, "router": 0.03}, "clip_norm": 0.5, "decay": 0.7}
SHAPES = {"expert": [(2, 3), (4,)], "router": [(3,)]}
# Adapters that take part in each step, and those whose epoch ends after it. None comes back that has left.
STEPS = [([0, 1, 2], []), ([0, 1, 2], [1]), ([0, 1, 2], [0, 2]), ([0, 2], []), ([0, 2], [0]), ([2], [])]


@pytest.mark.parametrize("kinds", [["expert"], ["expert", "router"], ["router"]], ids=str)
@pytest.mark.parametrize("interleaved", [True, False])
def test_every_adapter_is_updated_as_if_alone(kinds: list[str], interleaved: bool) -> None:
    """Against torch's Adam for each adapter and group; gradients differ in size, so clipping differs."""
    torch.manual_seed(0)
    start = {kind: [torch.randn(3, *shape) for shape in SHAPES[kind]] for kind in kinds}
    ours = {kind: [nn.Parameter(tensor.clone()) for tensor in start[kind]] for kind in kinds}
    alone = [
        {kind: [nn.Parameter(tensor[index].clone()) for tensor in start[kind]] for kind in kinds}
        for index in range(3)
    ]
    adams = [
        {kind: torch.optim.Adam(own[kind], lr=HOW["learning_rate"][kind]) for kind in kinds} for own in alone
    ]

    def fresh() -> AdapterUpdates:
        return AdapterUpdates(ours.get("expert", []), ours.get("router", []), interleaved=interleaved, **HOW)

    updates = fresh()
    scale = torch.tensor([10.0, 0.01, 1.0])
    for number, (present, ending) in enumerate(STEPS):
        for kind in kinds:
            for index, parameter in enumerate(ours[kind]):
                gradient = torch.randn_like(parameter) * scale.view(-1, *[1] * (parameter.dim() - 1))
                parameter.grad = gradient  # a gradient of an absent adapter must not move it
                for adapter in present:
                    alone[adapter][kind][index].grad = gradient[adapter].clone()
        updates.step(torch.tensor(present * 2))
        turns = [kind for kind in ("router", "expert") if kind in kinds]
        for adapter in present:
            for kind in turns:
                if not interleaved or kind == turns[number % len(turns)]:
                    nn.utils.clip_grad_norm_(alone[adapter][kind], HOW["clip_norm"])
                    adams[adapter][kind].step()
        for adapter in ending:
            updates.end_epoch(adapter)
            for adam in adams[adapter].values():
                adam.param_groups[0]["lr"] *= HOW["decay"]
        if number == 2:
            state = updates.state_dict()
            updates = fresh()
            updates.load_state_dict(state)
        for adapter in range(3):
            for kind in kinds:
                for parameter, own in zip(ours[kind], alone[adapter][kind], strict=True):
                    torch.testing.assert_close(parameter[adapter], own, atol=1e-6, rtol=1e-5)
    assert all(parameter.grad is None for parameters in ours.values() for parameter in parameters)
