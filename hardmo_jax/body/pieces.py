"""Many people at once, a few hundred at a time: posed meshes of thousands do not fit into memory."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hardmo_jax.body.params import BodyParams

_PEOPLE_AT_ONCE = 256


def in_pieces(model: Callable[[BodyParams], Any], params: BodyParams) -> Any:
    """What a model gives for a batch of people, as NumPy arrays.

    The last piece is padded, so that one program is compiled whatever the number of people.

    Args:
        model: A pytree that is called with parameters: a body, or a model of its keypoints.
        params: People along one batch axis.

    Returns:
        The outputs, people first.
    """
    count = params.batch_shape[0]
    pieces = []
    for first in range(0, max(count, 1), _PEOPLE_AT_ONCE):
        rows = np.minimum(np.arange(first, first + _PEOPLE_AT_ONCE), max(count - 1, 0))
        some = jax.tree.map(lambda leaf, at=rows: np.asarray(leaf)[at], params)
        pieces.append(jax.tree.map(np.asarray, _called(model, some)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *pieces)


@jax.jit
def _called(model: Callable[[BodyParams], Any], params: BodyParams) -> Any:
    return model(params)
