"""The focal length of one camera from the people it saw: perspective, told by how well bodies can be fitted.

A near person has large near limbs and small far ones; how large and how small depends on the distance, and the
distance on the focal length. So people are fitted under a ladder of focal lengths, and where their fits are best on the
whole is the lens. One person tells little (a long arm looks like a near one), many tell enough, and people who are far
away for their size tell nothing: all of them look alike under every lens.
"""

import dataclasses

import numpy as np

from hardmo_jax.array_types import AnyArray, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER, lift_and_fit
from hardmo_jax.recovery.starts import StartOptions

#: Focal lengths that are tried, over the assumed one. Before the diagonal of a picture, these are the widest lenses of
#: action cameras (10 mm before 35 mm film) to portrait lenses (105 mm).
SCALES = tuple(float(scale) for scale in np.geomspace(0.23, 2.4, 10))
#: Estimates that differ by more when people are drawn anew (standard deviation of the logarithm) determine nothing.
MAX_LOG_SPREAD = 0.35
#: People farther than this (metres, on the whole) tell nothing: they look alike under every lens, and what differs is
#: how well the lifter knows people of that size; it was trained from 2.5 to 9 metres.
MAX_DISTANCE = 9.0
#: Groups of people below which resampling says nothing.
MIN_GROUPS = 4
_MAX_PEOPLE = 64
#: Share of people left out on either side of the mean, at every focal length.
_TRIMMED = 0.1
_NUM_RESAMPLED = 200
#: Costs are compared, so every fit has to come to its end, also where the lens moves people far from their start.
_PATIENT = dataclasses.replace(
    FROM_LIFTER, refine=tuple(dataclasses.replace(stage, iterations=30) for stage in FROM_LIFTER.refine)
)
_UNUSABLE = (FitStatus.NONFINITE, FitStatus.NO_EVIDENCE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolvedFocalLength:
    """A focal length, and whether it is known at all."""

    scale: float
    """Focal length over the assumed one; 1 where it is not determined."""
    is_determined: bool
    reason: str
    """Why it is not; empty where it is."""
    estimate: float
    """The scale under which fits are best, determined or not; 1 if nobody could be fitted."""
    log_spread: float
    """Standard deviation of the estimate's logarithm when people are drawn anew; infinite with fewer groups of them
    than `MIN_GROUPS`. What all people have in common, such as a detector's habits, it does not show."""
    distance: float
    """Median distance of people under the best focal length that was tried, metres; NaN if nobody could be fitted."""
    num_people: int
    """People who were fitted under every focal length."""
    scales: Float[np.ndarray, "L"]
    """Focal lengths that were tried, over the assumed one."""
    costs: Float[np.ndarray, "L"]
    """Trimmed mean of the people's costs, each without its own mean over all focal lengths; zeros without people."""


def solve_focal_length(
    body: BodyModel,
    observations: Observations,
    *,
    groups: Int[np.ndarray, "N"] | None = None,
    options: FitOptions | None = None,
    trained: TrainedLifter | None = None,
) -> SolvedFocalLength:
    """Find the focal length of a camera that saw all of these people.

    At most 64 people are fitted, evenly picked from the larger half: perspective shows on near people. Their costs are
    those of `lift_and_fit` from the lifter's first guess.

    Args:
        body: Whole body.
        observations: 2D keypoints of N people (one batch axis), in the order in which they were seen, and a camera with
            the assumed focal length, the same for all. 3D keypoints are not used.
        groups: People of one number depend on each other, as frames of a person within a second do: for the spread they
            are drawn together. None takes everybody for independent.
        options: How people are fitted; None takes `lift_and_fit.FROM_LIFTER` with more iterations.
        trained: None takes the lifter of the package.

    Returns:
        The focal length, or the assumed one if it is not determined: too few groups, a spread above
        `MAX_LOG_SPREAD`, people beyond `MAX_DISTANCE`, or fits that are best at an end of the ladder.

    Raises:
        ObservationError: If there are no 2D keypoints, no camera, several batch axes, or several focal lengths.
        ValueError: If `groups` is not one number a person.

    Notes:
        Measured on synthetic dancers and fighters of the open body, with a preliminary lifter, lenses of 0.35 to 0.9 of
        the diagonal; root mean square errors of those that are determined. 64 people from 2 to 8 metres: 4 to 5 %
        without noise, 4 to 7 % with `DetectorNoise()`. Clips of one person (6 seconds, errors correlated in time): 10
        to 12 %, at most 22 %, and up to a quarter of the clips are not determined.

        The spread is about the error to expect, as far as these people are like real ones: the shapes of real people,
        lenses that distort, and detectors with habits of their own are not in it. Beyond 9 metres lenses seemed shorter
        than they were by a seventh, beyond 20 metres by half, with a small spread. The tests of this
        module print such errors.
    """
    assumed = _assumed_focal_length(observations)
    count = observations.batch_shape[0]
    if groups is not None and np.shape(groups) != (count,):
        raise ValueError(f"`groups` must hold one number for each of {count} people, got shape {np.shape(groups)}")
    groups = np.arange(count) if groups is None else np.asarray(groups)
    scales = np.array(SCALES)
    picked = _near_people(observations)
    costs, depths = _fits(body, observations, picked, scales[:, None] * assumed, options or _PATIENT, trained)
    is_usable = np.isfinite(costs).all(0)
    costs, depths, groups = costs[:, is_usable], depths[:, is_usable], groups[picked][is_usable]
    if not costs.size:
        return SolvedFocalLength(
            scale=1.0, is_determined=False, reason="nobody can be fitted", estimate=1.0, log_spread=np.inf,
            distance=np.nan, num_people=0, scales=scales, costs=np.zeros(len(scales)),
        )  # fmt: skip
    typical = _typical(costs)
    estimate = _least(scales, typical)
    log_spread = _log_spread(scales, costs, groups)
    distance = float(np.median(depths[np.argmin(typical)]))
    reason = ""
    if len(np.unique(groups)) < MIN_GROUPS:
        reason = f"{len(np.unique(groups))} people or seconds are too few, {MIN_GROUPS} are needed"
    elif np.argmin(typical) in (0, len(scales) - 1):
        reason = f"people fit best beyond {scales[0]:.2g} to {scales[-1]:.2g} times the assumed focal length"
    elif distance > MAX_DISTANCE:
        reason = f"people are too far away to tell, {distance:.0f} m and not {MAX_DISTANCE:.0f} m at most"
    elif log_spread > MAX_LOG_SPREAD:
        reason = f"people disagree by {100 * log_spread:.0f} % about it, more than {100 * MAX_LOG_SPREAD:.0f} %"
    return SolvedFocalLength(
        scale=1.0 if reason else estimate,
        is_determined=not reason,
        reason=reason,
        estimate=estimate,
        log_spread=log_spread,
        distance=distance,
        num_people=costs.shape[1],
        scales=scales,
        costs=typical,
    )


def _assumed_focal_length(observations: Observations) -> Float[np.ndarray, "2"]:
    """The focal length that all people share."""
    if observations.keypoints_2d is None or observations.camera is None:
        raise ObservationError("a focal length is solved from `keypoints_2d` and a `camera` with the assumed one")
    if len(observations.batch_shape) != 1:
        raise ObservationError(
            f"people of one camera have one batch axis, got batch shape {observations.batch_shape}; flatten it"
        )
    given = np.asarray(observations.camera.focal_length, np.float64).reshape(-1, 2)
    if np.ptp(given, axis=0).max(initial=0) > 1e-3 * given.max(initial=1):
        raise ObservationError(
            f"people of one camera have one focal length, got {given.min():.1f} to {given.max():.1f} pixels; "
            "solve each camera by itself"
        )
    return given[0] if len(given) else np.ones(2)


def _near_people(observations: Observations) -> Int[np.ndarray, "M"]:
    """Rows of people who are large in the picture, evenly over all such, in their order."""
    points = np.asarray(observations.keypoints_2d, np.float64)
    is_seen = np.asarray(np.isfinite(points).all(-1))
    if observations.confidence is not None:
        is_seen &= np.nan_to_num(np.asarray(observations.confidence)) > 0
    low = np.where(is_seen[..., None], points, np.inf).min(1)
    high = np.where(is_seen[..., None], points, -np.inf).max(1)
    side = np.where(is_seen.any(1), (high - low).max(-1), 0)
    kept = min(max(_MAX_PEOPLE, (len(side) + 1) // 2), len(side))
    largest = np.sort(np.argsort(-side, kind="stable")[:kept])
    return largest[np.linspace(0, kept - 1, min(kept, _MAX_PEOPLE)).round().astype(int)]


def _fits(
    body: BodyModel,
    observations: Observations,
    people: Int[np.ndarray, "M"],
    focal_lengths: Float[np.ndarray, "L 2"],
    options: FitOptions,
    trained: TrainedLifter | None,
) -> tuple[Float[np.ndarray, "L M"], Float[np.ndarray, "L M"]]:
    """Final cost of each person's fit under each focal length, NaN where there was none, and distances in metres."""
    steps, count = len(focal_lengths), len(people)
    if not count or observations.camera is None:
        return np.zeros((steps, 0)), np.zeros((steps, 0))

    def tiled(value: AnyArray | None) -> np.ndarray | None:
        if value is None:
            return None
        rows = np.asarray(value)[people]
        return np.broadcast_to(rows, (steps, *rows.shape)).reshape(-1, *rows.shape[1:])

    middle = np.broadcast_to(np.asarray(observations.camera.principal_point), (observations.batch_shape[0], 2))
    tried = dataclasses.replace(
        observations,
        keypoints_2d=tiled(observations.keypoints_2d),
        confidence=tiled(observations.confidence),
        keypoints_3d=None,
        confidence_3d=None,
        bbox=tiled(observations.bbox),
        camera=Camera(
            focal_length=np.repeat(focal_lengths, count, axis=0).astype(np.float32),
            principal_point=np.tile(middle[people], (steps, 1)).astype(np.float32),
        ),
    )
    fits = lift_and_fit(body, tried, start=StartOptions(second_look=False), options=options, trained=trained).result
    costs = np.asarray(fits.loss_history, np.float64)[:, -1]
    costs = np.where(np.isin(np.asarray(fits.status), _UNUSABLE), np.nan, costs)
    depths = np.asarray(fits.params.transl, np.float64)[:, 2]
    return costs.reshape(steps, count), depths.reshape(steps, count)


def _typical(costs: Float[np.ndarray, "L N"]) -> Float[np.ndarray, "L"]:
    """Costs of people on the whole. Who fits badly under every lens, or well under a strange one, has no say."""
    own = np.sort(costs - costs.mean(0), axis=1)
    left_out = int(_TRIMMED * own.shape[1])
    return own[:, left_out : own.shape[1] - left_out].mean(1)


def _least(scales: Float[np.ndarray, "L"], costs: Float[np.ndarray, "L"]) -> float:
    """Scale of the least cost, by a parabola through the three lowest steps of the ladder, even in the logarithm."""
    at = int(np.argmin(costs))
    if at in (0, len(scales) - 1):
        return float(scales[at])
    before, least, after = costs[at - 1 : at + 2]
    bend = before - 2 * least + after
    step = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(scales[at] * (scales[at + 1] / scales[at]) ** step)


def _log_spread(scales: Float[np.ndarray, "L"], costs: Float[np.ndarray, "L N"], groups: Int[np.ndarray, "N"]) -> float:
    """Standard deviation of the estimate's logarithm over resampled groups of people."""
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    if len(members) < MIN_GROUPS:
        return np.inf
    rng = np.random.default_rng(0)
    draws = rng.integers(len(members), size=(_NUM_RESAMPLED, len(members)))
    estimates = [_least(scales, _typical(costs[:, np.concatenate([members[k] for k in draw])])) for draw in draws]
    return float(np.std(np.log(estimates)))
