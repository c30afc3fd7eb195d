"""Threads that share the steps of one network, and the decision whether they do."""

import threading
from queue import SimpleQueue

import torch

from .barrier import leave, new_barrier

# Calls to share before the time of a step without sharing is measured again.
_KEPT = 100
# Calls not to share after sharing was slower; twice as many each time, up to the second number.
_WAIT, _LONGEST_WAIT = 8, 400


def pace():
    """Decide whether to share the steps of the next call; takes the time of a step by ``send``.

    If other processes need the cores, sharing steps is slower than not sharing. So threads share
    as long as that is faster, and try it again from time to time.

    Yields
    ------
    shared : bool
    """
    wait = _WAIT
    yield False  # the first call may have to wait for memory
    while True:
        if (yield from _share_while_faster(min((yield False), (yield False)))):
            wait = _WAIT
            continue
        for _ in range(wait):
            yield False
        wait = min(2 * wait, _LONGEST_WAIT)


def _share_while_faster(alone):
    """Share until two calls in a row are slower than a step alone; return whether none were."""
    n_slower = 0
    for _ in range(_KEPT):
        taken = yield True
        n_slower = n_slower + 1 if taken > alone else 0
        if n_slower == 2:
            return False
    return True


class Team:
    """The calling thread and others, which do parts of one task at the same time.

    They sleep between two tasks, and treat denormal numbers as zero.

    Parameters
    ----------
    n_members : int
        Including the calling thread.
    """

    def __init__(self, n_members):
        self._tasks = [SimpleQueue() for _ in range(n_members - 1)]
        self._done = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(part, tasks), daemon=True)
            for part, tasks in enumerate(self._tasks, 1)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info):
        for tasks in self._tasks:
            tasks.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self, part, tasks):
        torch.set_flush_denormal(True)  # which threads do not inherit on every system
        while (given := tasks.get()) is not None:
            task, arrivals, args = given
            try:
                task(part, arrivals, *args)
                self._done.put(None)
            except BaseException as error:
                leave(arrivals, part)
                self._done.put(error)

    def run(self, task, *args):
        """Call ``task(part, arrivals, *args)`` for all parts, the first one in this thread.

        If a part fails, the others do not wait for it at their barrier, `arrivals`.
        """
        arrivals = new_barrier(len(self._tasks) + 1)
        try:
            for tasks in self._tasks:
                tasks.put((task, arrivals, args))
            task(0, arrivals, *args)
        finally:
            leave(arrivals, 0)
        errors = [self._done.get() for _ in self._tasks]
        for error in errors:
            if error is not None:
                raise error
