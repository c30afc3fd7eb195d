"""Threads that share the steps of one network, and wait for each other without spinning."""

import threading
from queue import SimpleQueue

import torch

# Steps to try each way, and to keep the faster one; longer while sharing does not pay.
_TRIED = 6
_KEPT = 120
_LONGEST_KEPT = 2000


def pace():
    """Decide whether to share the next step; takes the time of each step by ``send``.

    If other processes need the cores, sharing steps is slower than not sharing. So both ways are
    tried from time to time, in turn, and the faster one is kept for a while. The slowest step of
    each way does not count: the first one may have to wait for memory, or for a thread to start.

    Yields
    ------
    shared : bool
    """
    kept = _KEPT
    while True:
        alone, shared = [], []
        for _ in range(_TRIED):
            alone.append((yield False))
            shared.append((yield True))
            if sum(shared) > 2 * _TRIED * min(alone):  # other processes use the cores
                pays = False
                break
        else:
            pays = _without_slowest(shared) < _without_slowest(alone)
        kept = _KEPT if pays else min(2 * kept, _LONGEST_KEPT)
        for _ in range(kept):
            yield pays


def _without_slowest(seconds):
    return sum(seconds) - max(seconds)


class Team:
    """The calling thread and others, which do parts of one task at the same time.

    Barriers that spin slow everything down as soon as another process needs the core; these
    threads sleep until there is work. They treat denormal numbers as zero.

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
        while (task := tasks.get()) is not None:
            try:
                task(part)
                self._done.put(None)
            except BaseException as error:
                self._done.put(error)

    def run(self, task):
        """Call ``task(part)`` for all parts, the first one in this thread; wait for all."""
        for tasks in self._tasks:
            tasks.put(task)
        task(0)
        errors = [self._done.get() for _ in self._tasks]
        for error in errors:
            if error is not None:
                raise error
