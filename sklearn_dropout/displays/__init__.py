"""Pictures of training, of rates and of overfitting.

The topmost room: may import all others.
"""
