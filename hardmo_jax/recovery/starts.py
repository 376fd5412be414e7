"""Where fits of a person start: the lifter's guesses, a plain pose, and what the detector may have got wrong.

Every start is a hypothesis with its own reading of the keypoints: that left and right were exchanged is a reading, not
a pose. Each brings a guess that the fit is drawn to, or none.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, get_args

import jax
import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import priors, variables
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.observations import Observations
from hardmo_jax.recovery import lift as lifting
from hardmo_jax.skeleton import flips, layouts, regressors

#: `guess_k` are those of the lifter; `plain` is the usual pose before the camera as the lifter turned it, without its
#: pull; `swapped` and `swapped_legs` take left for right; `ends_flipped` turns the feet and hands the other way
#: of which nothing but ankle and wrist was seen.
StartName = Literal[
    "guess_1", "guess_2", "guess_3", "guess_4", "plain", "swapped", "swapped_legs", "ends_flipped"
]  # fmt: skip
START_NAMES: tuple[StartName, ...] = get_args(StartName)
#: Of fingers of which nothing is known, radians.
_FINGER_SPREAD = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartOptions:
    """Where fits start."""

    kind: Literal["lifter", "headings"] = "lifter"
    """`headings` is SMPLify: several headings at rest, no network, 3D keypoints if there are any."""
    hypotheses: tuple[StartName, ...] = ("guess_1",)
    """Starts of the lifter that are fitted side by side, of which the ranker chooses."""
    second_look: bool = True
    """Points that were missing, or far from where the fit has them, are filled in, the lifter is asked again, and the
    fit that was chosen is made anew from there: a little better, for one fit more a person."""

    def __post_init__(self) -> None:
        if self.kind not in ("lifter", "headings"):
            raise ValueError(f"unknown start {self.kind!r}; known: lifter, headings")
        unknown = sorted(set(self.hypotheses) - set(START_NAMES))
        if unknown:
            raise ValueError(f"`hypotheses` names unknown starts {unknown}; known: {', '.join(START_NAMES)}")
        if "guess_1" not in self.hypotheses or len(set(self.hypotheses)) != len(self.hypotheses):
            raise ValueError(f"`hypotheses` must name each start once, and guess_1 among them; got {self.hypotheses}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Starts:
    """S starts of N people, one row each; not everybody has every start."""

    names: tuple[StartName, ...]
    person: Int[np.ndarray, "S"]
    """Whose start it is."""
    hypothesis: Int[np.ndarray, "S"]
    """Which of the names."""
    guess: Guess
    """One row a start."""
    order: Int[np.ndarray, "S K"]
    """Which measured keypoint is taken for each point of the layout."""
    log_weight: Float[np.ndarray, "S"]
    """Of the lifter's guess; 0 for other starts."""
    uncertainty: Float[np.ndarray, "S 2"]
    """Mean logarithm of the lifter's spread of the pose and of the root, under the reading of this start."""
    expected: BodyParams
    """The lifter's first guess under the keypoints as they were measured, one row a person."""


