"""Networks and pipelines as ONNX graphs, run by onnxruntime, answer as the estimators do."""

import re
import sys

import numpy as np
import pytest
import torch
from _families import ALL, CLASSIFIERS, answers, problem, small
from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import (
    DropoutCNNClassifier,
    DropoutMLPClassifier,
    DropoutRNNClassifier,
    DropoutRNNRegressor,
)

ACTIVATIONS = ["identity", "logistic", "tanh", "relu", "elu", "selu", "gelu", "silu"]
RECURRENT = [DropoutRNNClassifier, DropoutRNNRegressor]
TOKENS = {"n_tokens": 7, "embedding_dim": 4, "hidden_layer_sizes": (5,)}


def session(graph):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def sentences(n=60, n_steps=6):
    """Token ids, with padding in front, behind and within; no row is all padding."""
    rng = np.random.default_rng(0)
    X = rng.integers(1, 7, (n, n_steps))
    X[rng.random(X.shape) < 0.3] = 0
    X[X.sum(axis=1) == 0, -1] = 3
    return X, (X == 3).any(axis=1)


def exported(est, x, path):
    """What the exported module answers in onnxruntime, and the graph's kinds of operators."""
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    torch.onnx.export(
        est.module_, (x[:5],), path, dynamo=True, dynamic_shapes=({0: "n"},), verbose=False
    )
    run = session(str(path))
    (got,) = run.run(None, {run.get_inputs()[0].name: x.numpy()})
    return got, {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.filterwarnings("ignore")  # of the exporter, about itself
@pytest.mark.parametrize("Est", ALL)
def test_module_through_onnx(Est, tmp_path):
    X, y = problem(Est)
    est = small(Est, input_dropout_rate=0.1, spatial_dropout_rate=0.1).fit(X, y)
    x = torch.tensor(X, dtype=torch.float32)
    got, kinds = exported(est, x, tmp_path / "network.onnx")
    assert not {kind for kind in kinds if re.search("dropout|random|bernoulli", kind, re.I)}
    expected = answers(est, X)
    if is_classifier(est):
        expected = expected[:, 1]
    np.testing.assert_allclose(got[:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # of the exporter, about itself
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "cell", ["gru", *(pytest.param(cell, marks=pytest.mark.slow) for cell in ("lstm", "rnn"))]
)
def test_module_of_padded_tokens_through_onnx(cell, bidirectional, tmp_path):
    X, y = sentences()
    options = TOKENS | {"cell": cell, "bidirectional": bidirectional, "hidden_layer_sizes": (5, 3)}
    est = small(DropoutRNNClassifier, **options).fit(X, y)
    got, _ = exported(est, torch.tensor(X), tmp_path / "network.onnx")
    np.testing.assert_allclose(got[:, 0], est.predict_proba(X)[:, 1], rtol=1e-4, atol=1e-5)


@pytest.fixture
def to_onnx():
    skl2onnx = pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxruntime")
    from sklearn_dropout.onnx import register

    register()
    register()  # again does no harm
    return skl2onnx.to_onnx


def assert_same_answers(to_onnx, est, X):
    """The converted estimator has no dropout, and the labels and numbers of `est`."""
    options = {"options": {"zipmap": False}} if is_classifier(est) else {}
    graph = to_onnx(est, X[:1], **options)
    assert not [node for node in graph.graph.node if "Dropout" in node.op_type]
    got = session(graph.SerializeToString()).run(None, {"X": X})
    expected = answers(est, X)
    assert got[-1].dtype == (np.float32 if X.dtype.kind != "f" else X.dtype)
    np.testing.assert_allclose(got[-1].reshape(expected.shape), expected, 1e-3, 1e-5)
    if is_classifier(est):
        np.testing.assert_array_equal(got[0], est.predict(X))


@pytest.mark.parametrize(
    ("Est", "activation"),
    [(Est, kind) for Est in ALL for kind in (["tanh"] if Est in RECURRENT else ACTIVATIONS)],
)
def test_pipeline_through_skl2onnx(Est, activation, to_onnx):
    X, y = problem(Est)
    X = X.astype(np.float32)
    several = X[:, :2] if not is_classifier(Est()) else np.digitize(X[:, 0], [-0.5, 0.5]) * 3 - 2
    rates = {"input_dropout_rate": 0.1, "spatial_dropout_rate": 0.1}
    if Est in RECURRENT:
        rates["input_shape"] = (3, 2)
    for target in (y, several):
        network = small(Est, activation=activation, hidden_layer_sizes=(6, 4), **rates)
        assert_same_answers(to_onnx, make_pipeline(StandardScaler(), network).fit(X, target), X)


def test_channels_last_through_skl2onnx(to_onnx):
    X, y = problem(DropoutCNNClassifier, n_features=24)
    X = X.astype(np.float32).reshape(-1, 4, 3, 2)
    assert_same_answers(
        to_onnx, small(DropoutCNNClassifier, data_format="channels_last").fit(X, y), X
    )


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("Est", RECURRENT)
def test_cells_through_skl2onnx(Est, cell, bidirectional, to_onnx):
    """Sequences of numbers, padded or not, and padded ones of tokens, in two layers."""
    options = {"cell": cell, "bidirectional": bidirectional, "recurrent_dropout_rate": 0.1}
    X, y = problem(Est, n_features=12)
    X = X.astype(np.float32).reshape(-1, 4, 3)
    est = small(Est, **options, hidden_layer_sizes=(5, 3))
    assert_same_answers(to_onnx, est.fit(X, y), X)
    for mask_value in (-1.1, np.nan):
        padded = np.concatenate([X, X[::-1]], axis=1)
        padded[::3, 3:] = padded[1::3, :2] = mask_value
        assert_same_answers(to_onnx, est.set_params(mask_value=mask_value).fit(padded, y), padded)
    tokens, y = sentences()
    est = small(Est, **options, **TOKENS | {"hidden_layer_sizes": (5, 3)}).fit(tokens, y)
    for dtype in (np.int64, np.float32):
        assert_same_answers(to_onnx, est, tokens.astype(dtype))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_simple_recurrent_units_through_skl2onnx(activation, to_onnx):
    X, y = sentences()
    est = small(
        DropoutRNNClassifier, cell="rnn", activation=activation, bidirectional=True, **TOKENS
    ).fit(X, y)
    if activation in ("selu", "gelu", "silu"):
        with pytest.raises(NotImplementedError, match=r"Recurrent \w+ units cannot be converted"):
            to_onnx(est, X[:1])
    else:
        assert_same_answers(to_onnx, est, X)


@pytest.mark.parametrize("Est", CLASSIFIERS)
def test_skl2onnx_gives_the_label_types(Est, to_onnx):
    X, _ = problem(Est)
    X = X.astype(np.float32)
    for y in (X[:, 0] > 0, np.where(X[:, 0] > 0, 7, -3), np.where(X[:, 0] > 0, "b", "a")):
        est = small(Est).fit(X, y)
        graph = to_onnx(est, X[:1], options={"zipmap": True})
        labels, probabilities = session(graph.SerializeToString()).run(None, {"X": X})
        np.testing.assert_array_equal(labels, est.predict(X))
        assert set(probabilities[0]) == set(est.classes_.tolist())


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("Est", CLASSIFIERS)
def test_multilabel_through_skl2onnx(Est, n_labels, to_onnx):
    X, _ = problem(Est)
    X = X.astype(np.float32)
    est = small(Est).fit(X, (X[:, :n_labels] > 0).astype(int))
    assert_same_answers(to_onnx, est, X)


def test_skl2onnx_refuses_layers_it_does_not_know(to_onnx, monkeypatch):
    X, y = problem(DropoutMLPClassifier)
    est = small(DropoutMLPClassifier, activation="tanh").fit(X, y)
    monkeypatch.delitem(sys.modules["sklearn_dropout.onnx.graph"]._OPERATORS, torch.nn.Tanh)
    with pytest.raises(NotImplementedError, match="Tanh layers cannot be converted"):
        to_onnx(est, X[:1].astype(np.float32))


def test_registration_without_skl2onnx(monkeypatch):
    from sklearn_dropout.onnx import register

    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"sklearn-dropout\[onnx\]"):
        register()
