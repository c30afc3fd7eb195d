"""Pipelines that end in a network, as ONNX graphs: converters for skl2onnx.

Needs the packages of the extra ``onnx``. A network alone needs no converter:
``torch.onnx.export`` takes `module_`.
"""

import numpy as np
from torch import nn

from ._base import DropoutNetwork
from ._module import Samples
from .nn._layers import Exp, _Dropout

# Layers without numbers: their operator in ONNX and its attributes.
_OPERATORS = {
    nn.ReLU: "Relu",
    nn.Sigmoid: "Sigmoid",
    nn.Tanh: "Tanh",
    nn.ELU: "Elu",
    nn.SELU: "Selu",
    nn.Softmax: "Softmax",
    nn.Flatten: "Flatten",
    Exp: "Exp",
}
_ATTRIBUTES = {nn.Softmax: {"axis": -1}}
_OPSET = 13


def register():
    """Let skl2onnx convert the estimators of this package, alone or in a ``Pipeline``.

    Graphs compute in float32, whatever the inputs, and contain no dropout. Perceptrons and
    convolutional networks are converted; recurrent networks and multilabel targets are refused
    with an error.

    Raises
    ------
    ImportError
        Where skl2onnx is not installed.

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
        from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    except ImportError as error:
        raise ImportError(
            f"{error}. Converters need skl2onnx: pip install 'sklearn-dropout[onnx]'."
        ) from error
    for kind in _estimators():
        if hasattr(kind, "predict_proba"):
            update_registered_converter(
                kind,
                f"SklearnDropout{kind.__name__}",
                calculate_linear_classifier_output_shapes,
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
    return [kind for kind in public if isinstance(kind, type) and issubclass(kind, DropoutNetwork)]


class _Graph:
    """Operators added one after the other, each taking what the last one gives."""

    def __init__(self, scope, container, name):
        self.scope = scope
        self.container = container
        self.last = name

    def constant(self, array):
        """Name of an array in the graph, as int64, float32 or strings."""
        from onnx import TensorProto

        array = np.asarray(array)
        kinds = {"i": TensorProto.INT64, "f": TensorProto.FLOAT, "U": TensorProto.STRING}
        values = array.ravel().tolist()
        if array.dtype.kind == "U":
            values = [value.encode() for value in values]
        name = self.scope.get_unique_variable_name("dropout_constant")
        self.container.add_initializer(name, kinds[array.dtype.kind], list(array.shape), values)
        return name

    def add(self, operator, *others, output=None, domain="", **attributes):
        """Append an operator on the last result and others; its result may be given a name."""
        output = output or self.scope.get_unique_variable_name("dropout_network")
        self.container.add_node(
            operator,
            [self.last, *others],
            [output],
            op_domain=domain,
            op_version=_OPSET if domain == "" else 1,
            name=self.scope.get_unique_operator_name(operator),
            **attributes,
        )
        self.last = output

    def add_layer(self, layer):
        """Append a layer of a `module_`."""
        start = self.last
        if isinstance(layer, nn.Sequential):
            for part in layer:
                self.add_layer(part)
        elif isinstance(layer, (nn.Identity, nn.Dropout, _Dropout)):
            pass
        elif isinstance(layer, Samples):
            self.add("Reshape", self.constant([-1, *layer.shape]))
        elif isinstance(layer, nn.Linear):
            self.add("Gemm", *self._parameters(layer), transB=1)
        elif isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            pads = [*layer.padding, *layer.padding]
            self.add("Conv", *self._parameters(layer), pads=pads)
        elif isinstance(layer, (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)):
            before, behind = layer.padding[::-2], layer.padding[-2::-2]
            self.add("Pad", self.constant([0, 0, *behind, 0, 0, *before]))
        elif isinstance(layer, (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)):
            size = list(np.atleast_1d(layer.kernel_size))
            self.add("MaxPool", kernel_shape=size, strides=size)
        elif isinstance(layer, nn.SiLU):
            self.add("Sigmoid")
            self.add("Mul", start)
        elif isinstance(layer, nn.GELU):  # x / 2 * (1 + erf(x / sqrt 2))
            self.add("Mul", self.constant(np.sqrt(0.5)))
            self.add("Erf")
            self.add("Add", self.constant(1.0))
            self.add("Mul", start)
            self.add("Mul", self.constant(0.5))
        elif type(layer) in _OPERATORS:
            self.add(_OPERATORS[type(layer)], **_ATTRIBUTES.get(type(layer), {}))
        else:
            raise NotImplementedError(
                f"{type(layer).__name__} layers cannot be converted for skl2onnx. Export the "
                "network alone with torch.onnx.export and `module_`."
            )

    def _parameters(self, layer):
        return [self.constant(p.detach().numpy()) for p in (layer.weight, layer.bias)]


def _add_network(scope, operator, container):
    """The graph of `module_`, on inputs as float32."""
    from onnx import TensorProto

    graph = _Graph(scope, container, operator.inputs[0].full_name)
    graph.add("Cast", to=TensorProto.FLOAT)
    graph.add_layer(operator.raw_operator.module_)
    return graph


def _shape_of_regression(operator):
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes

    calculate_linear_regressor_output_shapes(operator)
    operator.outputs[0].type.shape[1] = operator.raw_operator.n_outputs_


def _convert_regressor(scope, operator, container):
    graph = _add_network(scope, operator, container)
    graph.add("Cast", to=_type(operator.outputs[0]), output=operator.outputs[0].full_name)


def _convert_classifier(scope, operator, container):
    """Probabilities of all classes, and the label of the highest."""
    from onnx import TensorProto

    estimator, (label, probabilities) = operator.raw_operator, operator.outputs
    if estimator._multilabel:
        raise NotImplementedError(
            "Multilabel targets cannot be converted for skl2onnx. Export the network alone with "
            "torch.onnx.export and `module_`."
        )
    graph = _add_network(scope, operator, container)
    if len(estimator.classes_) == 2:  # the network speaks of the second class only
        second = graph.last
        graph.add("Neg")
        graph.add("Add", graph.constant(1.0))
        graph.add("Concat", second, axis=1)
    highest = graph.last
    graph.add("Cast", to=_type(probabilities), output=probabilities.full_name)
    graph.last = highest
    graph.add("ArgMax", axis=1, keepdims=0)
    classes = estimator.classes_
    text = classes.dtype.kind in "OU"
    names = graph.constant(classes.astype(str) if text else classes.astype(np.int64))
    places, graph.last = graph.last, names
    graph.add("Gather", places, axis=0)
    kind = TensorProto.STRING if text else TensorProto.INT64
    graph.add("Cast", to=kind, output=label.full_name)


def _type(variable):
    """Number of a variable's element type in ONNX."""
    from skl2onnx.common.data_types import guess_proto_type

    return guess_proto_type(variable.type)
