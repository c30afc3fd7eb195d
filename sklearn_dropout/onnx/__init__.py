"""Pipelines that end in a network, as ONNX graphs.

Imports `estimators` and `nn`; needs the packages of the extra ``onnx``.
"""

from .converters import register

__all__ = ["register"]
