"""Pipelines that end in a network, as ONNX graphs: converters for skl2onnx.

Needs the packages of the extra ``onnx``. A network alone needs no converter:
``torch.onnx.export`` takes `module_`.
"""

import numpy as np

from ..estimators.base import DropoutNetwork
from ..estimators.ensemble_family import Ensemble
from .graph import Graph


def register():
    """Let skl2onnx convert the estimators of this package, alone or in a ``Pipeline``.

    Graphs compute in float32, whatever the inputs, and contain no dropout. Labels are strings or
    integers. For multilabel targets pass ``options={"zipmap": False}``, as for scikit-learn's
    estimators. Convert the `best_estimator_` of a search.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dropout import DropoutMLPClassifier
    >>> from sklearn_dropout.onnx import register
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DropoutMLPClassifier((16,), random_state=0).fit(X, y)
    >>> register()  # doctest: +SKIP
    >>> from skl2onnx import to_onnx  # doctest: +SKIP
    >>> graph = to_onnx(clf, X[:1].astype(np.float32))  # doctest: +SKIP
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError(
            f"{error}. Converters need skl2onnx: pip install 'sklearn-dropout[onnx]'."
        ) from error
    for kind in _estimators():
        if hasattr(kind, "predict_proba"):
            update_registered_converter(
                kind,
                f"SklearnDropout{kind.__name__}",
                _shapes_of_classification,
                _convert_classifier,
                options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
            )
        else:
            update_registered_converter(
                kind,
                f"SklearnDropout{kind.__name__}",
                _shape_of_regression,
                _convert_regressor,
            )


def _estimators():
    import sklearn_dropout

    public = [getattr(sklearn_dropout, name) for name in sklearn_dropout.__all__]
    ours = (DropoutNetwork, Ensemble)
    return [kind for kind in public if isinstance(kind, type) and issubclass(kind, ours)]


def _add_network(scope, operator, container):
    """The graph of `module_`, on inputs as float32; for an ensemble, the mean of such graphs."""
    graph, estimator = Graph(scope, container, operator.inputs[0].full_name), operator.raw_operator
    graph.cast("FLOAT")
    if not isinstance(estimator, Ensemble):
        graph.add_layer(estimator.module_)
        return graph
    inputs, answers = graph.last, []
    for member in estimator.estimators_:
        if not isinstance(member, DropoutNetwork):
            raise NotImplementedError(
                "An ensemble of pipelines cannot be converted. Put the steps before the ensemble, "
                "in one pipeline."
            )
        graph.last = inputs
        graph.add_layer(member.module_)
        answers.append(graph.last)
    graph.add("Sum", *answers[:-1])
    graph.add("Mul", graph.constant(np.float32(1 / len(answers))))
    return graph


def _shape_of_regression(operator):
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes

    calculate_linear_regressor_output_shapes(operator)
    estimator = operator.raw_operator
    network = estimator.estimators_[0] if isinstance(estimator, Ensemble) else estimator
    operator.outputs[0].type.shape[1] = network.n_outputs_


def _shapes_of_classification(operator):
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    calculate_linear_classifier_output_shapes(operator)
    estimator = operator.raw_operator
    if estimator._multilabel:
        shape = [operator.inputs[0].get_first_dimension(), len(estimator.classes_)]
        for output in operator.outputs:
            output.type.shape = list(shape)


def _convert_regressor(scope, operator, container):
    graph = _add_network(scope, operator, container)
    graph.add("Cast", to=_type(operator.outputs[0]), output=operator.outputs[0].full_name)


def _convert_classifier(scope, operator, container):
    """Probabilities of all classes, and the label of the highest."""
    estimator, (label, probabilities) = operator.raw_operator, operator.outputs
    graph = _add_network(scope, operator, container)
    if len(estimator.classes_) == 2 and not estimator._multilabel:
        second = graph.last  # the network gives the probability of the second class
        graph.add("Neg")
        graph.add("Add", graph.constant(1.0))
        graph.add("Concat", second, axis=1)
    answer = graph.last
    graph.add("Cast", to=_type(probabilities), output=probabilities.full_name)
    graph.last = answer
    if estimator._multilabel:
        graph.add("Greater", graph.constant(0.5))
        graph.cast("INT64", output=label.full_name)
        return
    graph.add("ArgMax", axis=1, keepdims=0)
    classes = estimator.classes_
    text = classes.dtype.kind in "OU"
    names = graph.constant(classes.astype(str) if text else classes.astype(np.int64))
    places, graph.last = graph.last, names
    graph.add("Gather", places, axis=0)
    graph.cast("STRING" if text else "INT64", output=label.full_name)


def _type(variable):
    """Number of a variable's element type in ONNX."""
    from skl2onnx.common.data_types import guess_proto_type

    return guess_proto_type(variable.type)
