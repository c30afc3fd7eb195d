"""What a test must not leave to the next one."""

import os
import threading
from multiprocessing.dummy import DummyProcess

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # beside others: before libraries start their threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def threads_of_pools_end():
    """Wait for joblib's threads after an error in one of them.

    Each puts back the filters of warnings, which are those of the whole process, when it is done.
    """
    yield
    for thread in threading.enumerate():
        if isinstance(thread, DummyProcess):
            thread.join(timeout=30)
