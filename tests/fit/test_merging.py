"""Equal rows of one batch: merged by content, after the validation rows were set aside."""

import tracemalloc

import numpy as np
import pytest
from _families import ALL, CLASSIFIERS, answers, problem, small
from scipy import sparse
from sklearn.model_selection import GridSearchCV

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout.fit import merging
from sklearn_dropout.fit.merging import merge_equal_rows, sort_by_content

FORMS = {
    "dense": np.asarray,
    "csr": sparse.csr_array,
    "explicit zeros": lambda X: _explicit(X),
    "split values": lambda X: _split_values(X),
}


def _explicit(X):
    """A CSR matrix that stores its zeros too."""
    n, n_features = X.shape
    columns = np.tile(np.arange(n_features)[::-1], n)
    starts = np.arange(0, n * n_features + 1, n_features)
    return sparse.csr_array((X[:, ::-1].ravel(), columns, starts), shape=X.shape)


def _split_values(X):
    """A CSR matrix that stores each value as two halves."""
    n, n_features = X.shape
    columns = np.tile(np.repeat(np.arange(n_features), 2), n)
    starts = np.arange(0, 2 * n * n_features + 1, 2 * n_features)
    return sparse.csr_array((X.repeat(2, axis=1).ravel() / 2, columns, starts), shape=X.shape)


