"""What speaks against each foot and hand of a label.

Every part is solved anew from what was seen of it with the rest of the label held (`fitting.limb_ends`), and the body
is recovered anew from what was seen of all of it (a second opinion, which its caller brings). How far the label is from
both, how much better they explain the picture, and how much there was to see are features of a small network that says
how probably the part is wrong (`networks.part_scorer`).

All features but counts and flags are compressed: angles by their root, costs and errors by their logarithm.
"""

import dataclasses

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.fitting import limb_ends, variables
from hardmo_jax.fitting.evidence import SEEN
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.limb_ends import BodyFrames, LimbEndOptions, LimbEndPrior, LimbEnds
from hardmo_jax.fitting.pose_mixture import nearest
from hardmo_jax.hardcase.fingers import chosen_fingers, finger_joints
from hardmo_jax.labels import schema
from hardmo_jax.networks.part_scorer import FEATURES, PartScorer
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.skeleton import layouts

#: Reasons why a part is thought wrong, the one that speaks loudest.
REASONS = schema.PART_REASONS
#: Points beyond the ankle or wrist that must be seen for a part to be repaired.
LEAST_POINTS = {"foot": 2, "hand": 4}
#: Values from which a reason counts as one, and of which multiples are compared: error in box sides, degrees, standard
#: deviations, nats.
_LOUD = {"points_elsewhere": 0.02, "turned_otherwise": 20.0, "unlike_the_rest": 2.0, "unusual_pose": 8.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondOpinion:
    """What keypoints alone say of the N people of the labels."""

    guess: Guess
    """Of the lifter."""
    params: BodyParams
    """Fitted from there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartScores:
    """One part of N people."""

    part: str
    wrong: Float[np.ndarray, "N"]
    """Probability that it is wrong."""
    reason: tuple[str, ...]
    """One of `REASONS`."""
    image_error: Float[np.ndarray, "N"]
    """Weighted mean distance of its points from where they were seen, box sides; NaN if none was."""
    refit_image_error: Float[np.ndarray, "N"]
    """The same of the part solved anew."""
    direction_degrees: Float[np.ndarray, "N"]
    """Angle in the picture between seen and labelled direction, heel to toes or wrist to middle knuckle; NaN if not
    seen."""
    turn_degrees: Float[np.ndarray, "N"]
    """From the label's ankle or wrist to the one solved anew."""
    disagreement_degrees: Float[np.ndarray, "N"]
    """From the label's ankle or wrist to that of the second opinion."""
    cost_drop: Float[np.ndarray, "N"]
    """By how much solving anew lowers the cost, in units of half a squared standard deviation."""
    implausibility: Float[np.ndarray, "N"]
    """Negative logarithm of the prior's density, its maximum being 0."""
    evidence: Float[np.ndarray, "N"]
    """Sum of the confidences of its points."""
    seen_points: Float[np.ndarray, "N"]
    """Points of it that were seen, the ankle or wrist among them."""
    own_points: Float[np.ndarray, "N"]
    """Of these, those that turn with it."""
    refit: Float[np.ndarray, "N E"]
    """Axis-angle of its joints solved anew (`limb_ends.joints_of`)."""
    features: Float[np.ndarray, "N F"]
    """As the network takes them."""
    fingers: Float[np.ndarray, "N J 3"] | None = None
    """Axis-angle of the finger joints of a hand solved anew (`fingers.finger_joints`); None without any."""

    @property
    def is_repairable(self) -> np.ndarray:
        """Whether enough of it was seen."""
        return self.own_points >= LEAST_POINTS[self.part.split("_")[-1]]


def observed_box_side(observations: Observations, min_confidence: float = SEEN) -> Float[np.ndarray, "N"]:
    """Longer side of the box around the keypoints of each person, pixels."""
    points = np.asarray(observations.keypoints_2d, np.float64)
    confidence = observations.confidence
    confidence = np.ones(points.shape[:2]) if confidence is None else np.nan_to_num(np.asarray(confidence))
    is_seen = (confidence >= min_confidence) & np.isfinite(points).all(-1)
    low = np.where(is_seen[..., None], points, np.inf).min(1)
    high = np.where(is_seen[..., None], points, -np.inf).max(1)
    return np.where(is_seen.any(1), (high - low).max(-1), 1.0).clip(1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledPeople:
    """N people of labels, with what all of their parts are scored by."""

    body: BodyModel
    observations: Observations
    frames: BodyFrames
    """Of the labels."""
    other_frames: BodyFrames
    """Of the second opinion."""
    guess: Guess
    """Of the lifter."""
    box_side: Float[np.ndarray, "N"]
    """Longer side of the box around what was seen, pixels."""
    body_error: Float[np.ndarray, "N"]
    """Median distance of the body's points from where they were seen, box sides; 0 if none was."""


def labelled_people(
    body: BodyModel, observations: Observations, params: BodyParams, second: SecondOpinion
) -> LabelledPeople:
    """People whose parts are to be scored.

    Args:
        body: Model with landmarks.
        observations: What was seen of them.
        params: Of the labels.
        second: Second opinion on them.

    Raises:
        ObservationError: Without 2D keypoints or camera.
    """
    if observations.keypoints_2d is None or observations.camera is None:
        raise ObservationError("feet and hands are scored by `keypoints_2d` and `camera`")
    frames, other_frames = (
        limb_ends.body_frames(body, observations.layout, values) for values in (params, second.params)
    )
    box_side = observed_box_side(observations)
    return LabelledPeople(
        body=body,
        observations=observations,
        frames=frames,
        other_frames=other_frames,
        guess=second.guess,
        box_side=box_side,
        body_error=_body_error(frames, observations, box_side),
    )


def score_part(people: LabelledPeople, part: str, *, scorer: PartScorer | None, options: LimbEndOptions) -> PartScores:
    """Score one part of N people.

    Args:
        people: Their labels, and what was seen of them.
        part: One of `limb_ends.LIMB_ENDS`.
        scorer: None gives probabilities of NaN: the scorer is about to be trained.
        options: Of the solve.

    Raises:
        ObservationError: As `limb_ends.limb_ends`.
    """
    body, observations = people.body, people.observations
    frames, other_frames = people.frames, people.other_frames
    base = body.joint_names.index(limb_ends.joints_of(part)[0])
    guess, spread = _expected(body, people.guess, part)
    ends = limb_ends.limb_ends(
        body, observations, frames, part, guess=guess, spread=spread, box_side=people.box_side, options=options
    )
    prior = limb_ends.limb_end_prior(body, part)
    pose = np.asarray(ends.pose)
    solved = jax.tree.map(
        np.asarray, limb_ends.solve_in_pieces(ends, prior, np.stack([pose, guess.astype(pose.dtype)]), options=options)
    )
    refit = solved.pose
    weight = np.asarray(ends.weight, np.float64)
    errors, refit_errors = (_mean_error(ends, values, weight) for values in (pose, refit))
    other = other_frames.full_pose[:, base]
    turn, disagreement, to_guess = (_degrees(pose[:, :3], values) for values in (refit[:, :3], other, guess[:, :3]))
    global_turn = degrees_between(frames.rotations[:, base], other_frames.rotations[:, base])
    direction, ratio, has_direction = _direction(ends, pose, part, observations.layout)
    unlikely, refit_unlikely = (_implausibility(prior, values) for values in (pose, refit))
    from_guess, refit_from_guess = (_from_guess(ends, values) for values in (pose, refit))
    drop = np.maximum(solved.start_cost - solved.cost, 0).astype(np.float64)
    seen = (weight > 0).sum(1).astype(np.float64)
    points = limb_ends.limb_end_layout(part, layouts.get_layout(observations.layout))[0].points
    own = (weight > 0)[:, [layouts.part_of(point) == part for point in points]].sum(1).astype(np.float64)
    features = {
        "cost_drop": np.log1p(drop),
        "turn_to_refit": np.sqrt(turn),
        "image_error": np.log(np.nan_to_num(errors) + 1e-3),
        "refit_image_error": np.log(np.nan_to_num(refit_errors) + 1e-3),
        "from_guess": np.log(from_guess + 0.1),
        "refit_from_guess": np.log(refit_from_guess + 0.1),
        "implausibility": np.log1p(unlikely),
        "refit_implausibility": np.log1p(refit_unlikely),
        "evidence": weight.sum(1),
        "seen_points": seen,
        "turn_to_second_opinion": np.sqrt(disagreement),
        "global_turn_to_second_opinion": np.sqrt(global_turn),
        "body_error": np.log(people.body_error + 1e-3),
        "direction": np.sqrt(np.nan_to_num(direction)),
        "length_ratio": np.nan_to_num(ratio),
        "has_direction": has_direction.astype(np.float64),
        "guess_spread": np.log(spread[:, :3].mean(1)),
        "refit_cost": np.log1p(np.maximum(solved.cost, 0)),
        "turn_to_guess": np.sqrt(to_guess),
    }
    fingers, joints = None, finger_joints(body, part)
    if joints:
        other_ends = limb_ends.limb_ends(
            body, observations, other_frames, part, box_side=people.box_side, options=options
        )
        on_fingers = np.array([limb_ends.is_on_finger(point) for point in points])
        fingers = chosen_fingers(ends, other_ends, frames, other_frames, refit, joints=joints, on_fingers=on_fingers)
    table = np.stack([features[name] for name in FEATURES], -1).astype(np.float64)
    wrong = np.full(len(pose), np.nan) if scorer is None else scorer(part.split("_")[-1], table)
    scores = PartScores(
        part=part, wrong=wrong, reason=(), image_error=errors, refit_image_error=refit_errors,
        direction_degrees=direction, turn_degrees=turn, disagreement_degrees=disagreement, cost_drop=drop,
        implausibility=unlikely, evidence=weight.sum(1), seen_points=seen, own_points=own, refit=refit, features=table,
        fingers=fingers,
    )  # fmt: skip
    return dataclasses.replace(scores, reason=_reasons(scores, from_guess))


def _reasons(scores: PartScores, from_guess: Float[np.ndarray, "N"]) -> tuple[str, ...]:
    """What speaks loudest against each part."""
    values = {
        "points_elsewhere": np.nan_to_num(scores.image_error),
        "turned_otherwise": np.nan_to_num(scores.direction_degrees),
        "unlike_the_rest": from_guess,
        "unusual_pose": scores.implausibility,
    }
    loudness = np.stack([values[name] / limit for name, limit in _LOUD.items()], -1)
    found = np.array(list(_LOUD))[loudness.argmax(-1)]
    # What is thought wrong has a reason, however quiet.
    speaks = (loudness.max(-1) >= 1) | (np.nan_to_num(scores.wrong) >= 0.5)
    found = np.where(speaks, found, "none")
    return tuple(np.where(scores.is_repairable, found, "unrepairable").tolist())


def _expected(body: BodyModel, guess: Guess, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pose of a part by a guess of the whole body, and its spread."""
    names = limb_ends.joints_of(part)
    places = [body.joint_names.index(name) for name in names]
    pose = np.asarray(guess.params.full_pose())[:, places].reshape(-1, 3 * len(names))
    start = variables.Layout.of(body).pose_start
    entries = np.concatenate([start + 3 * (place - 1) + np.arange(3) for place in places])
    return pose, np.asarray(guess.spread)[:, entries]


def _mean_error(ends: LimbEnds, pose: AnyArray, weight: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N"]:
    distance = np.linalg.norm(np.asarray(limb_ends.image_errors_of(ends, pose), np.float64), axis=-1)
    total = weight.sum(1)
    return np.where(total > 0, (weight * distance).sum(1) / np.maximum(total, 1e-9), np.nan)


def _degrees(first: Float[AnyArray, "N 3"], second: Float[AnyArray, "N 3"]) -> Float[np.ndarray, "N"]:
    """Angle between two rotations, by their axis-angle."""
    apart = Rotation.from_rotvec(np.asarray(first, np.float64)).inv() * Rotation.from_rotvec(np.asarray(second))
    return np.degrees(apart.magnitude())


def degrees_between(first: Float[np.ndarray, "N 3 3"], second: Float[np.ndarray, "N 3 3"]) -> Float[np.ndarray, "N"]:
    """Angle between two rotations: by the length of their difference, which is exact near zero too."""
    apart = np.linalg.norm((np.asarray(first, np.float64) - second).reshape(-1, 9), axis=-1)
    return np.degrees(2 * np.arcsin(np.clip(apart / (2 * np.sqrt(2)), 0, 1)))


def joint_rotations(body: BodyModel, params: BodyParams, joint: int) -> Float[np.ndarray, "N 3 3"]:
    """Rotation of a joint of N people in the camera frame."""
    return limb_ends.body_frames(body, "smpl24", params).rotations[:, joint]


def _implausibility(prior: LimbEndPrior, pose: AnyArray) -> Float[np.ndarray, "N"]:
    return in_pieces(_Implausibility(prior=prior), pose).astype(np.float64)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Implausibility:
    prior: LimbEndPrior

    def __call__(self, pose: jax.Array) -> jax.Array:
        near = nearest(self.prior.mixture, pose)
        return 0.5 * jax.numpy.einsum("nd,nd->n", near.whitened, near.whitened) + near.constant


def _from_guess(ends: LimbEnds, pose: AnyArray) -> Float[np.ndarray, "N"]:
    """Root mean square distance of the ankle or wrist from what is expected, in standard deviations."""
    apart = (np.asarray(pose, np.float64) - ends.guess) * ends.inverse_spread
    return np.sqrt(np.square(apart[:, :3]).mean(1))


def _direction(
    ends: LimbEnds, pose: AnyArray, part: str, layout: str
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"], np.ndarray]:
    """Angle (degrees) and logarithmic ratio of lengths of the part's direction in the picture; whether it was seen."""
    points = limb_ends.limb_end_layout(part, layouts.get_layout(layout))[0].points
    side = part.split("_")[0]
    begin = [row for row, point in enumerate(points) if point in (f"{side}_heel", f"{side}_wrist")]
    end = [row for row, point in enumerate(points) if point.endswith("_toe") or point == f"{side}_middle1"]
    count = len(np.asarray(ends.base))
    if not begin or not end:
        return np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, bool)
    seen = np.asarray(ends.keypoints_2d, np.float64)
    errors = np.asarray(limb_ends.image_errors_of(ends, pose), np.float64)
    labelled = seen + errors * np.asarray(ends.box_side, np.float64)[:, None, None]
    ways = [points[:, end].mean(1) - points[:, begin].mean(1) for points in (seen, labelled)]
    angles = [np.arctan2(way[:, 1], way[:, 0]) for way in ways]
    lengths = [np.linalg.norm(way, axis=1) + 1e-3 for way in ways]
    is_seen = np.all(np.asarray(ends.weight)[:, begin + end] > 0, axis=1)
    apart = np.degrees(np.abs(np.angle(np.exp(1j * (angles[0] - angles[1])))))
    ratio = np.abs(np.log(lengths[0] / lengths[1]))
    return np.where(is_seen, apart, np.nan), np.where(is_seen, ratio, np.nan), np.asarray(is_seen)


def _body_error(
    frames: BodyFrames, observations: Observations, box_side: Float[np.ndarray, "N"]
) -> Float[np.ndarray, "N"]:
    """Median distance of the body's points from where they were seen, box sides; 0 if none was."""
    layout = layouts.get_layout(observations.layout)
    rows = [row for row, point in enumerate(layout.points) if layouts.part_of(point) == "body"]
    if observations.camera is None:
        raise ObservationError("keypoints are compared before a camera")
    focal_length, principal_point = (
        np.broadcast_to(value, (len(box_side), 2))[:, None].astype(np.float64)
        for value in (observations.camera.focal_length, observations.camera.principal_point)
    )
    points = frames.points[:, rows].astype(np.float64)
    pixels = points[..., :2] / np.maximum(points[..., 2:], 0.1) * focal_length + principal_point
    seen = np.asarray(observations.keypoints_2d, np.float64)[:, rows]
    confidence = observations.confidence
    confidence = np.ones(seen.shape[:2]) if confidence is None else np.nan_to_num(np.asarray(confidence)[:, rows])
    distance = np.linalg.norm(pixels - seen, axis=-1) / box_side[:, None]
    is_counted = (confidence >= SEEN) & frames.is_supported[rows] & np.isfinite(distance)
    distance = np.where(is_counted, distance, np.inf)
    ordered = np.sort(distance, 1)
    middle = ordered[np.arange(len(ordered)), np.maximum(is_counted.sum(1) - 1, 0) // 2]
    return np.where(is_counted.any(1), middle, 0.0)
