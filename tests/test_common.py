"""scikit-learn's own checks, and the tools of scikit-learn that the estimators are used in."""

import pickle
import re
from collections import Counter

import numpy as np
import pytest
import sklearn
import torch
from _families import answers
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from sklearn_dropout import (
    DropoutCNNClassifier,
    DropoutCNNRegressor,
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutRNNClassifier,
    DropoutRNNRegressor,
)

ESTIMATORS = [
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutCNNClassifier,
    DropoutCNNRegressor,
]
RECURRENT = [DropoutRNNClassifier, DropoutRNNRegressor]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}

# How many checks scikit-learn 1.9 runs. Fewer would mean that a tag has switched some off.
N_PASSED = {
    DropoutMLPClassifier: 66,
    DropoutMLPRegressor: 60,
    DropoutCNNClassifier: 66,
    DropoutCNNRegressor: 60,
    DropoutRNNClassifier: 66,
    DropoutRNNRegressor: 60,
}
# What each family has beside the shared parameters, with the defaults.
OF_FAMILY = {
    "MLP": {"feature_groups": None},
    "CNN": {
        "conv_layer_sizes": (32,),
        "convs_per_block": 1,
        "kernel_size": 3,
        "pool_size": 2,
        "padding": "same",
        "conv_dropout_rate": 0.0,
        "input_shape": None,
    },
}


def family(Est):
    """The three letters in the name of an estimator."""
    return Est.__name__[7:10]


# What scikit-learn itself does not run here, and why.
MAY_BE_SKIPPED = {
    "check_array_api_input": "the environment variable SCIPY_ARRAY_API is not set",
    "check_classifiers_multilabel_output_format_decision_function": "there is no decision_function",
}


def problem(Est, seed=0, n=60):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    y = X[:, 0] + 0.3 * X[:, 1] ** 2 + 0.1 * rng.standard_normal(n)
    return X, np.where(y > 0.2, "yes", "no") if is_classifier(Est()) else 10 * y + 3


