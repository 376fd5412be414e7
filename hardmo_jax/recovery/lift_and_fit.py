"""Bodies of people from one picture each: the lifter says where to start, fits run side by side, a ranker chooses.

2D keypoints leave depth, twist and tilt open, and the fit with the smallest image error is often not the right one. So
every fit is drawn to what the lifter expects as far as the lifter is certain (`fitting.guess`), and which of several
fits is taken is learnt (`networks.ranker`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Bool, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import evidence, priors
from hardmo_jax.fitting.fit import fit
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.fitting.stages import FitOptions, PartWeights, Stage
from hardmo_jax.geometry import rotations
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.networks.ranker import FEATURES, Ranker, packaged_ranker
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.recovery import lift as lifting
from hardmo_jax.recovery import starts as starting
from hardmo_jax.recovery.flow_prior import FlowPrior, guess_beside
from hardmo_jax.recovery.lift import seen_by_the_fit
from hardmo_jax.recovery.regressor_start import RegressorStart, with_lifted
from hardmo_jax.recovery.starts import StartOptions, Starts
from hardmo_jax.skeleton import layouts

#: Scale of image errors in the ranker's features, box sides.
_MISFIT_SCALE = 0.05
_LEAST = 1e-6
#: Points farther than this from the fit, in box sides, are filled in for the second look, with this confidence.
_TRUSTED, _FILLED_CONFIDENCE = 0.04, 0.7
#: A second look is taken unless its error in the picture is larger by more than this factor and this much.
_LOOSER, _LOOSER_BY = 1.15, 0.005
#: A fit from a regressor's answer is taken unless its error in the picture is larger by more than this.
_MUCH_LOOSER, _MUCH_LOOSER_BY = 1.5, 0.05

#: A fit from the lifter's guess: near the goal from the first step, so one stage is enough. Chosen on the validation
#: split. The guess knows hands and shapes already, so that the priors over them would count twice.
FROM_LIFTER = FitOptions(
    prior="mixture",
    explore=(Stage(iterations=1),),
    refine=(
        Stage(
            iterations=5, hands=0.5, pose_prior=0.5, hand_prior=0.0, shape_prior=0.25, guess=0.9, robust_scale=0.25,
            converged_below=1e-3,
        ),
    ),
    keypoints_2d_spread=0.008,
    part_weights=PartWeights(hips=0.7, face=0.7, feet=0.8, hands=1.2),
)  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Hypotheses:
    """All fits of people. Fits that somebody does not have repeat the first one, with probability zero."""

    params: BodyParams
    """Batch axes, then hypotheses; camera frame."""
    probability: Float[AnyArray, "*batch H"]
    """Of each fit to be the one to take, by the ranker."""
    status: Int[AnyArray, "*batch H"]
    """`FitStatus` of each."""
    body_error: Float[AnyArray, "*batch H"]
    """Median distance of confident body keypoints, box sides."""
    chosen: Int[AnyArray, "*batch"]
    """The one that was taken."""
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Recovered:
    """People and everything else that they might be."""

    result: FitResult
    """The fits that were taken."""
    keypoint_order: Int[AnyArray, "*batch K"]
    """Which measured keypoint was taken for each point of the layout: others than its own where left and right were
    taken for exchanged."""
    hypotheses: Hypotheses | None
    """None without a lifter."""
    is_from_lifter: Bool[AnyArray, "*batch"] | None = None
    """Where a regressor was asked, whose fit starts from the lifter's guess all the same, without the regressor's
    density: it said nothing, or the fit from its answer explains the keypoints much worse than that from the guess.
    None where none was asked."""


def check_stages(start: StartOptions, options: FitOptions) -> None:
    """Refuse the stages of a fit from the lifter for starts that know nothing.

    Raises:
        ValueError: If both are given together.
    """
    if start.kind == "headings" and options.refine == FROM_LIFTER.refine:
        raise ValueError(
            "starts of kind `headings` begin at rest and need stages for that: take configs/normal.py:headings, or "
            "`FitOptions()`, instead of the one stage that begins at the lifter's guess"
        )


def lift_and_fit(
    body: BodyModel,
    observations: Observations,
    *,
    start: StartOptions | None = None,
    options: FitOptions | None = None,
    regressed: RegressorStart | None = None,
    prior: FlowPrior | None = None,
    trained: TrainedLifter | None = None,
    ranker: Ranker | None = None,
) -> Recovered:
    """Recover bodies of people from their keypoints.

    Args:
        body: Model with landmarks, see `hm.fit`.
        observations: 2D keypoints with a camera, 3D keypoints beside them or not; of any layout with both sides.
        start: Where fits start; None takes the lifter's first guess alone.
        options: How they are fitted; None takes `FROM_LIFTER`, and the defaults of `hm.fit` for headings.
        regressed: What a regressor says of N people along one batch axis, from which fits start in place of the
            lifter's first guess. There is no second look then, which would ask the lifter again.
        prior: The density of poses of the same network for the same people, which takes the place of the usual prior
            and of the pull to the start.
        trained: None takes the lifter of the package.
        ranker: None takes that of the package.

    Returns:
        Parameters, status and errors with the batch axes of the observations, and all hypotheses.

    Raises:
        ObservationError: As `hm.fit`, and if a lifter is to work without 2D keypoints.
    """
    evidence.flatten(observations)  # what is wrong is refused before it is changed
    start = start or StartOptions()
    count_points = len(layouts.get_layout(observations.layout))
    batch = observations.batch_shape
    if start.kind == "headings":
        result = fit(body, observations, options=options)
        straight = np.broadcast_to(np.arange(count_points), (*batch, count_points))
        return Recovered(result=result, keypoint_order=straight, hypotheses=None)
    options = options or FROM_LIFTER
    flat = seen_by_the_fit(_flat(observations), options.min_confidence)
    count = flat.batch_shape[0]
    if count == 0:
        raise ObservationError("the batch is empty: there is nobody to fit")
    starts = starting.make_starts(body, flat, start.hypotheses, trained=trained)
    if regressed is not None:
        if start.hypotheses != ("guess_1",) or len(regressed.is_usable) != count:
            raise ObservationError(
                f"a regressor's answers stand in for the lifter's first guess, one a person: got "
                f"{len(regressed.is_usable)} for {count} people and hypotheses {start.hypotheses}"
            )
        fits, is_from_lifter = _fit_from_regressor(body, flat, regressed, prior, starts.guess, options)
    elif prior is not None:
        raise ObservationError("`prior` is that of a regressor, and needs its answers as `regressed`")
    else:
        fits, is_from_lifter = fit(body, starting.reread(flat, starts), options=options, initial=starts.guess), None
    fits = jax.tree.map(np.asarray, fits)
    rows = hypothesis_rows(starts, count)
    chosen, probability = np.zeros(count, np.int64), np.ones((count, 1))
    if len(start.hypotheses) > 1:
        features, context = ranker_features(flat, starts, fits, rows)
        probability = (ranker or packaged_ranker())(features, context, start.hypotheses, rows >= 0)
        is_usable = np.isin(fits.status[np.maximum(rows, 0)], (FitStatus.DIVERGED, FitStatus.NONFINITE), invert=True)
        # A fit that failed is taken only where all have.
        chosen = np.argmax(np.where(is_usable & (rows >= 0), probability, probability - 2), -1)
    first = rows[:, start.hypotheses.index("guess_1")]
    filled = np.where(rows >= 0, rows, first[:, None])
    taken = filled[np.arange(count), chosen]

    def shaped(leaf: np.ndarray) -> np.ndarray:
        return np.asarray(leaf).reshape((*batch, *np.shape(leaf)[1:]))

    result = jax.tree.map(lambda leaf: leaf[taken], fits)
    every = jax.tree.map(lambda leaf: leaf[filled], (fits.params, fits.status, fits.error_by_part["body"]))
    if start.second_look and regressed is None:
        read = starting.read_as(flat, np.arange(count), starts.order[taken])
        result = _second_look(body, read, result, options, trained)
        # The fit that was taken is among the hypotheses as it was taken, and wherever it is repeated.
        is_taken, own = filled == taken[:, None], (result.params, result.status, result.error_by_part["body"])
        every = jax.tree.map(lambda old, new: np.where(_like(is_taken, old), new[:, None], old), every, own)
    result = jax.tree.map(shaped, result)
    params, status, body_error = jax.tree.map(shaped, every)
    hypotheses = Hypotheses(
        params=params,
        probability=shaped(probability),
        status=status,
        body_error=body_error,
        chosen=shaped(chosen),
        names=start.hypotheses,
    )
    return Recovered(
        result=result,
        keypoint_order=shaped(starts.order[taken]),
        hypotheses=hypotheses,
        is_from_lifter=None if is_from_lifter is None else shaped(is_from_lifter),
    )


def _fit_from_regressor(
    body: BodyModel,
    observations: Observations,
    regressed: RegressorStart,
    prior: FlowPrior | None,
    lifted: Guess,
    options: FitOptions,
) -> tuple[FitResult, Bool[np.ndarray, "N"]]:
    """Fits from a regressor's answers, and from the lifter's guess where these lead nowhere; and where that is.

    The lifter's are made for everybody, as a network that looked at the wrong person leads a fit somewhere too. Errors
    in the picture cannot tell which of two good ones is right, but tell one that is far worse.
    """
    begin, density = with_lifted(regressed, lifted), None
    if prior is not None:
        begin, density = guess_beside(prior, begin, body), prior.density
    fits = jax.tree.map(np.asarray, fit(body, observations, options=options, initial=begin, pose_density=density))
    others = jax.tree.map(np.asarray, fit(body, observations, options=options, initial=lifted))
    failed = (FitStatus.DIVERGED, FitStatus.NONFINITE)
    own, lifters = (_image_misfit(observations, each) for each in (fits, others))
    is_worse = (own > _MUCH_LOOSER * lifters + _MUCH_LOOSER_BY) & np.isin(others.status, failed, invert=True)
    from_lifter = np.isin(fits.status, failed) | is_worse | ~regressed.is_usable
    return jax.tree.map(lambda new, old: np.where(_like(from_lifter, old), new, old), others, fits), from_lifter


def _second_look(
    body: BodyModel, observations: Observations, result: FitResult, options: FitOptions, trained: TrainedLifter | None
) -> FitResult:
    """Fits from what the lifter says once outliers and gaps are filled in, where these overlap the picture as well.

    Costs of the two do not compare, as each pays for leaving a guess of its own. The error in the picture does: wrong
    points that were filled in cannot talk a fit away from what was measured.
    """
    measured, confidence = np.asarray(observations.keypoints_2d), np.nan_to_num(_confidence(observations))
    fitted = np.asarray(result.keypoints_2d)
    apart = np.linalg.norm(np.nan_to_num(fitted - measured, nan=np.inf), axis=-1)
    side = _box_sides(observations, confidence)
    is_trusted = (confidence > 0) & (apart < _TRUSTED * side[:, None])
    can_fill = np.isfinite(fitted).all(-1)
    filled = dataclasses.replace(
        observations,
        keypoints_2d=np.where(np.expand_dims(is_trusted | ~can_fill, -1), measured, fitted),
        confidence=np.where(is_trusted, confidence, np.where(can_fill, _FILLED_CONFIDENCE, confidence)),
    )
    lifted, precision = lifting.lift(body, filled, trained=trained)
    again = fit(body, observations, options=options, initial=lifting.guess_of(lifted, precision))
    again = jax.tree.map(np.asarray, again)
    failed = (FitStatus.DIVERGED, FitStatus.NONFINITE)
    before, after = (_image_misfit(observations, fits) for fits in (result, again))
    is_taken = np.isin(again.status, failed, invert=True) & (after <= _LOOSER * before + _LOOSER_BY)
    is_taken |= np.isin(result.status, failed)
    return jax.tree.map(lambda new, old: np.where(_like(is_taken, new), new, old), again, result)


def _image_misfit(observations: Observations, fits: FitResult) -> Float[np.ndarray, "N"]:
    """Mean robust error of the keypoints, 0 to 1, weighted by squared confidence."""
    robust, weight = _robust_errors(observations, fits)
    return (robust * weight).sum(-1) / np.maximum(weight.sum(-1), _LEAST)


def _robust_errors(
    observations: Observations, fits: FitResult
) -> tuple[Float[np.ndarray, "N K"], Float[np.ndarray, "N K"]]:
    """Geman-McClure function of each keypoint's error, 0 to 1, and its weight."""
    measured, confidence = np.asarray(observations.keypoints_2d), _confidence(observations)
    fitted = np.asarray(fits.keypoints_2d)
    is_number = np.isfinite(measured).all(-1) & np.isfinite(fitted).all(-1)
    weight = np.where(is_number, np.nan_to_num(confidence), 0) ** 2
    apart = np.where(is_number, np.linalg.norm(np.nan_to_num(fitted - measured), axis=-1), 0)
    squared = np.square(apart / _box_sides(observations, confidence)[:, None] / _MISFIT_SCALE)
    return squared / (1 + squared), weight


