"""Dropout layers, networks and their training, in PyTorch, NumPy and SciPy.

Imports `dropout`.
"""

from .concrete import ConcreteDropout
from .feature_maps import (
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    SpatialDropout1d,
    SpatialDropout2d,
    SpatialDropout3d,
)
from .layers import Dropout, FeatureGroupDropout, VariationalDropout
from .noise import AlphaDropout, GaussianDropout, GaussianNoise

__all__ = [
    "AlphaDropout",
    "ConcreteDropout",
    "DropBlock1d",
    "DropBlock2d",
    "DropBlock3d",
    "Dropout",
    "FeatureGroupDropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1d",
    "SpatialDropout2d",
    "SpatialDropout3d",
    "VariationalDropout",
]
