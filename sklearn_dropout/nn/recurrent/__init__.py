"""Recurrent layers with dropout: cells, their explicit gradient, sequences of variable length.

Imports the rest of `nn` and `dropout`.
"""