def ranker_features(
    observations: Observations, starts: Starts, fits: FitResult, rows: Int[np.ndarray, "N H"]
) -> tuple[Float[np.ndarray, "N H F"], Float[np.ndarray, "N C"]]:
    """What the ranker is told of each fit, and of each person.

    Args:
        observations: Of N people.
        starts: Their starts.
        fits: Of the starts, as NumPy.
        rows: Start of each person and hypothesis; -1 for none.
    """
    own = starting.reread(observations, starts)
    layout = layouts.get_layout(observations.layout)
    parts = evidence.parts_of(layout)
    robust, weight = _robust_errors(own, fits)

    def misfit(is_part: Bool[np.ndarray, "K"]) -> Float[np.ndarray, "S"]:
        mass = (weight * is_part).sum(-1)
        return np.log(((robust * weight * is_part).sum(-1) + _LEAST) / (mass + _LEAST) + _LEAST)

    is_body = parts == "body"
    is_end = np.isin(parts, ("left_foot", "right_foot", "left_hand", "right_hand"))
    expected = jax.tree.map(lambda leaf: np.asarray(leaf)[starts.person], starts.expected)
    turn = _angles(np.asarray(fits.params.global_orient), np.asarray(expected.global_orient))
    difference = np.asarray(fits.params.body_pose) - np.asarray(expected.body_pose)
    pose = np.linalg.norm(difference, axis=-1).mean(-1)
    usual = priors.pose_prior(_body_joints(fits.params))
    overstep = np.maximum(fits.params.body_pose - usual.high, usual.low - fits.params.body_pose).max((-1, -2))
    spread = np.asarray(starts.guess.spread)
    body_spread = spread[:, _pose_entries(fits.params)].reshape(difference.shape)
    bent = np.asarray(fits.params.body_pose) - np.asarray(starts.guess.params.body_pose)
    turned = _angles(np.asarray(fits.params.global_orient), np.asarray(starts.guess.params.global_orient))
    strain = np.square(bent / body_spread).mean((-1, -2)) + np.square(turned / spread[:, 3:6].mean(-1))
    cost = np.log(np.maximum(np.nan_to_num(fits.loss_history[:, -1], nan=1e6, posinf=1e6), _LEAST))
    columns = [
        misfit(is_body), misfit(is_end), cost, turn, pose, starts.log_weight, starts.uncertainty[:, 0],
        starts.uncertainty[:, 1], np.abs(np.asarray(fits.params.betas)).max(-1, initial=0), np.maximum(overstep, 0),
        np.log1p(strain),
    ]  # fmt: skip
    features = np.nan_to_num(np.stack(columns, -1), nan=0.0, posinf=1e3, neginf=-1e3)[np.maximum(rows, 0)]
    if features.shape[-1] != len(FEATURES):
        raise ValueError(f"{features.shape[-1]} features, the ranker reads {len(FEATURES)}")
    seen = np.nan_to_num(_confidence(observations)) > 0
    focal_length = np.broadcast_to(np.asarray(observations.camera.focal_length), (len(seen), 2))  # pyright: ignore[reportOptionalMemberAccess]
    size = np.log(_box_sides(observations, _confidence(observations)) / focal_length.mean(-1))
    context = np.stack([(seen & is_body).sum(-1), (seen & is_end).sum(-1), size], -1)
    return features, context.astype(np.float64)


