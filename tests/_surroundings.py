"""What lies outside of the package and is to be left as found."""

import random

import numpy as np
import torch


def flushes_denormals():
    return float(torch.tensor(1e-30, dtype=torch.float32) * 1e-10) == 0.0


def surroundings():
    numpy_state = np.random.get_state()  # noqa: NPY002
    return {
        "numpy": (numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]),
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "dtype": torch.get_default_dtype(),
        "device": str(torch.get_default_device()),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "denormals": flushes_denormals(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "errors": np.geterr(),
    }
