"""Threads that share a step, and the decision whether they do."""

import threading
from itertools import chain, cycle, pairwise, repeat

import numpy as np
import pytest
from numba import njit

from sklearn_dropout.perceptron.team import Team, pace, wait_for_all


def decisions(alone, shared, n_calls):
    """Which of the calls are shared, if their steps take the given times."""
    found, times = [], {False: iter(alone), True: iter(shared)}
    calls = pace()
    decision = next(calls)
    for _ in range(n_calls):
        found.append(decision)
        decision = calls.send(next(times[decision]))
    return found


def then(first, rest):
    """The first times, and then one that stays."""
    yield from first
    while True:
        yield rest


@pytest.mark.parametrize(
    ("shared", "pays"),
    [
        (then([], 0.6), True),
        (then([5.0], 0.6), True),  # waits for memory, or for a thread to start
        (then([], 0.99), True),
        (then([], 1.1), False),
        (cycle([0.9, 0.9, 1.1]), True),
        (chain([0.6] * 9, repeat(1.1)), False),  # another process begins to use the cores
    ],
)
def test_threads_share_while_it_is_faster(shared, pays):
    """The first call alone may wait for memory too, so it does not count."""
    found = decisions(then([5.0], 1.0), shared, 50)
    assert found[:4] == [False, False, False, True]
    assert (sum(found) > 40) == pays


def test_sharing_is_tried_again():
    """More rarely while it does not pay; after it paid, as soon as at first."""
    found = decisions(then([], 1.0), then([], 1.5), 3000)
    tries = [call for call, shared in enumerate(found) if shared]
    assert tries[1::2] == [call + 1 for call in tries[::2]]
    waits = [b - a for a, b in pairwise(tries[::2])]
    assert len(waits) > 5
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] > 10 * waits[0]
    later = decisions(then([], 1.0), then([1.5] * 6 + [0.5] * 100, 1.5), 500)
    tries = [call for call, shared in enumerate(later) if shared]
    gaps = [b - a for a, b in pairwise(tries[6:]) if b > a + 1]
    assert gaps[:2] == [3, waits[0] - 1]  # two calls alone are measured; then as at first


def test_a_step_alone_is_measured_again():
    """The times of both ways change together if the processor becomes slower."""
    found = decisions(then([1.0] * 3, 2.0), then([0.6] * 100, 1.2), 300)
    assert all(found[3:103])
    assert found[103:105] == [False, False]
    assert all(found[105:200])


def test_a_team_does_all_parts_and_passes_errors_on():
    done = []
    with Team(3) as team:
        team.run(lambda part, _: done.append(part))
        team.run(lambda part, _: done.append(part))
        assert sorted(done) == [0, 0, 1, 1, 2, 2]
        with pytest.raises(ZeroDivisionError):
            team.run(lambda part, _: 1 // (part - 2))
        team.run(lambda part, _: done.append(part))
    assert len(done) == 9


@njit(nogil=True)
def take_turns(arrivals, part, numbers, n_turns):
    """In each turn, every part changes another number, in a way that tells their order."""
    for turn in range(n_turns):
        place = (part + turn) % numbers.size
        numbers[place] = 2 * numbers[place] + part
        if not wait_for_all(arrivals, part):
            return turn
    return n_turns


@pytest.mark.parametrize("n_parts", [1, 2, 3, 5])
def test_parts_wait_for_each_other(n_parts):
    """Also if there are more of them than processors."""
    expected = np.zeros(n_parts)
    for turn in range(40):
        expected = 2 * expected + (np.arange(n_parts) - turn) % n_parts
    numbers = np.zeros(n_parts)
    with Team(n_parts) as team:
        team.run(lambda part, arrivals: take_turns(arrivals, part, numbers, 40))
        np.testing.assert_array_equal(numbers, expected)
        numbers[:] = 0
        team.run(lambda part, arrivals: take_turns(arrivals, part, numbers, 40))
    np.testing.assert_array_equal(numbers, expected)


@pytest.mark.parametrize("interrupted", [0, 1, 2])
def test_parts_stop_if_one_is_interrupted(interrupted):
    """Rather than wait for ever, or train a part of the network on their own."""
    turns = []

    def work(part, arrivals):
        if part == interrupted:
            raise KeyboardInterrupt
        turns.append(take_turns(arrivals, part, np.zeros(3), 3))

    with Team(3) as team, pytest.raises(KeyboardInterrupt):
        team.run(work)
    assert turns == [0, 0]


def test_parts_stop_if_one_was_not_started():
    class Interrupted:
        def put(self, task):
            if task is not None:
                raise KeyboardInterrupt
            queue.put(None)

    turns = []
    with Team(3) as team:
        queue, team._tasks[1] = team._tasks[1], Interrupted()
        with pytest.raises(KeyboardInterrupt):
            team.run(lambda *args: turns.append(take_turns(*args[::-1], np.zeros(3), 3)))
    assert turns == [0]


def test_no_thread_stays_if_one_cannot_start(monkeypatch):
    before, start = threading.active_count(), threading.Thread.start

    def start_first(thread):
        if threading.active_count() > before:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_first)
    with pytest.raises(RuntimeError, match="new thread"), Team(3):
        pass
    assert threading.active_count() == before
