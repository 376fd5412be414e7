"""Labels of uneven times on an even grid of frames: at which rate, where each lies, and what is between them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body.params import BodyParams
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.labels.schema import LabelRow

#: Fields of `BodyParams` that are no rotations.
_NOT_ROTATIONS = ("betas", "transl", "expression")
#: A label so near to a frame of the grid, in frames, is that frame: nothing is mixed.
_ON_GRID = 0.05
#: Longer steps between labels, in frames, say nothing of the rate: somebody was away.
_LONGEST_STEP = 10
#: A stated rate is believed if no label lies farther from its grid, in frames: rounded times do not.
_FAR_FROM_GRID = 0.2
#: Rates of cameras and captures, frames/s, and how far a text of seven digits may be from one.
_USUAL_RATES = (24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 48.0, 50.0, 60000 / 1001, 60.0, 90.0, 100.0, 120.0, 240.0)
_ROUNDED = 2e-5
#: More frames than this are no motion but a number that is wrong: four hours at 60 frames/s.
_MOST_FRAMES = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameGrid:
    """Frames of a scene."""

    frames_per_second: float | None
    """None for a single frame whose labels state no rate."""
    places: Float[np.ndarray, "N"]
    """Of each label, in frames since the first one."""

    @property
    def num_frames(self) -> int:
        """Frames from the first to the last label."""
        return int(nearest_frames(self.places).max()) + 1


def grid_of_labels(rows: Sequence[LabelRow], *, frames_per_second: float | None, name: str) -> FrameGrid:
    """The even grid that labels of one video lie nearest to.

    Its rate is that of the labels' own times, so that a video which stalls once is not slowed down everywhere; the
    stated rate where times agree with it, and where there are none.

    Args:
        rows: Of one video or photo, one at least.
        frames_per_second: Rate of labels that state none.
        name: Of the scene, for messages.

    Raises:
        ExportError: If several frames have no rate, or labels lie further apart than any video is long.
    """
    rates = sorted(row.fps for row in rows if row.fps is not None)
    stated = rates[len(rates) // 2] if rates else None
    indices = np.array([row.frame_index for row in rows], np.float64)
    seconds = np.array([np.nan if row.time_seconds is None else row.time_seconds for row in rows], np.float64)
    if np.isfinite(seconds).all() and len(np.unique(seconds)) > 1:
        seconds = seconds - seconds.min()
        rate = _rate_of_times(np.unique(seconds), stated)
        places = seconds * rate
    else:
        rate = stated or frames_per_second
        steps = np.diff(np.unique(indices))
        # With every fifth frame labelled, `fps` is that of the labels.
        places = (indices - indices.min()) / (steps.min() if len(steps) and stated is not None else 1.0)
    if places.max() >= 0.5 and rate is None:
        raise ExportError(
            f"{name}: labels of several frames without a frame rate; give it as --fps, for example --fps=30"
        )
    if places.max() > _MOST_FRAMES:
        raise ExportError(
            f"{name}: labels lie {places.max():.0f} frames apart, and a motion has {_MOST_FRAMES} at most; a frame "
            "number or time among them is wrong"
        )
    return FrameGrid(frames_per_second=rate, places=places)


def _rate_of_times(seconds: Float[np.ndarray, "M"], stated: float | None) -> float:
    steps = np.diff(seconds)
    usual = np.median(steps)
    counts = np.maximum(nearest_frames(steps / usual), 1)
    is_short = counts <= _LONGEST_STEP
    found = float(counts[is_short].sum() / steps[is_short].sum())
    if stated is not None:
        places = seconds * stated
        if np.abs(places - nearest_frames(places)).max() <= _FAR_FROM_GRID and 0.5 < stated / found < 2:
            return stated
    return found


def usual_rate(frames_per_second: float) -> float:
    """The usual rate that a rounded text means: `Frame Time: 0.0083334` is 120 frames/s and not 119.999.

    Args:
        frames_per_second: As a file states it; one that is near to no usual rate is kept.
    """
    for usual in _USUAL_RATES:
        if abs(frames_per_second / usual - 1) < _ROUNDED:
            return usual
    return frames_per_second


def nearest_frames(places: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Frames of the grid that places are nearest to; halves go up, always."""
    return np.floor(np.asarray(places) + 0.5).astype(np.int64)


def resampled(
    params: BodyParams, places: Float[np.ndarray, "N"], wanted: Int[np.ndarray, "T"]
) -> tuple[BodyParams, Bool[np.ndarray, "T"]]:
    """Parameters at frames of a grid: those of the label that is there, or between both of its neighbours.

    Args:
        params: One row a label.
        places: Of the labels, rising.
        wanted: Frames, from the one nearest to the first label to that nearest to the last.

    Returns:
        Parameters, rotations between labels along the shortest way; and whether a label is within half a frame.
    """
    at = np.clip(wanted, places[0], places[-1])
    after = np.clip(np.searchsorted(places, at), 1, max(len(places) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(places) - 1)
    nearest = np.where(np.abs(places[before] - wanted) <= np.abs(places[after] - wanted), before, after)
    apart = np.abs(places[nearest] - wanted)
    is_label = (apart < _ON_GRID) | (at != wanted)
    span = np.where(after > before, places[after] - places[before], 1.0)
    share = np.where(is_label, 0.0, (at - places[before]) / span)
    first = np.where(is_label, nearest, before)
    filled = {}
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if value is None:
            continue
        value = np.asarray(value)
        whole = value[first].astype(np.float32)
        mixed = np.flatnonzero(~is_label)
        if len(mixed):
            if field.name in _NOT_ROTATIONS:
                whole[mixed] = _between(value, before[mixed], share[mixed])
            else:
                whole[mixed] = _turned_between(value, places, at[mixed])
        filled[field.name] = whole
    return dataclasses.replace(params, **filled), apart <= 0.5 + 1e-9


def _between(
    values: Float[np.ndarray, "N *shape"], before: Int[np.ndarray, "M"], share: Float[np.ndarray, "M"]
) -> Float[np.ndarray, "M *shape"]:
    share = share.reshape(-1, *(1,) * (values.ndim - 1))
    return values[before] * (1 - share) + values[before + 1] * share


def _turned_between(
    values: Float[np.ndarray, "N *shape"], places: Float[np.ndarray, "N"], at: Float[np.ndarray, "M"]
) -> Float[np.ndarray, "M *shape"]:
    joints = values.reshape(len(values), -1, 3)
    turned = [Slerp(places, Rotation.from_rotvec(joints[:, joint]))(at).as_rotvec() for joint in range(joints.shape[1])]
    return np.stack(turned, axis=1).reshape(len(at), *values.shape[1:])
