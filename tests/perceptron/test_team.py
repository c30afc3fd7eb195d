"""Threads that share a step, and the decision whether they do."""

from itertools import pairwise

import pytest

from sklearn_dropout.perceptron.team import Team, pace


def decisions(alone, shared, n_steps):
    """Which of the steps are shared, if they take the given times; lists are for the first ones."""
    found, times = [], {False: iter(alone), True: iter(shared)}
    steps = pace()
    decision = next(steps)
    for _ in range(n_steps):
        found.append(decision)
        decision = steps.send(next(times[decision]))
    return found


def then(first, rest):
    """The first times, and then one that stays."""
    yield from first
    while True:
        yield rest


@pytest.mark.parametrize(
    ("first", "shared", "pays"),
    [
        ([], 0.6, True),
        ([5.0], 0.6, True),  # the first step waits for a thread to start
        ([], 1.1, False),
        ([], 0.99, True),
        ([3.0, 3.0], 0.9, False),
    ],
)
def test_the_faster_way_is_kept(first, shared, pays):
    found = decisions(then([], 1.0), then(first, shared), 100)
    assert found[:12] == [False, True] * 6
    assert set(found[12:]) == {pays}


def test_steps_that_take_very_long_are_not_repeated():
    """If other processes use the cores, a shared step may take ten times as long."""
    found = decisions(then([], 1.0), then([], 20.0), 100)
    assert sum(found) == 1


def test_sharing_is_tried_again():
    """More rarely while it does not pay."""
    found = decisions(then([], 1.0), then([], 1.5), 3000)
    tries = [step for step, shared in enumerate(found) if shared]
    starts = [step for step in tries if step - 2 not in tries]
    waits = [b - a for a, b in pairwise(starts)]
    assert len(starts) > 2
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]
    later = decisions(then([], 1.0), then([1.5] * 6, 0.5), 1000)
    assert later[-1]


def test_a_team_does_all_parts_and_passes_errors_on():
    done = []
    with Team(3) as team:
        team.run(done.append)
        team.run(done.append)
        assert sorted(done) == [0, 0, 1, 1, 2, 2]
        with pytest.raises(ZeroDivisionError):
            team.run(lambda part: 1 // (part - 2))
        team.run(done.append)
    assert len(done) == 9
