"""Where and when the loop is compiled."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

import sklearn_dropout
from sklearn_dropout import perceptron

SMALL_RUN = """
import numba
{before}
numba.config.DISABLE_JIT = {python}
from sklearn_dropout.perceptron import compile as compiling
from sklearn_dropout.perceptron import views
import numpy as np

compiling._PATIENCE = 1e6

@compiling.inner(numba.types.void, inline=True)
def double(a):
    for i in range(a.size):
        a[i] += a[i]

@compiling.entry
def run(params):
    double(views.vector(params, 1, 2))
    double(views.vector(views.matrix(params, 3, 1, 2), 0, 1))

a = np.array([1, 1, 1, 1, 1], dtype=np.float32)
run(a)
print(a.tolist())
"""


def run(*options, before="", python=False):
    """What a small compiled function prints in a new process."""
    command = [sys.executable, *options, "-c", SMALL_RUN.format(before=before, python=python)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_import_leaves_numba_alone():
    code = "import sys, sklearn_dropout.perceptron; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("error", ["ImportError", "SystemError"])
def test_broken_numba(monkeypatch, error):
    class Finder:
        def find_spec(self, name, path, target=None):
            if name == "numba":
                raise {"ImportError": ImportError, "SystemError": SystemError}[error]("too old")

    perceptron.why_unavailable.cache_clear()
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    try:
        assert perceptron.why_unavailable() == f"Numba cannot be imported: {error}: too old"
    finally:
        perceptron.why_unavailable.cache_clear()


def test_numba_is_there():
    assert perceptron.why_unavailable() is None


def test_no_folder_for_a_cache():
    """Numba raises where it finds none; the functions are then compiled in each process."""
    before = "from numba.core import caching; caching.CompileResultCacheImpl._locator_classes = []"
    assert run(before=before) == "[1.0, 2.0, 2.0, 2.0, 1.0]"


@pytest.mark.slow
def test_without_docstrings_and_assertions():
    """Of this package alone: others need their docstrings."""
    alone = (
        "import sys, types; package = types.ModuleType('sklearn_dropout'); "
        f"package.__path__ = [{sklearn_dropout.__path__[0]!r}]; "
        "sys.modules['sklearn_dropout'] = package"
    )
    assert run("-OO", before=alone) == "[1.0, 2.0, 2.0, 2.0, 1.0]"


def test_for_a_debugger():
    """As with NUMBA_DEBUGINFO=1; Numba then allows no function to be inlined."""
    before = """numba.config.DEBUGINFO_DEFAULT = 1
import warnings; warnings.simplefilter("ignore")  # that this code is in no file
"""
    assert run(before=before) == "[1.0, 2.0, 2.0, 2.0, 1.0]"


@pytest.mark.slow
def test_without_compilation():
    assert run(python=True) == "[1.0, 2.0, 2.0, 2.0, 1.0]"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child():
    before = "import os\nif os.fork(): os._exit(os.waitstatus_to_exitcode(os.wait()[1]))"
    after = SMALL_RUN.format(before="", python=False) + before + "\nrun(a); print(a[1])"
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", after]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("4.0")