def chain(error):
    """An exception and everything that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


DROPOUT = {"input_dropout_rate": 0.1, "spatial_dropout_rate": 0.1, "max_norm": 3}


def slow(Est):
    """An estimator that is left out by default."""
    return pytest.param(Est, marks=pytest.mark.slow)


# All checks again, where the networks are slow.
SLOW = [slow(Est) for Est in ESTIMATORS if family(Est) != "MLP"]
MAYBE_SLOW = [DropoutMLPClassifier, DropoutMLPRegressor, *SLOW]


@pytest.mark.parametrize("Est", MAYBE_SLOW)
def test_check_estimator(Est):
    run_checks(Est())


@pytest.mark.slow
@pytest.mark.parametrize("Est", ESTIMATORS)
def test_check_estimator_with_all_dropout(Est):
    own = {"conv_dropout_rate": 0.1} if family(Est) == "CNN" else {}
    run_checks(Est(**DROPOUT, **own))


@pytest.mark.parametrize("Est", [DropoutCNNClassifier, slow(DropoutCNNRegressor)])
def test_check_estimator_of_a_small_convolutional_network(Est):
    run_checks(Est((8,), conv_layer_sizes=(4,), learning_rate_init=0.03, max_iter=30))


@pytest.mark.slow  # a minute or two each: 100 LSTM units, 200 epochs in every check
@pytest.mark.parametrize("Est", RECURRENT)
def test_check_estimator_of_a_recurrent_network(Est):
    run_checks(Est())


@pytest.mark.parametrize("Est", [DropoutRNNClassifier, slow(DropoutRNNRegressor)])
def test_check_estimator_of_a_small_recurrent_network(Est):
    run_checks(Est((12,), cell="gru", learning_rate_init=0.03, max_iter=40))


def run_checks(est):
    results = check_estimator(est, on_skip=None)
    count = Counter(result["status"] for result in results)
    assert set(count) <= {"passed", "skipped"}
    assert not any(result["expected_to_fail"] for result in results)
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert skipped <= set(MAY_BE_SKIPPED)
    assert count["passed"] >= N_PASSED[type(est)]


@pytest.mark.parametrize("Est", MAYBE_SLOW)
def test_check_estimator_with_early_stopping(Est):
    est = Est(early_stopping=True, validation_fraction=0.3, learning_rate_init=0.01)
    results = check_estimator(est, on_skip=None, on_fail=None)
    names = {"passed": set(), "skipped": set(), "failed": set(), "refused": set()}
    for result in results:
        too_small = any(
            isinstance(error, ValueError)
            and re.search("validation_fraction|partial_fit does not support", str(error))
            for error in chain(result["exception"])
        )
        status = "refused" if result["status"] == "failed" and too_small else result["status"]
        names[status].add(result["check_name"])
    # A weighted row is on one side of the split, its copies on both.
    equivalence = "check_sample_weight_equivalence_on_{}_data"
    assert names["failed"] <= {equivalence.format(form) for form in ("dense", "sparse")}
    assert len(names["refused"]) <= 5
    n_passed = sum(result["status"] == "passed" for result in results)
    assert n_passed >= N_PASSED[Est] - 8
    must_pass = {
        "check_fit_idempotent",
        "check_methods_subset_invariance",
        "check_methods_sample_order_invariance",
        "check_estimators_pickle",
        "check_estimator_sparse_array",
        "check_estimators_overwrite_params",
        "check_fit2d_1sample",
    }
    if is_classifier(est):
        must_pass |= {"check_classifiers_train", "check_class_weight_classifiers"}
    assert must_pass <= names["passed"]


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_clone_gives_the_same_network(Est):
    X, y = problem(Est)
    own = {"MLP": {"feature_groups": [0, 0, 1, 1]}, "CNN": {"input_shape": [2, 2]}}[family(Est)]
    est = Est(**SMALL, dropout_rate=[0.3], callbacks=[], **own).fit(X, y)
    twin = clone(est)
    assert not [name for name in vars(twin) if name.endswith("_")]
    assert twin.get_params() == est.get_params()
    np.testing.assert_array_equal(answers(twin.fit(X, y), X), answers(est, X))


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_set_params_and_back(Est):
    est = Est()
    names = set(est.get_params())
    assert {"dropout_rate", "input_dropout_rate", "spatial_dropout_rate", "max_norm"} < names
    assert est.set_params(dropout_rate=0.4, solver="sgd") is est
    assert (est.dropout_rate, est.solver) == (0.4, "sgd")
    with pytest.raises(ValueError, match="Invalid parameter 'drop_rate'"):
        est.set_params(drop_rate=0.4)


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_first_two_parameters_may_be_positional_and_no_more(Est):
    est = Est((5, 4), "tanh")
    assert (est.hidden_layer_sizes, est.activation) == ((5, 4), "tanh")
    with pytest.raises(TypeError, match="positional"):
        Est((5,), "tanh", 0.2)


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_shared_defaults_are_those_of_scikit_learn(Est):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    theirs = (MLPClassifier if is_classifier(Est()) else MLPRegressor)().get_params()
    ours = Est().get_params()
    common = set(ours) & set(theirs)
    assert len(common) >= 21
    assert {name: ours[name] for name in common} == {name: theirs[name] for name in common}
    assert set(theirs) - set(ours) == {"max_fun"}  # of L-BFGS


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_defaults_of_the_new_parameters(Est):
    own = {
        "dropout_rate": 0.2,
        "input_dropout_rate": 0.0,
        "spatial_dropout_rate": 0.0,
        "max_norm": None,
        "weight_init": "glorot_uniform",
        "scoring": None,
        "callbacks": None,
        "device": "cpu",
    }
    own |= OF_FAMILY[family(Est)]
    own |= {"class_weight": None} if is_classifier(Est()) else {"loss": "squared_error"}
    params = Est().get_params()
    assert {name: params[name] for name in own} == own


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("Est", ESTIMATORS + RECURRENT)
def test_pickle_predicts_and_continues_alike(Est, protocol):
    X, y = problem(Est)
    est = Est(**SMALL, input_dropout_rate=0.1).partial_fit(X, y, **first_call(Est, y))
    twin = pickle.loads(pickle.dumps(est, protocol=protocol))
    np.testing.assert_array_equal(answers(twin, X), answers(est, X))
    np.testing.assert_array_equal(
        answers(twin.partial_fit(X, y), X), answers(est.partial_fit(X, y), X)
    )


def first_call(Est, y):
    return {"classes": np.unique(y)} if is_classifier(Est()) else {}


def held_by(thing, path=""):
    """Everything that an object holds, however deep, with the way to it."""
    yield path, thing
    if isinstance(thing, dict):
        inner = thing.items()
    elif isinstance(thing, list | tuple):
        inner = enumerate(thing)
    else:
        inner = getattr(thing, "__dict__", {}).items()
    for name, part in inner:
        if not isinstance(part, type):
            yield from held_by(part, f"{path}.{name}")


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.Adam])
@pytest.mark.parametrize("Est", ESTIMATORS + RECURRENT)
def test_a_fitted_estimator_holds_no_tensors(Est, solver):
    """But NumPy arrays, which load where there is neither the device nor PyTorch's pickles."""
    X, y = problem(Est)
    est = Est(**SMALL, solver=solver)
    for method in ("fit", "partial_fit"):
        getattr(est, method)(X, y)
        held = list(held_by(est))
        assert sum(isinstance(thing, np.ndarray) for _, thing in held) >= 4
        assert [path for path, thing in held if isinstance(thing, torch.Tensor)] == []


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("Est", ESTIMATORS + RECURRENT)
def test_pickle_does_not_grow_with_the_data(Est, early_stopping):
    def size(n):
        X, y = problem(Est, n=n)
        params = SMALL | {"early_stopping": early_stopping, "n_iter_no_change": np.inf}
        return len(pickle.dumps(Est(**params, batch_size=16).fit(X, y)))

    # A count of rows may need some bytes more.
    assert abs(size(900) - size(60)) <= 16


