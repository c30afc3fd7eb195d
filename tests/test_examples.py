"""The examples need nothing but a clone: no folder beside it, no network."""

import ast
import os
import re
import socket
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
from sklearn.datasets import fetch_openml

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
FETCHING = [path for path in EXAMPLES if "fetch_openml" in path.read_text(encoding="utf-8")]
all_examples = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
REFUSED = "http://127.0.0.1:9"  # no server listens to this port


def function(path, name):
    """Source of a function of an example."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in tree.body if getattr(node, "name", None) == name]
    return ast.unparse(found[0])


def fetch_with(fetch_openml):
    """The examples' `fetch` around another `fetch_openml`."""
    known = {"socket": socket, "warnings": warnings, "np": np, "fetch_openml": fetch_openml}
    exec(function(FETCHING[0], "fetch"), known)
    return known["fetch"]


def test_nothing_looks_beside_the_repository():
    """A clone alone made examples, documentation and a benchmark fail or change their data."""
    folders = ("examples", "benchmarks", "tests", "docs")
    paths = [path for folder in folders for path in (ROOT / folder).glob("*.py")]
    paths += [*(ROOT / "docs").rglob("*.rst"), *ROOT.glob("*.md")]
    beside = re.compile(r"cwd\(\)\.parent|parents\[[2-9]\]|ROOT\.parent|shared[/]data|shared\"[ ]/")
    for path in paths:
        if "_build" not in path.parts:
            assert not beside.search(path.read_text(encoding="utf-8")), path


def test_fetching_is_the_same_everywhere():
    """Examples are downloaded one by one, so each has its own copy."""
    assert len({function(path, "fetch") for path in FETCHING}) == 1


@pytest.mark.parametrize("error", [ImportError, ValueError, TimeoutError, URLError])
def test_what_cannot_be_fetched_is_one_line(error, capsys):
    def fetch_openml(**which):
        assert 0 < socket.getdefaulttimeout() <= 5  # a silent server is not waited for
        warnings.warn("something else", stacklevel=1)
        raise error("reason")

    assert fetch_with(fetch_openml)("Fashion-MNIST", data_id=1) is None
    expected = f"Fashion-MNIST cannot be had from OpenML here ({error.__name__}).\n"
    assert capsys.readouterr().out == expected
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("error", [TimeoutError, URLError])
def test_a_server_is_asked_twice_at_most(error, monkeypatch, tmp_path, capsys):
    """scikit-learn repeats within repeats: a silent server held an example up for 80 seconds."""
    attempts = []

    def urlopen(request, *args, **kwargs):
        attempts.append(request)
        raise error("reason")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    fetch = fetch_with(partial(fetch_openml, data_home=tmp_path))
    assert fetch("Boston", data_id=531) is None
    assert capsys.readouterr().out == "Boston cannot be had from OpenML here (no answer).\n"
    assert len(attempts) <= 2


def test_what_can_be_fetched_is_inputs_and_targets():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": pd.Categorical(["24", "3"])})
    answer = SimpleNamespace(data=frame, target=pd.Series(["5", "7"], dtype="category"))
    X, y = fetch_with(lambda **which: answer)("anything")
    np.testing.assert_array_equal(X, [[1, 24], [2, 3]])
    np.testing.assert_array_equal(y, [5, 7])


@all_examples
def test_examples_know_the_short_version(path):
    """Three ignored ``QUICK=1``; options of a command line are nothing to copy."""
    text = path.read_text(encoding="utf-8")
    assert text.count('QUICK = os.environ.get("QUICK", "0") != "0"') == 1
    assert "argparse" not in text


def test_the_gallery_has_every_example():
    index = (ROOT / "examples" / "index.rst").read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert f"../examples/{path.name}" in index, path
        assert f"   {path.stem}\n" in index, path


@pytest.mark.slow
@pytest.mark.parametrize("path", FETCHING, ids=lambda path: path.stem)
def test_examples_run_where_there_is_nothing(path, tmp_path):
    """Other data replace it, and the output says so; .ci/run has all examples from a clone."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("tabulate")
    nowhere = {"http_proxy": REFUSED, "https_proxy": REFUSED, "HOME": str(tmp_path)}
    nowhere |= {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "QUICK": "1"}
    kept = {key: os.environ[key] for key in ("PATH", "OMP_NUM_THREADS") if key in os.environ}
    copied = tmp_path / path.name
    copied.write_text(path.read_text(encoding="utf-8").replace("MNIST = False", "MNIST = True"))
    run = subprocess.run(
        [sys.executable, copied],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=kept | nowhere,
        check=True,
    )
    assert "cannot be had from OpenML here (no answer)." in run.stdout
    assert re.search(r"scikit-learn's (diabetes data|digits)", run.stdout)
    assert str(tmp_path) not in run.stdout
