"""Classifiers: labels in, probabilities out."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_blobs
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from sklearn_dropout import DropoutMLPClassifier

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0, "batch_size": 16}
SEEDS = [0, 1, 2]


def problem(n_classes=3, seed=0, n=60):
    return make_blobs(n, 4, centers=n_classes, cluster_std=2.0, random_state=seed)


def labels_problem(seed=0, n=60, n_labels=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    return X, (X[:, :n_labels] + 0.3 * rng.standard_normal((n, n_labels)) > 0).astype(int)


def fitted(X, y, **params):
    return DropoutMLPClassifier(**SMALL | params).fit(X, y)


# Labels


@pytest.mark.parametrize(
    "classes",
    [
        np.array(["ant", "bee", "cat"]),
        np.array(["ant", "bee", "cat"], dtype=object),
        np.array([-7, 0, 12]),
        np.array([1, 2, 3], dtype=np.uint8),
        np.array([1.0, 2.0, 5.0]),
        np.array([False, True]),
        np.array(["no", "yes"]),
        np.array([-1, 1]),
    ],
    ids=lambda classes: f"{len(classes)} {classes.dtype}",
)
def test_labels_of_any_dtype(classes):
    X, codes = problem(len(classes))
    y = classes[codes]
    est = fitted(X, y)
    numbers = fitted(X, np.searchsorted(np.unique(y), y))
    np.testing.assert_array_equal(est.classes_, np.unique(y))
    assert est.classes_.dtype == y.dtype
    assert est.predict(X).dtype == y.dtype
    np.testing.assert_array_equal(est.predict(X), est.classes_[numbers.predict(X)])
    np.testing.assert_array_equal(est.predict_proba(X), numbers.predict_proba(X))


def test_labels_in_a_pandas_categorical():
    pandas = pytest.importorskip("pandas")
    X, codes = problem(3)
    y = np.array(["b", "c", "a"])[codes]
    est = fitted(X, pandas.Series(y, dtype="category"))
    np.testing.assert_array_equal(est.predict(X), fitted(X, y).predict(X))


def test_labels_in_a_column_are_flattened_with_a_warning():
    X, y = problem(3)
    with pytest.warns(match="A column-vector y was passed"):
        est = fitted(X, y[:, None])
    np.testing.assert_array_equal(est.predict(X), fitted(X, y).predict(X))


@pytest.mark.parametrize("n_classes", [2, 3, 11])
def test_well_separated_classes_are_learned(n_classes):
    for seed in SEEDS:
        X, y = make_blobs(150, 4, centers=n_classes, cluster_std=0.3, random_state=seed)
        params = {"hidden_layer_sizes": (40,), "max_iter": 60, "learning_rate_init": 0.01}
        assert fitted(X / 5, y, **params).score(X / 5, y) > 0.97


# Probabilities


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_probabilities(n_classes, dtype):
    eps = np.finfo(dtype).eps
    for seed in SEEDS:
        X, y = problem(n_classes, seed)
        X = X.astype(dtype)
        est = fitted(X, y, random_state=seed)
        proba = est.predict_proba(X)
        assert proba.shape == (len(X), n_classes)
        assert proba.dtype == est.predict_log_proba(X).dtype == dtype
        assert (proba >= 0).all()
        np.testing.assert_allclose(proba.sum(axis=1), 1, atol=8 * eps)
        np.testing.assert_allclose(np.exp(est.predict_log_proba(X)), proba, rtol=64 * eps)
        np.testing.assert_array_equal(est.predict(X), est.classes_[proba.argmax(axis=1)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_far_from_the_data_the_prediction_is_still_the_most_probable_class(n_classes, dtype):
    """Outputs of hundreds, where the logistic function is one or zero to the last bit."""
    for seed in SEEDS:
        X, y = problem(n_classes, seed)
        est = fitted(X, y, max_iter=40, learning_rate_init=0.02)
        far = (100 * X).astype(dtype)
        log_proba = est.predict_log_proba(far)
        assert np.isfinite(log_proba).all()
        assert log_proba.min() < -200
        np.testing.assert_array_equal(est.predict(far), est.classes_[log_proba.argmax(axis=1)])


def test_log_probabilities_are_exact_where_probabilities_round():
    X, y = problem(2)
    est = fitted(X, y, max_iter=40, learning_rate_init=0.02)
    near, far = est.predict_log_proba(X), est.predict_log_proba(1000 * X)
    assert (est.predict_proba(1000 * X) == 1).any()
    assert (far <= 0).all()
    assert far.min() < near.min()
    # Of two classes one is all but certain, and the other's logarithm is the logit.
    logit = far[:, 1] - far[:, 0]
    np.testing.assert_allclose(far.min(axis=1), -np.abs(logit), rtol=1e-12)


def test_two_classes_are_two_rows_of_one_output():
    X, y = problem(2)
    est, mirrored = fitted(X, y), fitted(X, 1 - y)
    assert est.n_outputs_ == mirrored.n_outputs_ == 1
    assert est.out_activation_ == "logistic"
    assert est.predict_proba(X).shape == (60, 2)


def test_names_of_classes_do_not_matter_but_their_order_does():
    X, y = problem(3)
    est = fitted(X, y)
    renamed = fitted(X, np.array(["a", "b", "c"])[y])
    np.testing.assert_array_equal(est.coefs_[0], renamed.coefs_[0])
    turned = fitted(X, np.array(["c", "b", "a"])[y])
    assert not np.array_equal(est.coefs_[-1], turned.coefs_[-1])


# Several labels for each row


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, lambda y: y.tolist()])
def test_multilabel(convert):
    X, y = labels_problem()
    est = fitted(X, convert(y), max_iter=100, learning_rate_init=0.02)
    np.testing.assert_array_equal(est.classes_, [0, 1, 2])
    assert (est.n_outputs_, est.out_activation_) == (3, "logistic")
    proba = est.predict_proba(X)
    assert proba.shape == y.shape
    assert ((proba > 0) & (proba < 1)).all()
    np.testing.assert_array_equal(est.predict(X), (proba > 0.5).astype(int))
    assert est.predict(X).dtype.kind == "i"
    np.testing.assert_allclose(est.predict_log_proba(X), np.log(proba), rtol=1e-6)
    assert est.score(X, y) > 0.7
    assert est.score(X, y) == (est.predict(X) == y).all(axis=1).mean()


def test_multilabel_rows_may_have_none_or_all_labels():
    X, y = labels_problem()
    y[:5], y[5:10] = 0, 1
    est = fitted(X, y, early_stopping=True)
    assert est.predict_proba(X).shape == y.shape
    assert len(est.validation_scores_) == est.n_iter_


def test_multilabel_with_a_label_that_never_comes():
    X, y = labels_problem()
    y[:, 1] = 0
    est = fitted(X, y, max_iter=200, learning_rate_init=0.02)
    assert (est.predict(X)[:, 1] == 0).all()


def test_multilabel_in_small_portions():
    X, y = labels_problem()
    est = DropoutMLPClassifier(**SMALL)
    for _ in range(2):
        est.partial_fit(X, y, classes=[0, 1, 2])
    assert est.predict(X).shape == y.shape
    with pytest.raises(ValueError, match=r"\(60, 2\)"):
        est.partial_fit(X, y[:, :2])
    with pytest.raises(ValueError, match=r"\(60,\)"):
        est.partial_fit(X, y[:, 0])


# Weights of classes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_class_weights_are_sample_weights(n_classes):
    X, y = problem(n_classes)
    y[y == 1] *= np.arange((y == 1).sum()) % 3 > 0  # unequal classes
    for weights in ({0: 1.0, 1: 5.0}, {1: 0.5}, "balanced"):
        est = fitted(X, y, class_weight=weights)
        by_rows = compute_sample_weight(weights, y)
        direct = DropoutMLPClassifier(**SMALL).fit(X, y, by_rows)
        np.testing.assert_allclose(est.coefs_[0], direct.coefs_[0], rtol=1e-5)
        np.testing.assert_allclose(est.predict_proba(X), direct.predict_proba(X), rtol=1e-5)
        assert est.loss_ != fitted(X, y).loss_


@pytest.mark.parametrize("scoring", [None, "f1_macro"])
@pytest.mark.parametrize("weights", [{1: 5.0}, "balanced"])
def test_class_weights_are_sample_weights_of_validation_rows_too(weights, scoring):
    """They acted in the rows that early stopping sets aside, and not in `X_val`."""
    X, y = problem(2)
    y[y == 1] *= np.arange((y == 1).sum()) % 3 > 0
    factors = np.bincount(y) / len(y) if weights == "balanced" else [1, 5]
    factors = 0.5 / factors if weights == "balanced" else np.array(factors)
    data = {"X_val": X[:30], "y_val": y[:30]}
    params = SMALL | {"scoring": scoring}
    est = DropoutMLPClassifier(**params, class_weight=weights).fit(X, y, **data)
    direct = DropoutMLPClassifier(**params)
    direct.fit(X, y, factors[y], **data, sample_weight_val=factors[y[:30]])
    for name in ("train_loss", "valid_loss", "valid_score"):
        assert est.history_[:, name] == pytest.approx(direct.history_[:, name], rel=1e-4)
    plain = DropoutMLPClassifier(**params).fit(X, y, factors[y], **data)
    assert est.history_[-1, "valid_loss"] != pytest.approx(plain.history_[-1, "valid_loss"])


def test_class_weights_of_strings():
    X, codes = problem(2)
    y = np.array(["no", "yes"])[codes]
    est = fitted(X, y, class_weight={"no": 1, "yes": 4})
    direct = fitted(X, codes, class_weight={0: 1, 1: 4})
    np.testing.assert_array_equal(est.coefs_[0], direct.coefs_[0])


def test_class_weights_multiply_sample_weights():
    X, y = problem(2)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    est = DropoutMLPClassifier(**SMALL, class_weight={0: 1, 1: 4}).fit(X, y, weight)
    direct = DropoutMLPClassifier(**SMALL).fit(X, y, weight * np.where(y == 1, 4, 1))
    np.testing.assert_array_equal(est.coefs_[0], direct.coefs_[0])


def test_balanced_means_balanced_sums_of_sample_weights():
    X, y = problem(2)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    factors = compute_class_weight("balanced", classes=np.array([0, 1]), y=y, sample_weight=weight)
    est = DropoutMLPClassifier(**SMALL, class_weight="balanced").fit(X, y, weight)
    direct = DropoutMLPClassifier(**SMALL).fit(X, y, weight * factors[y])
    np.testing.assert_array_equal(est.coefs_[0], direct.coefs_[0])


def test_balanced_where_all_rows_of_a_class_have_weight_zero():
    X, y = problem(3)
    weight = np.where(y == 2, 0.0, 1.0)
    est = DropoutMLPClassifier(**SMALL, class_weight="balanced").fit(X, y, weight)
    assert np.isfinite(est.predict_proba(X)).all()
    plain = DropoutMLPClassifier(**SMALL, class_weight={}).fit(X, y, weight)
    assert est.classes_.tolist() == plain.classes_.tolist() == [0, 1, 2]


def test_a_heavier_class_is_predicted_more_often():
    for seed in SEEDS:
        X, y = make_blobs(100, 4, centers=2, cluster_std=8, random_state=seed)
        params = {"max_iter": 30, "random_state": seed}
        shares = [
            np.mean(fitted(X, y, **params, class_weight={0: 1, 1: w}).predict(X))
            for w in (0.1, 1, 10)
        ]
        assert shares[0] < shares[1] < shares[2]


def rare_labels(n_labels=5, n=2000):
    rng = np.random.default_rng(0)
    return np.zeros((n, 1)), (rng.random((n, n_labels)) < [0.02, 0.05, 0.1, 0.3, 0.9]).astype(int)


def without_inputs(X, y, weight=None, **params):
    """A network that can only learn the share of each label."""
    params |= {"hidden_layer_sizes": (), "alpha": 0.0, "max_iter": 400, "random_state": 0}
    params |= {"learning_rate_init": 0.05, "batch_size": len(X)}
    return DropoutMLPClassifier(**params).fit(X, y, weight).predict_proba(X)[0]


def test_balanced_labels_are_as_likely_as_not():
    """Products of the labels' weights left 6 of 2000 rows with any: one row taught everything."""
    X, y = rare_labels()
    np.testing.assert_allclose(without_inputs(X, y, class_weight="balanced"), 0.5, atol=1e-3)
    np.testing.assert_allclose(without_inputs(X, y), y.mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_weights_of_labels_act_on_their_label_alone(weighted):
    X, y = rare_labels()
    weight = np.random.default_rng(1).uniform(0, 2, len(y)) if weighted else None
    factors = [{1: 20}, {}, {0: 0.5, 1: 3}, {0: 2}, {0: 10, 1: 1}]
    shares = np.average(y, axis=0, weights=weight)
    odds = shares / (1 - shares) * [20, 1, 6, 0.5, 0.1]
    found = without_inputs(X, y, weight, class_weight=factors)
    np.testing.assert_allclose(found, odds / (1 + odds), atol=2e-3)


def test_a_label_of_weight_zero():
    X, y = rare_labels()
    factors = [{0: 0, 1: 1}, {0: 1, 1: 0}, {}, {}, {}]
    found = without_inputs(X, y, class_weight=factors)
    assert found[0] > 0.99
    assert found[1] < 0.01
    np.testing.assert_allclose(found[2:], y.mean(axis=0)[2:], atol=1e-3)


def test_weights_of_one_for_every_label_are_none():
    X, y = labels_problem()
    one, none = fitted(X, y, class_weight=[{}, {0: 1}, {0: 1.0, 1: 1.0}]), fitted(X, y)
    np.testing.assert_allclose(one.predict_proba(X), none.predict_proba(X), rtol=1e-4)
    assert one.loss_curve_ == pytest.approx(none.loss_curve_, rel=1e-5)


@pytest.mark.parametrize("scoring", [None, "f1_macro"])
def test_weights_of_labels_act_in_both_losses_and_leave_scores_alone(scoring):
    X, y = labels_problem()
    factors = [{0: 0.1, 1: 0.2}, {1: 5}, {0: 0}]
    data = {"X_val": X[:20], "y_val": y[:20]}
    est = DropoutMLPClassifier(**SMALL, class_weight=factors, scoring=scoring).fit(X, y, **data)
    if scoring is None:
        assert est.validation_scores_[-1] == est.score(X[:20], y[:20])
        assert est.history_[-1, "train_score"] == est.score(X, y)
    weight = np.where(y, [0.2, 5, 1], [0.1, 1, 0])
    losses = -np.where(y, est.predict_log_proba(X), np.log1p(-est.predict_proba(X)))
    loss = (weight * losses).sum(1)[:20].mean()
    assert est.history_[-1, "valid_loss"] == pytest.approx(loss, rel=1e-4)


def test_weights_of_labels_in_partial_fit():
    X, y = labels_problem()
    factors = [{1: 5}, {0: 2}, {}]
    est = DropoutMLPClassifier(**SMALL, class_weight=factors)
    for _ in range(SMALL["max_iter"]):
        est.partial_fit(X, y)
    by_fit = fitted(X, y, class_weight=factors)
    np.testing.assert_array_equal(est.predict_proba(X), by_fit.predict_proba(X))


# Calls that continue


def test_partial_fit_knows_classes_that_come_later():
    X, y = problem(3)
    est = DropoutMLPClassifier(**SMALL | {"learning_rate_init": 0.02})
    est.partial_fit(X[y == 0], y[y == 0], classes=[2, 1, 0])
    assert est.classes_.tolist() == [0, 1, 2]
    assert est.predict_proba(X).shape == (60, 3)
    for _ in range(60):
        for label in (1, 2, 0):
            est.partial_fit(X[y == label], y[y == label])
    assert est.score(X, y) > 0.8


def test_partial_fit_accepts_the_same_classes_again_and_no_others():
    X, y = problem(3)
    est = DropoutMLPClassifier(**SMALL).partial_fit(X, y, classes=np.array([0, 1, 2]))
    est.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on the first call"):
        est.partial_fit(X, y, classes=[0, 1, 2, 3])


def test_partial_fit_needs_the_classes_first():
    X, y = problem(3)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        DropoutMLPClassifier(**SMALL).partial_fit(X, y)


def test_partial_fit_with_weights_of_classes():
    X, y = problem(2)
    est = DropoutMLPClassifier(**SMALL, class_weight={0: 1, 1: 4})
    est.partial_fit(X, y, classes=[0, 1])
    direct = DropoutMLPClassifier(**SMALL)
    direct.partial_fit(X, y, classes=[0, 1], sample_weight=np.where(y == 1, 4.0, 1.0))
    np.testing.assert_array_equal(est.coefs_[0], direct.coefs_[0])


def test_warm_start_needs_the_same_classes():
    X, y = problem(3)
    est = fitted(X, y, warm_start=True)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same"):
        est.fit(X[y < 2], y[y < 2])


# Validation sets


def test_validation_set_need_not_have_all_classes():
    X, y = problem(3)
    est = DropoutMLPClassifier(**SMALL).fit(X, y, X_val=X[y < 2], y_val=y[y < 2])
    assert est.validation_scores_[-1] == pytest.approx(est.score(X[y < 2], y[y < 2]), abs=1e-6)


def test_early_stopping_with_a_class_of_one_row():
    """As in scikit-learn's MLP, which does not stratify more than two classes."""
    X, y = problem(3)
    y[y == 2] = 1
    y[7] = 2
    est = fitted(X, y, early_stopping=True)
    assert est.classes_.tolist() == [0, 1, 2]
    assert len(est.validation_scores_) == est.n_iter_


def test_early_stopping_with_more_classes_than_rows_held_out():
    X, y = problem(6)
    est = fitted(X, y, early_stopping=True, validation_fraction=0.05)
    assert len(est.validation_scores_) == est.n_iter_
