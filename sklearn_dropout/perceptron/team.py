"""Threads that share the steps of one network: how they wait, and the decision whether they do."""

import os
import platform
import threading
import time
from queue import SimpleQueue

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compile import inner, python_where_not_compiled

# Calls to share before the time of a step without sharing is measured again.
_KEPT = 100
# Calls not to share after sharing was slower; twice as many each time, up to the second number.
_WAIT, _LONGEST_WAIT = 8, 400

_FAILED = np.iinfo(np.int64).max  # instead of a count
# Numbers from one thread's place to the next: two cache lines, which processors fetch in pairs.
_APART = 16
# Reads of other counts before other threads may use the processor: about 0.1 ms on x86.
_READS = 4000
# Instructions of LLVM that tell the processor that a loop waits, and their arguments.
_ONE = ir.Constant(ir.IntType(32), 1)
_PAUSE = {
    "x86_64": ("llvm.x86.sse2.pause", ()),
    "AMD64": ("llvm.x86.sse2.pause", ()),
    "aarch64": ("llvm.aarch64.hint", (_ONE,)),
    "arm64": ("llvm.aarch64.hint", (_ONE,)),
}.get(platform.machine())
# Function of the system that lets another thread run, if there is one.
_GIVE_WAY = "sched_yield" if os.name == "posix" else None


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
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.__exit__()
            raise
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
                give_up(arrivals)
                self._done.put(error)

    def run(self, task, *args):
        """Call ``task(part, arrivals, *args)`` for all parts, the first one in this thread.

        If a part fails, the others stop at their barrier, `arrivals`.
        """
        arrivals = new_barrier(len(self._tasks) + 1)
        try:
            for tasks in self._tasks:
                tasks.put((task, arrivals, args))
            task(0, arrivals, *args)
        except BaseException:
            give_up(arrivals)
            raise
        errors = [self._done.get() for _ in self._tasks]
        for error in errors:
            if error is not None:
                raise error


def new_barrier(n_threads):
    """Where threads count how often they came to the barrier.

    Returns
    -------
    arrivals : int64 ndarray of shape (n_threads, 16)
        For `wait_for_all`.
    """
    return np.zeros((n_threads, _APART), dtype=np.int64)


def give_up(arrivals):
    """Let no thread wait any more, because one has failed."""
    arrivals[:, 0] = _FAILED


def _call(builder, returns, name, values):
    """Call a function of the system or an instruction."""
    kind = ir.FunctionType(returns, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _place(context, builder, array_type, array, thread):
    """Pointer to the count of a thread."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [builder.mul(thread, ir.Constant(thread.type, _APART))])


@python_where_not_compiled(lambda arrivals, thread: arrivals[thread, 0])
@intrinsic
def _read_count(typingctx, arrivals, thread):
    """Count of another thread, after a short pause; what it wrote before is visible then."""

    def codegen(context, builder, signature, args):
        if _PAUSE:
            _call(builder, ir.VoidType(), *_PAUSE)
        return builder.load_atomic(_place(context, builder, arrivals, *args), "acquire", 8)

    return types.int64(arrivals, types.intp), codegen


def _write_in_python(arrivals, thread, count):
    arrivals[thread, 0] = count


@python_where_not_compiled(_write_in_python)
@intrinsic
def _write_count(typingctx, arrivals, thread, count):
    """Set the count of this thread, after all that it wrote before."""

    def codegen(context, builder, signature, args):
        array, thread, count = args
        place = _place(context, builder, arrivals, array, thread)
        builder.store_atomic(count, place, "release", 8)
        return context.get_dummy_value()

    return types.void(arrivals, types.intp, types.int64), codegen


@python_where_not_compiled(lambda: time.sleep(0))
@intrinsic
def _give_way(typingctx):
    """Let another thread use the processor."""

    def codegen(context, builder, signature, args):
        if _GIVE_WAY:
            _call(builder, ir.IntType(32), _GIVE_WAY, [])
        return context.get_dummy_value()

    return types.void(), codegen


@inner(types.boolean)
def wait_for_all(arrivals, me):
    """Wait until all threads have called this as often as this one, or until one has failed.

    Threads do not sleep meanwhile: to wake one takes longer than a phase of a small step. But where
    the system has `sched_yield`, they soon let others use their processor, which may be those that
    they wait for.

    Parameters
    ----------
    arrivals : int64 array of shape (n_threads, 16)
        From `new_barrier`.
    me : int
        This thread.

    Returns
    -------
    goes_on : bool
        False if a thread has failed.
    """
    if arrivals[me, 0] == _FAILED:
        return False
    count, n_reads = arrivals[me, 0] + 1, 0
    _write_count(arrivals, me, count)
    for other in range(arrivals.shape[0]):
        theirs = np.int64(0)
        while other != me and theirs < count:
            theirs = _read_count(arrivals, other)
            n_reads += 1
            if n_reads > _READS:
                _give_way()
        if theirs == _FAILED:
            _write_count(arrivals, me, _FAILED)  # which may have been overwritten above
            return False
    return True