@pytest.mark.parametrize("Est", ESTIMATORS + RECURRENT)
def test_pickle_after_partial_fit_does_not_grow_with_the_data(Est):
    def size(n):
        X, y = problem(Est, n=n)
        est = Est(**SMALL, batch_size=16).partial_fit(X, y, **first_call(Est, y))
        return len(pickle.dumps(est.partial_fit(X, y)))

    assert abs(size(900) - size(60)) <= 16


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_pipeline_with_grid_search_over_rates(Est):
    X, y = problem(Est)
    model = make_pipeline(StandardScaler(), Est(**SMALL, batch_size=16))
    name = f"{Est.__name__.lower()}__dropout_rate"
    search = GridSearchCV(model, {name: [0.0, 0.5, [0.9]]}, cv=3).fit(X, y)
    means = search.cv_results_["mean_test_score"]
    assert np.isfinite(means).all()
    assert len(set(means)) > 1
    by_hand = cross_val_score(clone(model).set_params(**{name: 0.5}), X, y, cv=3)
    assert by_hand.mean() == pytest.approx(means[1])
    assert search.predict(X).shape == y.shape


def test_cross_validation_in_processes():
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier(**SMALL, input_dropout_rate=0.2)
    one, two = (cross_val_score(est, X, y, cv=2, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_calibration_changes_probabilities_not_classes():
    X, y = problem(DropoutMLPClassifier, n=90)
    est = DropoutMLPClassifier(**SMALL | {"max_iter": 40}, learning_rate_init=0.01)
    calibrated = CalibratedClassifierCV(est, cv=3).fit(X, y)
    proba = calibrated.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert accuracy_score(y, calibrated.predict(X)) > 0.8


def test_transformed_target():
    X, y = problem(DropoutMLPRegressor, n=90)
    est = DropoutMLPRegressor(**SMALL)
    model = TransformedTargetRegressor(est, func=np.arcsinh, inverse_func=np.sinh).fit(X, y)
    direct = clone(est).fit(X, np.arcsinh(y))
    np.testing.assert_allclose(model.predict(X), np.sinh(direct.predict(X)))


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_bagging(Est):
    Bagging = BaggingClassifier if is_classifier(Est()) else BaggingRegressor
    X, y = problem(Est)
    model = Bagging(Est(**SMALL), n_estimators=2, random_state=0).fit(X, y)
    first, second = model.estimators_
    assert not np.array_equal(first.coefs_[0], second.coefs_[0])


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("Est", ESTIMATORS)
def test_pipeline_that_hands_on_data_frames(Est, library):
    pytest.importorskip(library)
    X, y = problem(Est)
    frames = make_pipeline(StandardScaler().set_output(transform=library), Est(**SMALL)).fit(X, y)
    arrays = make_pipeline(StandardScaler(), Est(**SMALL)).fit(X, y)
    assert list(frames[-1].feature_names_in_) == ["x0", "x1", "x2", "x3"]
    assert not hasattr(arrays[-1], "feature_names_in_")
    np.testing.assert_array_equal(answers(frames, X), answers(arrays, X))


@pytest.mark.parametrize("Est", ESTIMATORS + RECURRENT)
def test_metadata_routing_of_weights_and_validation_set(Est):
    X, y = problem(Est)
    X_val, y_val = problem(Est, seed=1, n=20)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    scaler = StandardScaler().fit(X)
    data = {"X_val": scaler.transform(X_val), "y_val": y_val, "sample_weight": weight}
    direct = Est(**SMALL).fit(scaler.transform(X), y, **data)
    with sklearn.config_context(enable_metadata_routing=True):
        est = Est(**SMALL).set_fit_request(X_val=True, y_val=True, sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = Pipeline([("scale", scaler), ("net", est)], transform_input=["X_val"])
        model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight=weight)
    np.testing.assert_array_equal(answers(model, X), answers(direct, scaler.transform(X)))
    assert model["net"].history_[:, "valid_loss"] == direct.history_[:, "valid_loss"]
    assert len(model["net"].validation_scores_) == SMALL["max_iter"]


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_metadata_routing_in_cross_validation(Est):
    X, y = problem(Est)
    X_val, y_val = problem(Est, seed=1, n=20)
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        est = Est(**SMALL).set_fit_request(X_val=True, y_val=True, sample_weight=True)
        est.set_score_request(sample_weight=True)
        params = {"X_val": X_val, "y_val": y_val, "sample_weight": weight}
        result = cross_validate(est, X, y, cv=2, params=params, return_estimator=True)
        assert np.isfinite(result["test_score"]).all()
        assert [e.history_[-1, "valid_loss"] > 0 for e in result["estimator"]] == [True, True]
        unasked = Est(**SMALL)
        with pytest.raises(ValueError, match="sample_weight"):
            cross_validate(unasked, X, y, cv=2, params=params)


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_sample_weight_through_search_without_routing(Est):
    X, y = problem(Est)
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    grid = {"dropout_rate": [0.0, 0.6]}
    search = GridSearchCV(Est(**SMALL), grid, cv=2).fit(X, y, sample_weight=weight)
    rate = search.best_params_["dropout_rate"]
    direct = Est(**SMALL, dropout_rate=rate).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(answers(search, X), answers(direct, X))


@pytest.mark.parametrize("Est", ESTIMATORS + RECURRENT)
def test_text_and_html_representations(Est):
    assert repr(Est(dropout_rate=0.4)) == f"{Est.__name__}(dropout_rate=0.4)"
    X, y = problem(Est)
    assert Est.__name__ in Est(**SMALL).fit(X, y)._repr_html_()


@pytest.mark.parametrize("Est", ESTIMATORS + RECURRENT)
def test_score_is_that_of_scikit_learn(Est):
    X, y = problem(Est)
    weight = np.random.default_rng(0).uniform(size=len(y))
    est = Est(**SMALL).fit(X, y)
    metric = accuracy_score if is_classifier(est) else r2_score
    assert est.score(X, y) == pytest.approx(metric(y, est.predict(X)))
    assert est.score(X, y, weight) == pytest.approx(metric(y, est.predict(X), sample_weight=weight))
