"""What a user fits: perceptrons, convolutional and recurrent networks.

Imports `fit`, `checks`, `uncertainty`, both engines and `dropout`.
"""
