"""People who do not depend on each other are fitted some at a time, frames of one person in windows: as many as there
is memory for.
"""

import dataclasses
import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from hardmo_jax.fitting.fit_motion import MotionOptions

_Fit = TypeVar("_Fit")
_LOG = logging.getLogger(__name__)
#: How XLA says that a device has no memory left.
_EXHAUSTED = "RESOURCE_EXHAUSTED"
#: Frames of the shortest window that a track is cut into for want of memory: pieces of fewer are filled up to it.
SHORTEST_WINDOW = 8
#: What to do where nothing smaller is left to try.
_ADVICE = "end other programs that use the device, or set JAX_PLATFORMS=cpu"


class FitMemoryError(RuntimeError):
    """There is not memory enough to fit one person, or the shortest window of one person's track."""


def _is_exhausted(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or _EXHAUSTED in str(error)


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
            if not _is_exhausted(error):
                raise
            if end - first == 1:
                raise FitMemoryError(f"there is not enough memory to fit one person; {_ADVICE}") from error
            size = math.ceil((end - first) / 2)
            _LOG.warning("not enough memory to fit %d people at a time; trying %d", end - first, size)
            continue
        pieces.append(piece)
        first = end
        report(first)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


def fit_in_windows(options: MotionOptions, fit_track: Callable[[MotionOptions], _Fit]) -> tuple[_Fit, MotionOptions]:
    """The fit of one person's track, in windows that fit into memory.

    Where they do not, the track is fitted anew in windows of half as many frames. Frames near the end of a window know
    fewer neighbours, so that labels differ a little: whoever asks is to say so of a track whose windows became shorter.

    Args:
        options: How frames are tied together, in the windows that are asked for.
        fit_track: Gives the fit by such options.

    Returns:
        The fit, and the options that it was made by.

    Raises:
        FitMemoryError: If there is not enough for windows of `SHORTEST_WINDOW` frames.
    """
    while True:
        try:
            return fit_track(options), options
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not _is_exhausted(error):
                raise
            frames = options.window_frames
            if frames <= SHORTEST_WINDOW:
                raise FitMemoryError(
                    f"there is not enough memory to fit {frames} frames of one person together; {_ADVICE}"
                ) from error
            half = max(frames // 2, SHORTEST_WINDOW)
            _LOG.warning("not enough memory to fit %d frames of a track together; trying %d", frames, half)
            options = dataclasses.replace(
                options, window_frames=half, overlap_frames=min(options.overlap_frames, half // 4)
            )
