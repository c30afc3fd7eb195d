"""Checks of parameters and data, before any work is done.

`validation` alone imports private names of scikit-learn. Imports `nn` and `dropout`.
"""
