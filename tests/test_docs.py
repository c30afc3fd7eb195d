"""The documentation keeps its promises: its snippets run, its list of names is whole."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

import sklearn_dropout
from sklearn_dropout._base import DropoutNetwork

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path for path in [*DOCS.glob("*.rst"), *DOCS.glob("guide/*.rst")])
SNIPPETS = [path for path in PAGES if ">>>" in path.read_text(encoding="utf-8")]


def page_id(path):
    return path.relative_to(DOCS).as_posix()


@pytest.fixture(autouse=True)
def plt():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("path", SNIPPETS, ids=page_id)
def test_snippets_run(path):
    text = path.read_text(encoding="utf-8")
    imported = re.findall(r">>> from sklearn_dropout import (.+)", text)
    names = {name.strip() for line in imported for name in line.split(",")}
    missing = sorted(name for name in names if not hasattr(sklearn_dropout, name))
    if missing:
        pytest.skip(f"needs {missing}")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(path), module_relative=False, optionflags=flags)
    assert found.attempted > 0
    assert found.failed == 0


def test_parameters_and_methods_that_pages_name_exist():
    """What stands in single backticks in the guide."""
    known = {"X", "y", "X_val", "y_val", "predict", "fit", "param_name", "n_samples"}
    for name in sklearn_dropout.__all__:
        thing = getattr(sklearn_dropout, name)
        known |= set(getattr(thing, "__dataclass_fields__", {})) | set(dir(thing))
    known |= {"best_score_", "coefs_", "dropout"}  # fitted; an argument of PyTorch's
    arriving = {"conv_dropout_rate", "recurrent_dropout_rate", "embedding_dropout_rate"}
    arriving |= {"conv_layer_sizes", "convs_per_block", "kernel_size", "padding", "pool_size"}
    arriving |= {"input_shape", "cell", "bidirectional", "n_tokens", "n_samples"}
    for path in PAGES:
        text = re.sub(r"``.*?``|:\w+:`.*?`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        named = set(re.findall(r"(?<!`)`(\w+)`(?!`)", text))
        assert named <= known | arriving, path


@pytest.fixture
def reference():
    """What docs/_reference.py knows."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_lists_every_public_name(reference):
    listed = [name.rpartition(".")[2] for names in reference.sections().values() for name in names]
    assert set(sklearn_dropout.__all__) <= set(listed)
    assert len(listed) == len(set(listed))


def test_html_representations_link_to_the_reference(reference, monkeypatch):
    """In the documentation alone: the links are relative, and dead elsewhere."""
    network = sklearn_dropout.DropoutMLPRegressor()
    estimators = network, sklearn_dropout.DropoutSearchCV(network, {})
    for estimator in estimators:
        assert estimator._get_doc_link() == ""
        assert "../api" not in estimator._repr_html_()
    for kind in (DropoutNetwork, sklearn_dropout.DropoutSearchCV):
        for name in ("_doc_link_module", "_doc_link_template"):
            monkeypatch.setattr(kind, name, getattr(kind, name))
    reference.link_representations()
    for estimator in estimators:
        page = f"../api/sklearn_dropout.{type(estimator).__name__}.html"
        assert estimator._get_doc_link() == page
        assert f'href="{page}' in estimator._repr_html_()
    written = (DOCS / "_reference.py").read_text(encoding="utf-8")
    assert ":toctree: api" in written


def test_pages_are_in_the_contents():
    contents = (DOCS / "guide" / "index.rst").read_text(encoding="utf-8").split()
    for path in DOCS.glob("guide/*.rst"):
        assert path.stem == "index" or path.stem in contents, path
