"""Ensembles: members, averages, left-out rows, intervals and sets."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from _families import answers, problem, small
from scipy.stats import binom
from sklearn.base import clone, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from sklearn_dropout import (
    DropoutCNNRegressor,
    DropoutEnsembleClassifier,
    DropoutEnsembleRegressor,
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutSearchCV,
)
from sklearn_dropout.uncertainty.intervals import adaptive_scores, cv_plus_interval, cv_plus_set

BOTH = {
    DropoutEnsembleClassifier: DropoutMLPClassifier,
    DropoutEnsembleRegressor: DropoutMLPRegressor,
}
both = pytest.mark.parametrize("Ensemble", BOTH)


def ensemble(Ensemble, n=4, **params):
    options = {"n_estimators": n, "random_state": 0} | params
    return Ensemble(options.pop("estimator", small(BOTH[Ensemble])), **options)


# Array API inputs are tried only where SciPy is told to take them.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@both
def test_check_estimator(Ensemble):
    results = check_estimator(Ensemble(n_estimators=4))
    assert {result["status"] for result in results} <= {"passed", "skipped"}
    assert sum(result["status"] == "passed" for result in results) >= 55


@both
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("kind", ["network", "pipeline"])
def test_a_member_is_a_single_fit(Ensemble, n_jobs, kind):
    X, y = problem(BOTH[Ensemble])
    network = small(BOTH[Ensemble])
    member = network if kind == "network" else make_pipeline(StandardScaler(), network)
    weight = np.random.default_rng(0).random(len(y))
    fitted = ensemble(Ensemble, estimator=member, n_jobs=n_jobs).fit(X, y, sample_weight=weight)
    name = "" if kind == "network" else f"{type(network).__name__.lower()}__"
    for one in fitted.estimators_:
        seed = one.get_params()[f"{name}random_state"]
        single = clone(member).set_params(**{f"{name}random_state": seed})
        single.fit(X, y, **{f"{name}sample_weight": weight})
        np.testing.assert_array_equal(answers(one, X), answers(single, X))
    expected = np.mean([answers(one, X) for one in fitted.estimators_], axis=0)
    np.testing.assert_allclose(answers(fitted, X), expected)
    assert len({one.get_params()[f"{name}random_state"] for one in fitted.estimators_}) == 4


@both
def test_random_state(Ensemble):
    X, y = problem(BOTH[Ensemble])
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, other, third = (
        answers(ensemble(Ensemble, random_state=s).fit(X, y), X) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, other)
    assert (one != third).any()
    ensemble(Ensemble, random_state=None).fit(X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@both
def test_uncertainty_is_that_of_all_passes_of_all_networks(Ensemble):
    X, y = problem(BOTH[Ensemble])
    fitted = ensemble(Ensemble, n=3).fit(X, y)
    samples = fitted.sample_predictions(X, 50, random_state=0)
    assert samples.shape == (150, 48, 2 if is_classifier(fitted) else 1)
    found = fitted.predict_uncertainty(X, 50, random_state=0)
    mean = samples.mean(axis=0)
    np.testing.assert_allclose(found.mean, mean if is_classifier(fitted) else mean[:, 0])
    if is_classifier(fitted):
        entropies = -(samples * np.log(samples)).sum(axis=2).mean(axis=0)
        np.testing.assert_allclose(found.aleatoric, entropies, rtol=1e-6)
        np.testing.assert_allclose(found.total, -(mean * np.log(mean)).sum(axis=1))
    else:
        np.testing.assert_allclose(found.epistemic, samples.std(axis=0)[:, 0], rtol=1e-6)
        noise = np.sqrt(np.mean([m.noise_std_.item() ** 2 for m in fitted.estimators_]))
        np.testing.assert_allclose(found.aleatoric, noise)
        mean, std = fitted.predict(X, return_std=True, n_samples=50, random_state=0)
        np.testing.assert_array_equal(mean, found.mean)
        np.testing.assert_array_equal(std, found.total)


@both
def test_left_out_rows_are_answered_by_those_who_left_them_out(Ensemble):
    X, y = problem(BOTH[Ensemble])
    fitted = ensemble(Ensemble, n=7, cv=3).fit(X, y)
    splitter = StratifiedKFold(3) if is_classifier(fitted) else KFold(3)
    for fold, (train, test) in enumerate(splitter.split(X, y)):
        members = fitted.estimators_[fold::3]
        expected = np.mean([answers(member, X[test]) for member in members], axis=0)
        np.testing.assert_allclose(fitted.oob_prediction_[test], expected)
        single = clone(members[0]).fit(X[train], y[train])
        np.testing.assert_array_equal(answers(members[0], X), answers(single, X))
    if not is_classifier(fitted):
        error = np.sqrt(np.mean((fitted.oob_prediction_ - y) ** 2))
        assert fitted.noise_std_.item() == pytest.approx(error)
        noise = fitted.predict_uncertainty(X, random_state=0).aleatoric
        np.testing.assert_allclose(noise, error)
    assert not hasattr(fitted.set_params(cv=None).fit(X, y), "oob_prediction_")


def test_interval_by_hand():
    """Barber et al. 2021, eq. 11, with nine rows in three folds."""
    rng = np.random.default_rng(0)
    mean, residuals = rng.standard_normal((3, 5)), rng.random(9)
    fold = np.arange(9) % 3
    lower, upper = cv_plus_interval(mean, np.ones((3, 5)), fold, residuals, 0.8)
    for new in range(5):
        low = sorted(mean[k, new] - r for k, r in zip(fold, residuals))
        high = sorted(mean[k, new] + r for k, r in zip(fold, residuals))
        assert lower[new] == low[1]  # floor(0.2 * 10) = 2nd smallest
        assert upper[new] == high[7]  # ceil(0.8 * 10) = 8th smallest
    bounds = cv_plus_interval(mean, np.ones((3, 5)), fold, residuals, 0.95)
    assert np.isinf(bounds).all()


def test_sets_by_hand():
    """Romano et al. 2020, eq. 9: a class whose score few left-out scores are below."""
    rng = np.random.default_rng(0)
    left_out = rng.dirichlet(np.ones(4), 30)
    labels = np.array([rng.choice(4, p=p) for p in left_out])
    scores = adaptive_scores(left_out)[np.arange(30), labels]
    for p, label, score in zip(left_out, labels, scores):
        assert score == pytest.approx(p[p > p[label]].sum() + p[label] / 2)
    fold, new = np.arange(30) % 3, rng.dirichlet(np.ones(4), (3, 6))
    found = cv_plus_set(new, fold, scores, 0.8)
    for row in range(6):
        top = new[:, row].mean(axis=0).argmax()
        for label in range(4):
            rows = [new[k, row] for k in range(3)]
            of_new = [p[p > p[label]].sum() + p[label] / 2 for p in rows]
            below = sum(s < of_new[k] - 1e-12 for s, k in zip(scores, fold))
            assert found[row, label] == (below < 0.8 * 31 or label == top)


def draw(rng, n, n_features=3):
    X = rng.standard_normal((n, n_features))
    return X, np.sin(2 * X[:, 0]) + (0.2 + 0.4 * (X[:, 1] > 0)) * rng.standard_normal(n)


NETWORKS = {
    "dropout": {"dropout_rate": 0.2, "max_iter": 30},
    "memorised": {"dropout_rate": 0, "max_iter": 300, "learning_rate_init": 0.01, "alpha": 0},
    "gaussian": {"dropout_rate": 0.1, "max_iter": 30, "loss": "gaussian"},
}


def coverages(n_sets, levels, **params):
    """Share of new targets in the intervals of ensembles on drawn data sets."""
    found = []
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        (X, y), (X_new, y_new) = draw(rng, 80), draw(rng, 50)
        net = DropoutMLPRegressor((20,), **params)
        fitted = DropoutEnsembleRegressor(net, 5, cv=5, random_state=seed).fit(X, y)
        bounds = [fitted.predict_interval(X_new, level) for level in levels]
        found.append([np.mean((low <= y_new) & (y_new <= high)) for low, high in bounds])
    return np.mean(found, axis=0)


@pytest.mark.parametrize("kind", NETWORKS)
def test_coverage(kind):
    levels = [0.8, 0.9]
    found = coverages(12, levels, **NETWORKS[kind])
    n = 12 * 50 // 3  # targets of a data set share their networks
    for level, share in zip(levels, found):
        assert share >= binom.ppf(0.001, n, level) / n


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_coverage_over_200_data_sets(kind):
    levels = [0.8, 0.9, 0.95]
    found = coverages(200, levels, **NETWORKS[kind])
    n = 200 * 50 // 3
    for level, share in zip(levels, found):
        assert share >= binom.ppf(0.001, n, level) / n
        assert share <= level + 0.1  # CV+ is too wide where small sets make unlike networks


@pytest.mark.parametrize("n_sets", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_sets_hold_their_labels(n_sets):
    levels, found, sizes = [0.8, 0.9, 0.95], [], []
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((130, 2))
        y = np.digitize(X[:, 0] + 0.7 * rng.standard_normal(130), [-0.5, 0.5])
        net = DropoutMLPClassifier((10,), max_iter=30, dropout_rate=0.1)
        fitted = DropoutEnsembleClassifier(net, 5, cv=5, random_state=seed).fit(X[:80], y[:80])
        sets = [fitted.predict_set(X[80:], level) for level in levels]
        assert all(some.any(axis=1).all() for some in sets)
        found.append([some[np.arange(50), y[80:]].mean() for some in sets])
        sizes.append([some.sum() for some in sets])
    n = n_sets * 50 // 3
    for level, share in zip(levels, np.mean(found, axis=0)):
        assert share >= binom.ppf(0.001, n, level) / n
    assert (np.diff(np.mean(sizes, axis=0)) > 0).all()


def test_intervals_are_those_of_mapie():
    regression = pytest.importorskip("mapie.regression")
    rng = np.random.default_rng(0)
    X, y = draw(rng, 90)
    net = DropoutMLPRegressor((8,), max_iter=20, random_state=3)
    fitted = DropoutEnsembleRegressor(net, 3, cv=3, random_state=0).fit(X, y)
    fitted = _with_seed(fitted, X, y)  # MAPIE's networks have one seed
    theirs = regression.CrossConformalRegressor(
        net, confidence_level=[0.8, 0.9], method="plus", cv=KFold(3)
    ).fit_conformalize(X, y)
    _, intervals = theirs.predict_interval(X[:20])
    for place, level in enumerate((0.8, 0.9)):
        ours = np.column_stack(fitted.predict_interval(X[:20], level))
        np.testing.assert_allclose(ours, intervals[:, :, place], rtol=1e-6)


def _with_seed(fitted, X, y):
    """The same ensemble, all of whose networks have the seed 3."""
    folds = [test for _, test in KFold(3).split(X)]
    members = [
        clone(member).set_params(random_state=3).fit(np.delete(X, f, 0), np.delete(y, f))
        for member, f in zip(fitted.estimators_, folds)
    ]
    fitted = copy.copy(fitted)
    fitted._keep(members, X, y, folds)
    return fitted


def test_several_outputs():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    Y = np.column_stack([X[:, 0], 100 * X[:, 1]]) + rng.standard_normal((60, 2))
    fitted = ensemble(DropoutEnsembleRegressor, cv=2).fit(X, Y)
    lower, upper = fitted.predict_interval(X, 0.8)
    assert lower.shape == upper.shape == (60, 2)
    assert (lower < upper).all()
    assert fitted.noise_std_.shape == (2,)


def test_other_families_and_targets():
    X, y = problem(DropoutCNNRegressor)
    net = small(DropoutCNNRegressor)
    with joblib.parallel_config("threading"):
        fitted = ensemble(DropoutEnsembleRegressor, 2, estimator=net, n_jobs=2).fit(X, y)
    assert fitted.predict(X).shape == (48,)
    labels = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    fitted = ensemble(DropoutEnsembleClassifier, cv=2).fit(X, labels)
    assert fitted.predict(X).shape == (48, 2)
    with pytest.raises(ValueError, match="predict_set needs rows with one class"):
        fitted.predict_set(X)


def test_in_a_search():
    X, y = load_iris(return_X_y=True)
    grid = {"estimator__dropout_rate": [0.0, 0.3], "n_estimators": [1, 2]}
    search = DropoutSearchCV(ensemble(DropoutEnsembleClassifier), grid, cv=2).fit(X, y)
    assert search.cv_results_["mean_test_score"].shape == (4,)
    assert len(search.best_estimator_.estimators_) == search.best_params_["n_estimators"]


@both
@pytest.mark.parametrize("cv", [None, 2])
def test_saved_and_loaded(Ensemble, cv):
    X, y = problem(BOTH[Ensemble])
    fitted = ensemble(Ensemble, cv=cv).fit(X, y)
    ways = [lambda est: pickle.loads(pickle.dumps(est))]
    try:
        import skops.io as skops
    except ImportError:
        pass
    else:
        names = [f"{type(e).__module__}.{type(e).__name__}" for e in (fitted, fitted.estimator)]
        ways.append(lambda est: skops.loads(skops.dumps(est), trusted=names))
    for way in ways:
        loaded = way(fitted)
        np.testing.assert_array_equal(answers(loaded, X), answers(fitted, X))
        if cv is not None and is_classifier(fitted):
            np.testing.assert_array_equal(loaded.predict_set(X), fitted.predict_set(X))
        elif cv is not None:
            for a, b in zip(loaded.predict_interval(X), fitted.predict_interval(X)):
                np.testing.assert_array_equal(a, b)


@both
def test_as_an_onnx_graph(Ensemble):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from sklearn_dropout.onnx import register

    register()
    X, y = problem(BOTH[Ensemble])
    X = X.astype(np.float32)
    fitted = ensemble(Ensemble).fit(X, y)
    options = {id(fitted): {"zipmap": False}} if is_classifier(fitted) else None
    graph = skl2onnx.to_onnx(fitted, X[:1], options=options)
    run = onnxruntime.InferenceSession(graph.SerializeToString())
    got = run.run(None, {run.get_inputs()[0].name: X})
    found = got[1] if is_classifier(fitted) else got[0].ravel()
    np.testing.assert_allclose(found, answers(fitted, X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"estimator": Ridge()}, TypeError, r"estimator=Ridge\(\) does not end with a network"),
        ({"n_estimators": 0}, ValueError, "'n_estimators' parameter of DropoutEnsembleRegressor"),
        ({"n_estimators": 3, "cv": 5}, ValueError, "n_estimators=3 is less than the 5 folds"),
        ({"cv": ShuffleSplit(4)}, ValueError, "does not leave out each row exactly once"),
        ({"random_state": "x"}, ValueError, "'random_state' parameter"),
    ],
)
def test_bad_parameters(params, error, message):
    X, y = problem(DropoutMLPRegressor)
    est = ensemble(DropoutEnsembleRegressor, **params)
    with pytest.raises(error, match=message):
        est.fit(X, y)
    assert not hasattr(est, "estimators_")


def test_calls_that_need_folds():
    X, y = problem(DropoutMLPRegressor)
    fitted = ensemble(DropoutEnsembleRegressor).fit(X, y)
    with pytest.raises(ValueError, match=r"predict_interval needs .* cv=5"):
        fitted.predict_interval(X)
    fitted = ensemble(DropoutEnsembleRegressor, cv=2).fit(X, y)
    for coverage in (0, 1, 95, "most"):
        with pytest.raises(ValueError, match=f"coverage={coverage!r} must be a number above 0"):
            fitted.predict_interval(X, coverage)
    net = TransformedTargetRegressor(small(DropoutMLPRegressor))
    fitted = ensemble(DropoutEnsembleRegressor, estimator=net).fit(X, y)
    with pytest.raises(TypeError, match="cannot transform uncertainty back"):
        fitted.predict_uncertainty(X)


def test_attributes_of_an_earlier_fit_go():
    pandas = pytest.importorskip("pandas")
    X, y = problem(DropoutMLPRegressor)
    frame = pandas.DataFrame(X).add_prefix("column ")
    fitted = ensemble(DropoutEnsembleRegressor, cv=2).fit(frame, y).set_params(cv=None).fit(X, y)
    new = ensemble(DropoutEnsembleRegressor).fit(X, y)
    assert vars(fitted).keys() == vars(new).keys()


def test_steps_may_have_any_name():
    """A step named "regressor" was taken for that of a TransformedTargetRegressor."""
    X, y = problem(DropoutMLPRegressor)
    member = Pipeline([("scale", StandardScaler()), ("regressor", small(DropoutMLPRegressor))])
    fitted = ensemble(DropoutEnsembleRegressor, estimator=member).fit(X, y)
    assert (fitted.predict_uncertainty(X).total > 0).all()


def test_pipelines_on_texts():
    """They have no n_features_in_, nor has an ensemble of them, whatever was fitted before."""
    texts, y = ["good film", "bad film", "good book", "bad book"] * 6, [1, 0, 1, 0] * 6
    member = make_pipeline(TfidfVectorizer(), small(DropoutMLPClassifier))
    fitted = ensemble(DropoutEnsembleClassifier, cv=2).fit(*problem(DropoutMLPClassifier))
    fitted.set_params(estimator=member).fit(texts, y)
    expected = np.mean([some.predict_proba(texts) for some in fitted.estimators_], axis=0)
    np.testing.assert_array_equal(fitted.predict_proba(texts), expected)
    assert not hasattr(fitted, "n_features_in_")


def test_a_target_transformer_with_folds():
    """One that leaves y as it is does not change the intervals."""
    X, y = problem(DropoutMLPRegressor)
    net = small(DropoutMLPRegressor)
    wrapped, alone = (
        ensemble(DropoutEnsembleRegressor, estimator=est, cv=KFold(2)).fit(X, y).predict_interval(X)
        for est in (TransformedTargetRegressor(net), net)
    )
    np.testing.assert_allclose(wrapped, alone)


def test_a_fold_without_a_class():
    X, y = problem(DropoutMLPClassifier)
    y = np.sort(np.arange(48) % 3)
    with pytest.raises(ValueError, match="training rows lack a class"):
        ensemble(DropoutEnsembleClassifier, cv=KFold(3)).fit(X, y)


@pytest.mark.parametrize("Ensemble", [DropoutEnsembleRegressor, DropoutEnsembleClassifier])
def test_uncertainty_without_a_seed(Ensemble):
    """Fresh entropy of 64 bits was refused by the networks as a seed of theirs."""
    X = np.random.default_rng(0).standard_normal((40, 3))
    ensemble = Ensemble(n_estimators=2, random_state=0)
    ensemble.set_params(estimator=clone(ensemble._member()).set_params(max_iter=2))
    ensemble.fit(X, np.arange(40) % 2)
    samples = ensemble.sample_predictions(X)
    assert not np.array_equal(samples, ensemble.sample_predictions(X))
    assert (ensemble.predict_uncertainty(X).epistemic > 0).all()
    with pytest.raises(ValueError, match="random_state='a' must be an int from 0 to 4294967295"):
        ensemble.predict_uncertainty(X, random_state="a")


def test_a_network_of_another_task():
    """Regressors averaged class labels, and gave intervals of them."""
    X, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    with pytest.raises(TypeError, match=r"estimator=.*Use DropoutEnsembleClassifier"):
        DropoutEnsembleRegressor(DropoutMLPClassifier()).fit(X, y)
    with pytest.raises(TypeError, match=r"estimator=.*Use DropoutEnsembleRegressor"):
        DropoutEnsembleClassifier(DropoutMLPRegressor()).fit(X, y)
