"""Dropout layers, networks and their training, in PyTorch alone."""

from .blocks import DropBlock1d, DropBlock2d, DropBlock3d
from .concrete import ConcreteDropout
from .layers import (
    Dropout,
    FeatureGroupDropout,
    SpatialDropout1d,
    SpatialDropout2d,
    SpatialDropout3d,
    VariationalDropout,
)
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
