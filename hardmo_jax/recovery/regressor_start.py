"""What a regressor saw in crops, as starts of fits before the camera of the picture.

Networks of HMR's kind answer for a crop, in a camera of their own with a long lens, and with the body they were
trained on; `regressor_body` brings that to the body that is fitted. Here are whom to believe, and how far.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import priors, variables
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.recovery.lift import bare
from hardmo_jax.recovery.regressor_body import AnsweredBody, answered_body, params_of_answers
from hardmo_jax.skeleton import joint_limits, layouts

#: Scales that networks give lie between 0.3 and 1.3 or so; below this the answer means nothing.
_LEAST_SCALE = 0.05
#: People who are converted at once, by one program.
_PEOPLE_AT_ONCE = 256
#: Of somebody in the middle of the box, of whom nothing else is known: HMR's mean camera.
_USUAL_WEAK_CAMERA = np.array([0.9, 0.0, 0.0])
#: Facing the camera, upright.
_USUAL_ORIENT = np.diag([1.0, -1.0, -1.0])
#: Kinds of joints at the ends of limbs.
_ENDS = ("ankle", "foot", "wrist", "hand")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressorTrust:
    """How wrong a regressor is taken to be: standard deviations.

    Not measured on the public weights, which nobody may ship: read off published errors (7 cm a joint on 3DPW), and
    wide where such networks are known to be weak. Fits are drawn to the start by these, see `fitting.guess`.
    """

    root: float = 0.2
    """Of the orientation, radians."""
    pose: float = 0.25
    """Of each rotation of the body, radians."""
    ends: float = 0.5
    """The same of ankles, feet, wrists and hands."""
    fingers: float = 0.5
    """The same of joints that the network does not have."""
    shape: float = 0.7
    """Of betas that the network gives."""

    def __post_init__(self) -> None:
        if not all(value > 0 for value in dataclasses.astuple(self)):
            raise ValueError(f"spreads must be positive, got {self}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressorStart:
    """Starts of N people."""

    guess: Guess
    """One row a person, camera frame of the picture."""
    knows_shape: bool
    """Whether betas are the network's; else they are the mean's, which says nothing."""
    is_usable: Bool[np.ndarray, "N"]
    """Whether the network said anything about the person. Where it did not (numbers that are none, no size), the row
    holds the usual pose in the middle of the box, facing the camera, to which a fit is hardly drawn."""


def start_from_regressor(
    body: BodyModel,
    output: RegressorOutput,
    box: CropBox,
    camera: Camera,
    *,
    told_focal_length: Float[np.ndarray, "N"] | None = None,
    trust: RegressorTrust | None = None,
) -> RegressorStart:
    """Starts of people from what a network says of their crops.

    Args:
        body: That is fitted; SMPL, SMPL-H or SMPL-X.
        output: Of N crops, one answer each (of networks that draw samples, one of them).
        box: Of the crops, pixels of the picture.
        camera: Of the picture, one for all or one a person.
        told_focal_length: Of networks that answer before the camera of the picture, as CLIFF does: the focal length
            that they were told it has, pixels. None for those that answer before the crop.
        trust: None takes the default.

    Returns:
        Guesses for `hm.fit`, and whose are any good.

    Raises:
        ObservationError: If the body has no joints besides hands.
        ValueError: If the output is not one answer for each box, or of an unknown body.

    Notes:
        Betas are taken over only by the body that the network was trained with: SMPL for 23 joints, SMPL-X for 21,
        neutral. Betas of the open body, of SMPL-H and of the other genders mean other shapes, and start at the mean.
        The person then has the size of the picture at the mean's height: the distance is off by the ratio of
        heights, which the fit mends (the translation has no pull). Joints that the network lacks (fingers, jaw, eyes)
        have their usual pose; those that the body lacks (SMPL's hands in SMPL-H) are left out.
    """
    trust = trust or RegressorTrust()
    count, taken = _check(body, output, box)
    is_usable = usable_people(output)
    replaced = _replaced(output, is_usable)
    params, axes = _in_strips(
        lambda rows: _as_params(bare(body), *rows, taken=taken),
        (
            replaced,
            CropBox(center=np.asarray(box.center), size=np.asarray(box.size)),
            _one_each(camera, count),
            None if told_focal_length is None else np.asarray(told_focal_length, np.float32),
        ),
    )
    usual = np.asarray(priors.pose_prior(body.joint_names).mean)
    pose = np.asarray(params.full_pose()).copy()
    pose[~is_usable, 1:] = usual
    betas = np.where(is_usable[:, None], np.asarray(params.betas), 0)
    dtype = body.joint_template.dtype
    params = BodyParams.from_full_pose(
        body, pose.astype(dtype), betas=betas.astype(dtype), transl=np.asarray(params.transl, dtype)
    )
    told = _spread(body, output.body_pose.shape[-3], trust, takes_shape=taken.takes_shape)
    untold = np.where(_is_always_kept(body), told, np.inf)
    spread = np.where(is_usable[:, None], told, untold).astype(dtype)
    guess = Guess(
        params=jax.tree.map(np.asarray, params),
        spread=spread,
        precision=np.eye(len(told)),
        axes=np.asarray(axes, dtype),
    )
    return RegressorStart(guess=guess, knows_shape=taken.takes_shape, is_usable=is_usable)


def with_lifted(start: RegressorStart, lifted: Guess) -> Guess:
    """Starts of everybody: where a network said nothing, and of what it does not know, those of the lifter.

    The lifter's own correlations between joints do not hold for errors of another network, so that all entries are
    taken for independent.

    Args:
        start: Of N people.
        lifted: Of the same people, of the same body.
    """
    is_usable, count = start.is_usable, len(start.is_usable)

    def chosen(own: AnyArray, other: AnyArray) -> np.ndarray:
        own, other = np.asarray(own), np.asarray(other)
        return np.where(is_usable.reshape(count, *[1] * (own.ndim - 1)), own, other).astype(other.dtype)

    params = jax.tree.map(chosen, start.guess.params, lifted.params)
    spread = chosen(start.guess.spread, lifted.spread)
    if not start.knows_shape:
        params = dataclasses.replace(params, betas=np.asarray(lifted.params.betas))
        shape = slice(6, 6 + params.betas.shape[-1])
        spread[:, shape] = np.asarray(lifted.spread)[:, shape]
    straight = np.broadcast_to(np.eye(3), (count, 3, 3))
    axes = chosen(
        straight if start.guess.axes is None else start.guess.axes, straight if lifted.axes is None else lifted.axes
    )
    return Guess(params=params, spread=spread, precision=np.eye(spread.shape[-1]), axes=axes)


def rows_of_start(start: RegressorStart, rows: Int[np.ndarray, "M"]) -> RegressorStart:
    """Starts of some of the people."""
    params, spread, axes = jax.tree.map(
        lambda leaf: np.asarray(leaf)[rows], (start.guess.params, start.guess.spread, start.guess.axes)
    )
    guess = dataclasses.replace(start.guess, params=params, spread=spread, axes=axes)
    return dataclasses.replace(start, guess=guess, is_usable=start.is_usable[rows])


def usable_people(output: RegressorOutput) -> Bool[np.ndarray, "N"]:
    """Of whom a network said something: all of its numbers are numbers, and the person has a size."""
    is_usable = np.asarray(output.weak_camera)[:, 0] >= _LEAST_SCALE
    for values in (output.weak_camera, output.betas, output.global_orient, output.body_pose):
        values = np.asarray(values)
        is_usable &= np.isfinite(values).all(tuple(range(1, values.ndim)))
    return is_usable


def _check(body: BodyModel, output: RegressorOutput, box: CropBox) -> tuple[int, AnsweredBody]:
    """Number of people, and how the body takes the network's answers."""
    taken = answered_body(body, output.body_pose.shape[-3])
    shape, boxes = tuple(output.weak_camera.shape), tuple(np.shape(box.size))
    if len(shape) != 2 or boxes != shape[:1]:
        raise ValueError(
            f"one answer for each box is needed: weak cameras of shape {shape} do not go with boxes of shape {boxes}; "
            "of several samples choose one first"
        )
    return shape[0], taken


def _replaced(output: RegressorOutput, is_usable: Bool[np.ndarray, "N"]) -> RegressorOutput:
    """The output with somebody usual in the middle of the box where there is nothing."""

    def instead(values: AnyArray, usual: np.ndarray) -> np.ndarray:
        values = np.asarray(values)
        return np.where(is_usable.reshape(-1, *[1] * (values.ndim - 1)), values, usual.astype(values.dtype))

    return RegressorOutput(
        global_orient=instead(output.global_orient, _USUAL_ORIENT),
        body_pose=instead(output.body_pose, np.eye(3)),
        betas=instead(output.betas, np.zeros(1)),
        weak_camera=instead(output.weak_camera, _USUAL_WEAK_CAMERA),
    )


def _one_each(camera: Camera, count: int) -> Camera:
    """The camera of each of some people."""
    return jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf, np.float32), (count, 2)), camera)


