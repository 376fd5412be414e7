"""How the errors of a trained network hang together: measured in the end, on what it was never trained on."""

import numpy as np

from hardmo_jax.array_types import Float

#: Batches from this number on are never trained on: errors are measured on them.
FIRST_BATCH = 10_000_000
#: Errors beyond this many spreads count as this many: a few lost people would make all look lost.
_FARTHEST_ERROR = 3.5


def error_precision(errors: list[Float[np.ndarray, "_ P"]], shrinkage: float) -> Float[np.ndarray, "P P"]:
    """Inverse covariance of errors over their predicted spreads.

    Args:
        errors: Of batches of people, in spreads.
        shrinkage: Share of the covariance that is taken for independent.
    """
    scaled = np.clip(np.concatenate(errors), -_FARTHEST_ERROR, _FARTHEST_ERROR)
    covariance = scaled.T @ scaled / len(scaled)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
    return np.linalg.inv(covariance).astype(np.float32)
