"""The documentation keeps its promises: its snippets run, its list of names is complete."""

import doctest
import importlib.util
import re
import textwrap
from pathlib import Path

import pytest

import sklearn_dropout
from sklearn_dropout.estimators.base import DropoutNetwork

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
    known |= {"cv"}  # a parameter of searches and ensembles
    arriving = {"conv_dropout_rate", "recurrent_dropout_rate", "embedding_dropout_rate"}
    arriving |= {"conv_layer_sizes", "convs_per_block", "kernel_size", "padding", "pool_size"}
    arriving |= {"input_shape", "cell", "bidirectional", "n_tokens", "n_samples"}
    for path in PAGES:
        text = re.sub(r"``.*?``|:\w+:`.*?`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        named = set(re.findall(r"(?<!`)`(\w+)`(?!`)", text))
        assert named <= known | arriving, path


def test_parameters_in_the_keras_table_exist():
    table = (DOCS / "guide" / "from_keras.rst").read_text(encoding="utf-8").split("\n\n")[2]
    column = table.splitlines()[0].index(" =")
    here = " ".join(row[column:] for row in table.splitlines()[2:])
    assert "DropoutMLPClassifier" in here
    estimators = [
        getattr(sklearn_dropout, f"Dropout{family}{task}")
        for family in ("MLP", "CNN", "RNN")
        for task in ("Classifier", "Regressor")
    ]
    known = {name for Est in estimators for name in Est._get_param_names()}
    known |= {"X_val", "y_val", "sample_weight"}
    named = set(re.findall(r"(\w+)=", here))
    assert len(named) > 20
    assert named <= known


def test_tests_that_pages_name_exist():
    for path in PAGES:
        for name in re.findall(r"[\w/]*test_\w+\.py", path.read_text(encoding="utf-8")):
            assert (DOCS.parent / "tests" / name.removeprefix("tests/")).is_file(), (path, name)


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::(optuna|mlflow|sktime|pydantic)")  # not ours
@pytest.mark.parametrize("package", ["optuna", "mlflow", "sktime"])
def test_code_with_other_packages_runs(package, tmp_path, monkeypatch):
    """They are not installed for the tests: whoever has them runs what the page shows."""
    pytest.importorskip(package)
    page = (DOCS / "guide" / "together.rst").read_text(encoding="utf-8")
    blocks = [textwrap.dedent(block) for block in re.findall(r"::\n\n((?:    .*\n|\n)+)", page)]
    (code,) = [block for block in blocks if re.search(rf"(import|from) {package}", block)]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, package, "exec"), {})


def test_pages_are_in_the_contents():
    contents = (DOCS / "guide" / "index.rst").read_text(encoding="utf-8").split()
    for path in DOCS.glob("guide/*.rst"):
        assert path.stem == "index" or path.stem in contents, path