def _in_strips(function: Callable[..., Any], rows: Any) -> Any:
    """What a function of many people gives, by one program for every number of people."""
    count = len(jax.tree.leaves(rows)[0])
    strips = max(-(-count // _PEOPLE_AT_ONCE), 1)

    def stacked(leaf: np.ndarray) -> np.ndarray:
        filled = np.zeros((strips * _PEOPLE_AT_ONCE, *leaf.shape[1:]), leaf.dtype)
        filled[:count] = leaf
        return filled.reshape(strips, _PEOPLE_AT_ONCE, *leaf.shape[1:])

    people = jax.tree.map(stacked, rows)
    pieces = [function(jax.tree.map(operator.itemgetter(strip), people)) for strip in range(strips)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *pieces)


@functools.partial(jax.jit, static_argnames="taken")
def _as_params(
    body: BodyModel,
    output: RegressorOutput,
    box: CropBox,
    camera: Camera,
    told_focal_length: Float[AnyArray, "N"] | None,
    *,
    taken: AnsweredBody,
) -> tuple[BodyParams, Float[Array, "N 3 3"]]:
    return params_of_answers(body, output, box, camera, taken=taken, told_focal_length=told_focal_length)


def _spread(body: BodyModel, joints: int, trust: RegressorTrust, *, takes_shape: bool) -> Float[np.ndarray, "P"]:
    """Standard deviation of the error of each entry of the body's vector."""
    given = set(layouts.SMPL_JOINTS[1 : 1 + joints])
    pose = [
        trust.fingers
        if joint not in given
        else trust.ends
        if joint_limits.joint_kind(joint)[1] in _ENDS
        else trust.pose
        for joint in body.joint_names[1:]
    ]
    # The translation follows from the keypoints. Betas that nobody knows are the mean's, as by a prior.
    shape = [trust.shape if takes_shape else 1.0] * body.num_betas
    return np.array([*[np.inf] * 3, *[trust.root] * 3, *shape, *np.repeat(pose, 3)])


def _is_always_kept(body: BodyModel) -> Bool[np.ndarray, "P"]:
    """Entries that have a pull of their own whatever the network says: the fit from a guess leaves their priors out."""
    return variables.Layout.of(body).group_mask(("betas", "hand_pose"))
