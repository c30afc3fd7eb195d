"""What is documented is what there is."""

import inspect
import re
from itertools import combinations

import numpy as np
import pytest
from sklearn.base import is_classifier

import sklearn_dropout
from sklearn_dropout import (
    DropoutCNNClassifier,
    DropoutCNNRegressor,
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutRNNClassifier,
    DropoutRNNRegressor,
)

FAMILIES = [
    (DropoutMLPClassifier, DropoutMLPRegressor),
    (DropoutCNNClassifier, DropoutCNNRegressor),
    (DropoutRNNClassifier, DropoutRNNRegressor),
]
ESTIMATORS = [Est for family in FAMILIES for Est in family]
# Words of `spatial_dropout_rate`: what its groups are.
GROUPS = {"MLP": "feature_groups", "CNN": "feature maps", "RNN": "channels"}
# Shared parameters and attributes that each family says in its own words.
OWN_WORDS = {
    *("hidden_layer_sizes", "dropout_rate", "spatial_dropout_rate", "input_shape", "coefs_"),
}
both = pytest.mark.parametrize("Est", ESTIMATORS)
ITEM = re.compile(r"(?m)^(\w+(?:, \w+)*) : (.+)$")


def section(text, title):
    """Text of a numpydoc section; the empty string where there is none."""
    match = re.search(rf"(?ms)^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text)
    return match[1] if match else ""


def items(text, title):
    """Name to (type, description) of a section, as far as entries start at the margin."""
    body = section(text, title)
    found = list(ITEM.finditer(body))
    ends = [match.start() for match in found[1:]] + [len(body)]
    return {
        match[1]: (match[2], " ".join(body[match.end() : end].split()))
        for match, end in zip(found, ends)
    }


def public_methods(Est):
    return {
        name: member
        for name, member in inspect.getmembers(Est, callable)
        if not name.startswith("_") and inspect.isfunction(inspect.unwrap(member))
    }


@both
def test_every_parameter_is_documented_with_its_default(Est):
    documented = items(inspect.getdoc(Est), "Parameters")
    signature = inspect.signature(Est).parameters
    assert list(documented) == list(signature)
    for name, parameter in signature.items():
        kind, text = documented[name]
        assert kind.endswith(f", default={parameter.default!r}"), name
        assert text.endswith("."), name


@both
def test_every_choice_is_documented(Est):
    """Options of string parameters, as they are checked."""
    documented = items(inspect.getdoc(Est), "Parameters")
    checked = 0
    for name, constraints in Est._parameter_constraints.items():
        for constraint in constraints:
            options = getattr(constraint, "options", set())
            if name in documented and name != "scoring" and options <= set(map(str, options)):
                checked += len(options)
                for option in options:
                    assert repr(option) in "".join(documented[name]), (name, option)
    assert checked >= 20


SAME_TASK = [pair for task in zip(*FAMILIES) for pair in combinations(task, 2)]


@pytest.mark.parametrize("pair", [*FAMILIES, *SAME_TASK])
def test_shared_parameters_and_attributes_have_the_same_text(pair):
    own = set() if pair in FAMILIES else OWN_WORDS
    for title in ("Parameters", "Attributes"):
        one, other = (items(inspect.getdoc(Est), title) for Est in pair)
        shared = (set(one) & set(other)) - own
        assert len(shared) >= 17 - len(own & set(one))
        for name in shared:
            assert one[name] == other[name], name


@both
def test_every_public_attribute_is_documented_and_there(Est):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).standard_normal((20, 2)), columns=["a", "b"])
    est = Est((3,), max_iter=1).fit(X, np.arange(20) % 2)
    documented = items(inspect.getdoc(Est), "Attributes")
    fitted = {name for name in vars(est) if name.endswith("_") and not name.startswith("_")}
    properties = {
        name
        for name, member in inspect.getmembers(Est)
        if isinstance(member, property) and not name.startswith("_")
    }
    assert set(documented) == fitted | properties
    common = {"n_features_in_", "feature_names_in_", "n_outputs_", "n_iter_", "t_", "n_layers_"}
    common |= {"loss_", "best_loss_", "loss_curve_", "validation_scores_", "coefs_", "intercepts_"}
    common |= {"best_validation_score_", "out_activation_", "history_", "net_", "module_"}
    common |= {"dropout_rates_"}
    assert set(documented) == common | {"classes_" if is_classifier(est) else "noise_std_"}
    for name, (_, text) in documented.items():
        assert hasattr(est, name)
        assert text.endswith("."), name


@both
def test_every_public_method_says_what_it_returns(Est):
    methods = public_methods(Est)
    assert {"fit", "partial_fit", "predict", "score", "get_params", "set_params"} <= set(methods)
    for name, method in methods.items():
        text = inspect.getdoc(method) or ""
        assert text, name
        assert section(text, "Returns").strip(), name


@both
def test_arguments_of_own_methods_are_documented(Est):
    names = ["fit", "partial_fit", "predict"]
    names += ["predict_proba", "predict_log_proba"] if is_classifier(Est()) else []
    for name in names:
        method = getattr(Est, name)
        documented = items(inspect.getdoc(method), "Parameters")
        listed = [n for entry in documented for n in entry.split(", ")]
        signature = {k: p for k, p in inspect.signature(method).parameters.items() if k != "self"}
        assert listed == list(signature), name
        for entry, (kind, _) in documented.items():
            for argument in entry.split(", "):
                default = signature[argument].default
                if default is not inspect.Parameter.empty:
                    assert kind.endswith(f"default={default!r}"), (name, argument)


@both
def test_class_docstrings_have_the_sections_of_scikit_learn(Est):
    text = inspect.getdoc(Est)
    for title in ("Parameters", "Attributes", "See Also", "References", "Examples"):
        assert section(text, title).strip(), title
    assert "{" not in re.sub(r"\{['a-z].*?\}", "", section(text, "Parameters"))
    assert not re.search(r"(?<!\{)\{\w+\}(?!\})", re.sub(r"\{'.*?\}", "", text))


@both
def test_the_rate_is_said_to_be_the_fraction_dropped(Est):
    for name, words in (
        ("dropout_rate", ("dropped", "retained")),
        ("input_dropout_rate", ("dropped",)),
        ("spatial_dropout_rate", ("dropped", GROUPS[Est.__name__[7:10]])),
    ):
        _, text = items(inspect.getdoc(Est), "Parameters")[name]
        for word in words:
            assert word in text, (name, word)


@both
def test_lines_fit_into_a_terminal(Est):
    too_long = [
        line for line in inspect.getdoc(Est).splitlines() if len(line) > 100 and " : {" not in line
    ]
    assert too_long == []


def test_public_names():
    assert {Est.__name__ for Est in ESTIMATORS} <= set(sklearn_dropout.__all__)
    for name in sklearn_dropout.__all__:
        assert inspect.getdoc(getattr(sklearn_dropout, name))
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", sklearn_dropout.__version__)