def _pose_entries(params: BodyParams) -> slice:
    """Entries of `body_pose` in the vector of a fit."""
    first = 6 + np.shape(params.betas)[-1]
    return slice(first, first + 3 * np.shape(params.body_pose)[-2])


def _like(is_taken: Bool[np.ndarray, "*batch"], array: np.ndarray) -> Bool[np.ndarray, "..."]:
    """A mask with axes for everything that one entry holds."""
    return is_taken.reshape(*is_taken.shape, *[1] * (array.ndim - is_taken.ndim))


def hypothesis_rows(starts: Starts, count: int) -> Int[np.ndarray, "N H"]:
    """Start of each person and hypothesis; -1 for none."""
    rows = np.full((count, len(starts.names)), -1)
    rows[starts.person, starts.hypothesis] = np.arange(len(starts.person))
    return rows


def _flat(observations: Observations) -> Observations:
    """One batch axis, everything per person."""
    batch = observations.batch_shape
    count = int(np.prod(batch, dtype=int))

    def rows(width: tuple[int, ...]) -> Callable[[Any], Any]:
        def flattened(value: Any) -> Any:
            if value is None:
                return None
            try:
                return np.broadcast_to(value, (*batch, *width)).reshape(count, *width)
            except ValueError:
                raise ObservationError(
                    f"an array of observations of shape {np.shape(value)} does not fit the batch axes {batch} with "
                    f"{width} a person"
                ) from None

        return flattened

    points = len(layouts.get_layout(observations.layout))
    if observations.keypoints_2d is None or observations.camera is None:
        raise ObservationError(
            "a lifter needs `keypoints_2d` and `camera`; starts of kind `headings` fit 3D keypoints alone"
        )
    return dataclasses.replace(
        observations,
        keypoints_2d=rows((points, 2))(observations.keypoints_2d),
        confidence=rows((points,))(observations.confidence),
        keypoints_3d=rows((points, 3))(observations.keypoints_3d),
        confidence_3d=rows((points,))(observations.confidence_3d),
        bbox=rows((4,))(observations.bbox),
        camera=jax.tree.map(rows((2,)), observations.camera),
    )


