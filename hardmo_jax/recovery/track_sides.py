"""Frames of a track in which a detector took left for right, found by what the rest of the track says.

In one picture an exchange of sides is a matter of taste; in a track it is a jump. Each frame may be read as it is, with
both sides exchanged, or with the legs exchanged; the reading that the guess of the track explains best is taken, with
a price on exchanges and on changes of mind (Viterbi, "Error bounds for convolutional codes", 1967). Where limbs cross
all readings explain the frame, and it stays as it is.
"""

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.observations import Observations
from hardmo_jax.skeleton import flips, layouts
from hardmo_jax.skeleton.layouts import KeypointLayout

#: Distance of a keypoint from the guess that costs half a unit, in sides of the person, and the most that one costs.
_SPREAD, _MOST = 0.04, 4.0
#: Cost of an exchange in a frame, and of reading a frame in another way than the one before.
_EXCHANGE, _CHANGE = 8.0, 1.0


def settle_sides(body: BodyModel, observations: Observations, guess: BodyParams) -> Int[np.ndarray, "T K"]:
    """Which measured keypoint to take for each point of the layout, frame by frame.

    Args:
        body: With the points of the layout, or some of them.
        observations: Of T frames of one person; 2D keypoints with one camera a frame.
        guess: Bodies of the track, made of all frames.
    """
    layout = layouts.get_layout(observations.layout)
    return cheapest_readings(layout, reading_costs(body, observations, guess))


def cheapest_readings(layout: KeypointLayout, cost: Float[np.ndarray, "T R"]) -> Int[np.ndarray, "T K"]:
    """Which measured keypoint to take for each point of the layout, by what the readings of a whole track cost."""
    return _readings(layout).astype(np.int16)[_cheapest_path(cost)]


def _readings(layout: KeypointLayout) -> Int[np.ndarray, "R K"]:
    return np.stack([np.arange(len(layout)), flips.flip_permutation(layout), flips.leg_permutation(layout)])


def reading_costs(body: BodyModel, observations: Observations, guess: BodyParams) -> Float[np.ndarray, "T R"]:
    """How badly each reading of each frame fits to the guess, with the price of an exchange.

    Args:
        body: As of `settle_sides`, and the next two.
        observations: Likewise.
        guess: Likewise.
    """
    layout = layouts.get_layout(observations.layout)
    readings = _readings(layout)
    measured = np.asarray(observations.keypoints_2d, np.float64)
    confidence = observations.confidence
    confidence = np.ones(measured.shape[:2]) if confidence is None else np.nan_to_num(np.asarray(confidence))
    model, is_supported = landmarks.point_model(body, layout)
    expected = project_in_pieces(model, observations.camera, guess)[1].astype(np.float64)
    # Fingers are many and near each other: wrists tell as much.
    counts = np.array([(layouts.part_of(point) or "hand").endswith("hand") for point in layout.points])
    counts = ~counts & is_supported & (readings[1] != np.arange(len(layout)))
    low, high = (function(expected[:, is_supported], axis=1) for function in (np.min, np.max))
    side = np.maximum((high - low).max(-1), 1.0)
    costs = []
    for reading in readings:
        apart = np.linalg.norm(measured[:, reading] - expected, axis=-1) / (_SPREAD * side[:, None])
        is_known = np.isfinite(apart) & counts & (confidence[:, reading] > 0)
        squared = np.where(is_known, np.square(np.where(is_known, apart, 0)), 0)
        cost = 0.5 * squared / (1 + 0.5 * squared / _MOST)
        costs.append((confidence[:, reading] * cost * counts).sum(-1))
    return np.stack(costs, -1) + np.array([0.0, _EXCHANGE, _EXCHANGE])


def _cheapest_path(cost: Float[np.ndarray, "T S"]) -> Int[np.ndarray, "T"]:
    """State of each frame so that costs and `_CHANGE` for every change add up to the least."""
    num_frames, num_states = cost.shape
    change = _CHANGE * (1 - np.eye(num_states))
    total, came_from = cost[0], np.zeros(cost.shape, np.int64)
    for frame in range(1, num_frames):
        way = total[:, None] + change
        came_from[frame] = way.argmin(0)
        total = way.min(0) + cost[frame]
    path = np.zeros(num_frames, np.int64)
    path[-1] = total.argmin()
    for frame in range(num_frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path
