"""People who do not depend on each other are fitted some at a time: as many as there is memory for."""

import logging
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

_LOG = logging.getLogger(__name__)
#: How XLA says that a device has no memory left.
_EXHAUSTED = "RESOURCE_EXHAUSTED"


class FitMemoryError(RuntimeError):
    """There is not memory enough to fit one person."""


def fit_in_pieces(
    count: int,
    most: int,
    fit_some: Callable[[int, int], Any],
    report: Callable[[int], None] = lambda done: None,
) -> Any:
    """Results of all people, from pieces that fit into memory.

    A piece that does not is halved and tried again, and what follows comes in pieces of that size. Labels do not depend
    on it: nobody's fit knows of anybody else.

    Args:
        count: People.
        most: Of a piece, while there is memory.
        fit_some: Given the first person and the one behind the last, gives a pytree of arrays with people along the
            first axis.
        report: Told how many are done.

    Returns:
        The same of all people, as NumPy arrays.

    Raises:
        FitMemoryError: If there is not enough for one person.
    """
    # Pieces of one size: another size would be another program to compile.
    size = math.ceil(count / math.ceil(count / most))
    pieces, first = [], 0
    while first < count:
        end = min(first + size, count)
        try:
            piece = jax.tree.map(np.asarray, fit_some(first, end))
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and _EXHAUSTED not in str(error):
                raise
            if end - first == 1:
                raise FitMemoryError(
                    "there is not enough memory to fit one person; end other programs that use the device, or set "
                    "JAX_PLATFORMS=cpu"
                ) from error
            size = math.ceil((end - first) / 2)
            _LOG.warning("not enough memory to fit %d people at a time; trying %d", end - first, size)
            continue
        pieces.append(piece)
        first = end
        report(first)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
