"""From the arguments of `fit` to a trained network, whichever engine trains it.

Data and held-out rows, epochs with their records and scores, the rule for stopping, callbacks.
Imports `checks`, both engines and `dropout`.
"""