def _confidence(observations: Observations) -> np.ndarray:
    if observations.confidence is None:
        return np.ones(np.asarray(observations.keypoints_2d).shape[:-1])
    return np.asarray(observations.confidence)


def _box_sides(observations: Observations, confidence: np.ndarray) -> Float[np.ndarray, "N"]:
    """Longer side of each person's box, pixels."""
    if observations.bbox is not None:
        box = np.asarray(observations.bbox)
        return np.maximum((box[:, 2:] - box[:, :2]).max(-1), 1.0)
    points = np.asarray(observations.keypoints_2d)
    seen = (confidence > 0) & np.isfinite(points).all(-1)
    low = np.where(seen[..., None], points, np.inf).min(1)
    high = np.where(seen[..., None], points, -np.inf).max(1)
    side = (high - low).max(-1)
    return np.where(np.isfinite(side), np.maximum(side, 1.0), 1.0)


def _angles(first: Float[np.ndarray, "S 3"], second: Float[np.ndarray, "S 3"]) -> Float[np.ndarray, "S"]:
    """Angles between rotations, radians."""
    turns = [np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(value))) for value in (first, second)]
    trace = np.einsum("sij,sij->s", *turns)
    return np.arccos(np.clip(0.5 * (trace - 1), -1, 1))


def _body_joints(params: BodyParams) -> tuple[str, ...]:
    """Names of the root and the joints of `body_pose`."""
    return layouts.SMPL_JOINTS[: 1 + np.shape(params.body_pose)[-2]]