def kinds(seed=0, n=300, n_features=3):
    """Few kinds of rows, some of them empty, in random numbers of copies."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(-1, 2, (9, n_features)).astype(np.float32)
    kinds[4:6] = 0
    which = rng.integers(0, 9, n)
    return kinds[which], which % 2, rng.uniform(size=n), rng


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_merged_by_content(form, weighted):
    for seed in range(3):
        X, y, weight, rng = kinds(seed)
        rows = np.flatnonzero(rng.uniform(size=len(y)) < 0.9)
        weight = weight[rows] if weighted else None
        merged, total = merge_equal_rows(FORMS[form](X), y, rows, weight)
        expected = {}
        for place, row in enumerate(rows):
            content = (*X[row].tolist(), y[row])
            expected[content] = expected.get(content, 0) + (weight[place] if weighted else 1)
        found = {(*X[row].tolist(), y[row]): w for row, w in zip(merged, total, strict=True)}
        assert found.keys() == expected.keys()
        for content, w in found.items():
            assert w == pytest.approx(expected[content])
        assert set(merged) <= set(rows)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_the_data_does_not_matter(form, weighted):
    """Not even in the last bit of a sum of weights."""
    X, y, weight, _ = kinds()
    results = set()
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(y))
        w = weight[order] if weighted else None
        part = X[order], y[order], np.arange(len(y)), w
        merged, total = merge_equal_rows(FORMS[form](part[0]), *part[1:])
        rows, sorted_weight = sort_by_content(FORMS[form](part[0]), *part[1:])
        contents = [part[0][places] + np.float32(0) for places in (merged, rows)]
        contents += [part[1][places] for places in (merged, rows)]
        contents += [total] + ([sorted_weight] if weighted else [])
        results.add(tuple(content.tobytes() for content in contents))
    assert len(results) == 1


def test_every_form_of_the_data_has_one_order():
    X, y, weight, _ = kinds()
    results = set()
    for form in FORMS.values():
        merged, total = merge_equal_rows(form(X), y, np.arange(len(y)), weight)
        results.add((merged.tobytes(), total.tobytes()))
    assert len(results) == 1


def test_targets_must_be_equal_too():
    X = np.zeros((4, 2), dtype=np.float32)
    merged, weight = merge_equal_rows(X, np.array([0, 1, 0, 1]), np.arange(4), None)
    assert len(merged) == 2
    assert weight.tolist() == [2, 2]
    y = np.array([[0.0, 1.0], [0.0, 2.0], [-0.0, 1.0], [0.0, 1.0]])
    merged, weight = merge_equal_rows(X, y, np.arange(4), None)
    assert y[merged].tolist() == [[0, 1], [0, 2]]
    assert weight.tolist() == [3, 1]


def test_different_rows_get_no_weights():
    X = np.arange(6, dtype=np.float32)[:, None]
    merged, weight = merge_equal_rows(X, np.zeros(6), np.arange(6), None)
    assert sorted(merged) == list(range(6))
    assert weight is None


def test_signs_of_zeros_do_not_matter():
    X = np.array([[0.0, 1.0], [-0.0, 1.0]], dtype=np.float32)
    for form in FORMS.values():
        merged, weight = merge_equal_rows(form(X), np.zeros(2), np.arange(2), None)
        assert merged.tolist() == [0]
        assert weight.tolist() == [2]


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_one_hash_are_told_apart(form, monkeypatch):
    """Whatever the hash, which can only cost time."""
    for modulus in (1, 3):
        monkeypatch.setattr(
            merging, "_hashes", lambda X, rows, m=modulus: rows.astype(np.uint64) % np.uint64(m)
        )
        X, y, weight, _ = kinds()
        # A row's hash depends on its content, as any does.
        X, y, weight = X.repeat(3, axis=0), y.repeat(3), weight.repeat(3)
        X[:, 0] += np.tile(np.arange(3), len(y) // 3) * 10
        merged, total = merge_equal_rows(FORMS[form](X), y, np.arange(len(y)), weight)
        assert len(merged) == len(np.unique(np.column_stack([X, y]), axis=0))
        assert total.sum() == pytest.approx(weight.sum())


def test_little_memory_beside_the_data():
    """A user's wide matrix was copied in full, as Python bytes, before a large batch."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 500)).astype(np.float32)
    X[2000:] = X[:2000]
    tracemalloc.start()
    try:
        merged, _ = merge_equal_rows(X, np.zeros(4000), np.arange(4000), None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(merged) == 2000
    assert peak < X.nbytes / 3


# Early stopping


def cells(Est, n=60, n_features=6, n_cells=6):
    """Discrete data: few cells of equal rows, each with one target."""
    X, y = problem(Est, n_cells, n_features=n_features)
    return X.repeat(n // n_cells, axis=0), y.repeat(n // n_cells)


def spied(monkeypatch, fit):
    """The samples that networks were trained and validated on."""
    from sklearn_dropout.fit import preparation

    original, samples = preparation.make_samples, []

    def make_samples(*args):
        samples.append(original(*args))
        return samples[-1]

    monkeypatch.setattr(preparation, "make_samples", make_samples)
    fit()
    monkeypatch.undo()
    return samples


def assert_rows_were_split(train, valid, X, n_valid):
    """A share of the rows given, and every cell still in training."""
    assert len(valid.rows) == n_valid
    assert train.n_given == len(X) - n_valid == train.total_weight
    assert len(train.rows) == len(np.unique(X, axis=0))
    assert not valid.counts


@pytest.mark.parametrize("Est", ALL)
def test_the_rows_given_are_split(Est, monkeypatch):
    """All copies of a tenth of the distinct rows went to the validation set."""
    X, y = cells(Est)
    est = small(Est, early_stopping=True, validation_fraction=0.1, batch_size=200)
    ((train, valid),) = spied(monkeypatch, lambda: est.fit(X, y))
    assert_rows_were_split(train, valid, train.X, 6)
    assert est.t_ == 54 * est.n_iter_


@pytest.mark.parametrize("Est", CLASSIFIERS)
def test_a_class_of_equal_rows_can_be_split(Est):
    """Thirty equal rows of a class were "only 1 member" of it."""
    X, _ = problem(Est, 2)
    X, y = X.repeat(30, axis=0), np.repeat(["no", "yes"], 30)
    est = small(Est, early_stopping=True, batch_size=200).fit(X, y)
    assert len(est.validation_scores_) == est.n_iter_


@pytest.mark.parametrize("Search", [DropoutSearchCV, GridSearchCV])
@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_searches_split_the_rows_given(Est, Search, monkeypatch):
    X, y = cells(Est, n=120)
    order = np.random.default_rng(0).permutation(120)
    X, y = X[order], y[order]
    est = small(Est, early_stopping=True, validation_fraction=0.2, batch_size=200)
    grid = {"dropout_rate": [0.0, 0.3]}
    search = Search(est, grid, cv=3, refit=False, error_score="raise")
    samples = spied(monkeypatch, lambda: search.fit(X, y))
    assert samples
    for train, valid in samples:
        assert_rows_were_split(train, valid, train.X, 16)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_the_order_of_rows_does_not_matter_for_the_split(Est, weighted):
    X, y = cells(Est)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    fits = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(y))
        est = small(Est, early_stopping=True, batch_size=200)
        w = None if weight is None else weight[order]
        fits.append(est.fit(X[order], y[order], sample_weight=w))
    for est in fits[1:]:
        np.testing.assert_array_equal(answers(est, X), answers(fits[0], X))
        assert est.validation_scores_ == pytest.approx(fits[0].validation_scores_, abs=1e-6)


@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_weights_and_copies_with_a_validation_set_of_their_own(Est):
    """Copies of a row can lie on both sides of an internal split, one weighted row cannot."""
    X, y = problem(Est)
    weight = np.arange(len(y)) % 3
    data = {"X_val": X[:20], "y_val": y[:20]}
    params = {"early_stopping": True, "batch_size": 200, "max_iter": 15}
    weighted = small(Est, **params).fit(X, y, sample_weight=weight, **data)
    copied = small(Est, **params).fit(X.repeat(weight, axis=0), y.repeat(weight), **data)
    np.testing.assert_array_equal(answers(weighted, X), answers(copied, X))
    assert weighted.validation_scores_ == copied.validation_scores_
