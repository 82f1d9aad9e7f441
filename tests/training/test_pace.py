"""A budget of seconds becomes a number of steps, also where later steps take longer."""

from __future__ import annotations

import pytest

from napari_virtualstain.training.pace import Pace
from napari_virtualstain.training.settings import LoopSettings
from napari_virtualstain.training.state import State


def settings(**more):
    return LoopSettings(**{"steps": 10**6, **more})


def trained(budget, seconds_of, said_of=lambda done: ("loss",), *, stop=None, state=None):
    """Walk through a training whose steps take what is told; return the seconds and the state."""
    now = 0.0
    state = state or State(step=0, average={})
    pace = Pace(settings(budget=budget), state, clock=lambda: now)
    while state.step < pace.steps:
        done = state.step / pace.steps
        now += seconds_of(done)
        state.step += 1
        pace.tell(state, said_of(done))
        if stop is not None and state.step >= stop:
            break
    return now, state


def with_critic(done):
    return ("pixel", "critic") if done >= 1 / 3 else ("pixel",)


def test_without_a_budget_the_steps_are_those_asked_for():
    state = State(step=0, average={})
    pace = Pace(settings(steps=7), state)
    for _ in range(7):
        state.step += 1
        pace.tell(state, ("loss",))
    assert (pace.steps, state.total) == (7, None)


@pytest.mark.parametrize("each", [0.01, 0.5, 3.0])
def test_steps_of_one_kind_fill_the_budget(each):
    seconds, state = trained(120.0, lambda done: each)
    assert seconds == pytest.approx(120.0, abs=each)
    assert state.total == state.step


def test_a_step_longer_than_the_budget_still_ends():
    seconds, state = trained(1.0, lambda done: 5.0)
    assert state.step == 4
    assert seconds == 20.0


@pytest.mark.parametrize("slower", [1.0, 2.0, 5.0])
def test_a_critic_that_joins_later_does_not_make_it_longer(slower):
    seconds, state = trained(
        120.0, lambda done: 0.2 * (slower if done >= 1 / 3 else 1), said_of=with_critic
    )
    # What is learnt anew about the pace costs a dozen steps at most.
    assert seconds == pytest.approx(120.0, abs=0.2 * slower)
    assert state.step <= 600


def test_steps_that_become_quicker_do_not_make_more_of_them():
    _, state = trained(120.0, lambda done: 0.1 if done >= 1 / 3 else 0.2, said_of=with_critic)
    assert state.step == 600


def test_a_training_that_is_resumed_before_the_critic_joins_keeps_to_its_time():
    def each(done):
        return 0.6 if done >= 1 / 3 else 0.2

    first, state = trained(120.0, each, said_of=with_critic, stop=100)
    second, state = trained(120.0, each, said_of=with_critic, state=state)
    assert first + second == pytest.approx(120.0, abs=0.6)
    undisturbed = trained(120.0, each, said_of=with_critic)[1]
    assert state.total == undisturbed.total
