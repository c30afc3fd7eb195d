"""What samples of predictions say about a prediction.

NumPy in, NumPy out: imports nothing of this package.
"""