def make_starts(
    body: BodyModel,
    observations: Observations,
    names: tuple[StartName, ...],
    *,
    trained: TrainedLifter | None = None,
) -> Starts:
    """Starts of a flat batch of people.

    Args:
        body: Whole body.
        observations: 2D keypoints with a camera, one batch axis, everything one row a person.
        names: Which starts; `guess_1` among them.
        trained: None takes the lifter of the package.

    Raises:
        ObservationError: If there are no 2D keypoints or no camera.
    """
    layout = layouts.get_layout(observations.layout)
    count = observations.batch_shape[0]
    straight = np.arange(len(layout))
    lifted, precision = lifting.lift(body, observations, trained=trained)
    variable_layout = variables.Layout.of(body)
    readings: dict[str, Callable[[layouts.KeypointLayout], tuple[int, ...]]] = {
        "swapped": flips.flip_permutation,
        "swapped_legs": flips.leg_permutation,
    }
    parts: list[tuple[int, np.ndarray, Guess, np.ndarray, np.ndarray, lifting.Lifted]] = []
    everybody = np.arange(count)
    for hypothesis, name in enumerate(names):
        rows, order, log_weight, own = everybody, straight, np.zeros(count), lifted
        if name.startswith("guess_"):
            number = int(name.removeprefix("guess_")) - 1
            if number >= lifted.weights.shape[-1]:
                continue
            guess = lifting.guess_of(lifted, precision, number)
            log_weight = np.log(np.maximum(lifted.weights[:, number], 1e-9))
        elif name in readings:
            order = np.array(readings[name](layout))
            own, _ = lifting.lift(body, _reread(observations, order), trained=trained)
            guess = lifting.guess_of(own, precision)
        elif name == "plain":
            guess = _plain(body, lifting.guess_of(lifted, precision))
        else:
            is_flippable, guess = _with_ends_flipped(body, observations, lifting.guess_of(lifted, precision))
            rows = np.flatnonzero(is_flippable)
        parts.append((hypothesis, rows, guess, np.broadcast_to(order, (count, len(layout))), log_weight, own))

    def joined(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([value[part[1]] for value, part in zip(values, parts, strict=True)])

    def of_guesses(field: str) -> np.ndarray:
        return joined([np.asarray(getattr(part[2], field)) for part in parts])

    params = jax.tree.map(lambda *leaves: joined([np.asarray(leaf) for leaf in leaves]), *[p[2].params for p in parts])
    pose = slice(variable_layout.pose_start, None)
    uncertainty = [
        np.stack([_mean_log(part[5].spread[:, pose]), _mean_log(part[5].spread[:, 3:6])], -1) for part in parts
    ]
    return Starts(
        names=names,
        person=np.concatenate([part[1] for part in parts]),
        hypothesis=np.concatenate([np.full(len(part[1]), part[0]) for part in parts]),
        guess=Guess(params=params, spread=of_guesses("spread"), precision=precision, axes=of_guesses("axes")),
        order=joined([part[3] for part in parts]),
        log_weight=joined([part[4] for part in parts]),
        uncertainty=joined(uncertainty),
        expected=lifting.guess_of(lifted, precision).params,
    )


def reread(observations: Observations, starts: Starts) -> Observations:
    """Observations of every start: those of its person, with the points that its reading takes."""
    return read_as(observations, starts.person, starts.order)


def read_as(observations: Observations, person: Int[np.ndarray, "S"], order: Int[np.ndarray, "S K"]) -> Observations:
    """Observations of persons in any number, with the measured keypoint that is taken for each point of the layout."""

    def rows(value: np.ndarray | None) -> np.ndarray | None:
        return None if value is None else np.asarray(value)[person]

    def points(value: np.ndarray | None) -> np.ndarray | None:
        if value is None:
            return None
        taken = np.asarray(value)[person]
        return np.take_along_axis(taken, order if taken.ndim == 2 else order[..., None], 1)

    return dataclasses.replace(
        observations,
        keypoints_2d=points(observations.keypoints_2d),
        confidence=points(observations.confidence),
        keypoints_3d=points(observations.keypoints_3d),
        confidence_3d=points(observations.confidence_3d),
        bbox=rows(observations.bbox),
        camera=jax.tree.map(rows, observations.camera),
    )


def _reread(observations: Observations, order: Int[np.ndarray, "K"]) -> Observations:
    """2D keypoints of everybody in another order."""
    confidence = observations.confidence
    return dataclasses.replace(
        observations,
        keypoints_2d=np.asarray(observations.keypoints_2d)[:, order],
        confidence=None if confidence is None else np.asarray(confidence)[:, order],
        keypoints_3d=None,
        confidence_3d=None,
    )


def _plain(body: BodyModel, guess: Guess) -> Guess:
    """The usual pose and shape where the lifter sees the person, without any pull."""
    usual = priors.pose_prior(body.joint_names).mean
    count = len(np.asarray(guess.params.transl))
    full_pose = np.concatenate(
        [np.asarray(guess.params.global_orient)[:, None], np.broadcast_to(usual, (count, *usual.shape))], 1
    )
    params = BodyParams.from_full_pose(
        body, full_pose, betas=np.zeros_like(guess.params.betas), transl=np.asarray(guess.params.transl)
    )
    params = jax.tree.map(lambda leaf, like: np.asarray(leaf, like.dtype), params, guess.params)
    # Shape and fingers have a wide pull of their own: the fit from a guess leaves their priors out.
    layout, spread = variables.Layout.of(body), np.full_like(guess.spread, np.inf)
    spread[:, layout.group_mask(("betas",))] = 1.0
    spread[:, layout.group_mask(("hand_pose",))] = _FINGER_SPREAD
    return dataclasses.replace(guess, params=params, spread=spread)


def _with_ends_flipped(
    body: BodyModel, observations: Observations, guess: Guess
) -> tuple[Bool[np.ndarray, "N"], Guess]:
    """Who has a foot or hand of which only ankle or wrist was seen, and guesses with these turned the other way."""
    layout = layouts.get_layout(observations.layout)
    confidence = observations.confidence
    shape = np.asarray(observations.keypoints_2d).shape[:-1]
    is_seen = (np.ones(shape) if confidence is None else np.nan_to_num(np.asarray(confidence))) > 0
    is_seen &= np.isfinite(np.asarray(observations.keypoints_2d)).all(-1)
    full_pose = np.asarray(guess.params.full_pose()).copy()
    usual = np.concatenate([np.zeros((1, 3)), priors.pose_prior(body.joint_names).mean])
    is_flippable = np.zeros(len(full_pose), bool)
    for side in layouts.SIDES:
        for joint, part in (("ankle", "foot"), ("wrist", "hand")):
            points = [layouts.part_of(point) == f"{side}_{part}" and "root" not in point for point in layout.points]
            is_base = np.array([regressors.place_of(point) == f"{side}_{joint}" for point in layout.points])
            is_hidden = ~is_seen[:, np.array(points)].any(-1) & is_seen[:, is_base].any(-1)
            place = body.joint_names.index(f"{side}_{joint}")
            full_pose[is_hidden, place] = 2 * usual[place] - full_pose[is_hidden, place]
            is_flippable |= is_hidden
    params = BodyParams.from_full_pose(
        body, full_pose, betas=np.asarray(guess.params.betas), transl=np.asarray(guess.params.transl)
    )
    params = jax.tree.map(lambda leaf, like: np.asarray(leaf, like.dtype), params, guess.params)
    return is_flippable, dataclasses.replace(guess, params=params)


def _mean_log(spread: Float[np.ndarray, "N P"]) -> Float[np.ndarray, "N"]:
    known = np.isfinite(spread)
    return np.log(np.where(known, spread, 1)).sum(-1) / np.maximum(known.sum(-1), 1)
