"""The operators of an ONNX graph, and the conversion of each layer to them."""

import numpy as np
from torch import nn

from ..nn.layers import DropoutLayer, Exp, Mean
from ..nn.module import Samples
from ..nn.noise import GaussianNoise
from ..nn.recurrent.module import RecurrentLayers
from .recurrent import add_recurrent

# Layers without parameters: their operator in ONNX and its attributes.
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


class Graph:
    """Operators in sequence, each with the result of the last one as its input.

    Parameters
    ----------
    scope, container : of skl2onnx
    name : str
        Of the inputs.

    Attributes
    ----------
    last : str
        Name of the last result.
    """

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

    def add(self, operator, *others, output=None, n_outputs=1, **attributes):
        """Append an operator on the last result and others.

        Parameters
        ----------
        operator : str
        *others : str
            Names of its further inputs.
        output : str, default=None
            Name of its result; by default a new one.
        n_outputs : int, default=1
            Number of its results; `last` is the first of them.
        **attributes

        Returns
        -------
        outputs : list of str
        """
        names = [self.scope.get_unique_variable_name("dropout_network") for _ in range(n_outputs)]
        names[0] = output or names[0]
        self.container.add_node(
            operator,
            [self.last, *others],
            names,
            op_domain="",
            op_version=_OPSET,
            name=self.scope.get_unique_operator_name(operator),
            **attributes,
        )
        self.last = names[0]
        return names

    def cast(self, kind, **options):
        """Append a change of type, to the name of one of ``onnx.TensorProto``."""
        from onnx import TensorProto

        return self.add("Cast", to=getattr(TensorProto, kind), **options)

    def add_layer(self, layer):
        """Append a layer of a `module_`."""
        start = self.last
        if isinstance(layer, nn.Sequential):
            for part in layer:
                self.add_layer(part)
        elif isinstance(layer, (nn.Identity, DropoutLayer, GaussianNoise)):
            pass
        elif isinstance(layer, Mean):
            self.add("Split", axis=1, n_outputs=2)
        elif isinstance(layer, Samples):
            self.add_samples(layer)
        elif isinstance(layer, RecurrentLayers):
            add_recurrent(self, layer)
        elif isinstance(layer, nn.Linear):
            self.add("Gemm", *self.parameters(layer), transB=1)
        elif isinstance(layer, (nn.Conv2d, nn.Conv3d)):
            pads = [*layer.padding, *layer.padding]
            self.add("Conv", *self.parameters(layer), pads=pads)
        elif isinstance(layer, (nn.ConstantPad2d, nn.ConstantPad3d)):
            before, behind = layer.padding[-2::-2], layer.padding[::-2]
            self.add("Pad", self.constant([0, 0, *before, 0, 0, *behind]))
        elif isinstance(layer, (nn.MaxPool2d, nn.MaxPool3d)):
            size = list(layer.kernel_size)
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

    def add_samples(self, layer):
        """Append the reshaping of rows to samples, with the channels first."""
        channels, *positions = layer.shape
        if not layer.channels_last:
            self.add("Reshape", self.constant([-1, channels, *positions]))
            return
        self.add("Reshape", self.constant([-1, *positions, channels]))
        last = len(layer.shape)
        self.add("Transpose", perm=[0, last, *range(1, last)])

    def parameters(self, layer):
        """Names of a layer's weights and biases in the graph."""
        return [self.constant(p.detach().numpy()) for p in (layer.weight, layer.bias)]
