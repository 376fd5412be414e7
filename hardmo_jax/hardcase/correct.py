"""A foot or hand corrected by a person: points of it are put where they are, and only that part is solved again.

Which joints follow a point is what a person at a puppet would expect: toes and heel turn the ankle, ankle and knee the
whole leg, knuckles the wrist, wrist and elbow the whole arm, a fingertip its finger. Nothing else of the body moves.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import numpy as np

from hardmo_jax.array_types import Array, Bool, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams, split_pose
from hardmo_jax.fitting import priors
from hardmo_jax.fitting.evidence import SEEN
from hardmo_jax.fitting.limb_ends import is_on_finger
from hardmo_jax.fitting.pose_mixture import PartPrior, packaged_mixtures, part_priors
from hardmo_jax.hardcase.limb_solve import Limb, LimbSolveOptions, solve_limb
from hardmo_jax.hardcase.refine import share_twist
from hardmo_jax.observations import Observations
from hardmo_jax.skeleton import layouts, regressors

#: Joints of a limb from the body outwards, without those of the fingers.
_CHAINS = {"leg": ("hip", "knee", "ankle", "foot"), "arm": ("shoulder", "elbow", "wrist")}
#: Part at the end of each limb.
_ENDS = {"leg": "foot", "arm": "hand"}
#: How far a joint goes from where it was before anybody pulls at it, radians.
_SPREADS = {"hip": 0.55, "knee": 0.8, "ankle": 1.3, "foot": 0.6, "shoulder": 0.8, "elbow": 1.0, "wrist": 1.3}
_FINGER_SPREAD = 0.8


class CorrectionError(ValueError):
    """A point that cannot be placed; the message says which can."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Correction:
    """One person after a correction."""

    params: BodyParams
    """All joints but those of `joints` are exactly as before."""
    joints: tuple[str, ...]
    """Joints that were free to turn."""
    pixel_errors: dict[str, float]
    """From each placed point to where the body has it now, pixels."""
    metre_errors: dict[str, float]
    """From each point that was placed in space to where the body has it now, metres."""


def placeable_points(body: BodyModel, layout: str) -> tuple[str, ...]:
    """Points of a layout that a person can place on a body: those of arms and legs that it has.

    Args:
        body: Model with landmarks.
        layout: Name in `skeleton.layouts`.
    """
    found = layouts.get_layout(layout)
    _, is_supported = landmarks.point_model(body, found)
    return tuple(
        point for point, has in zip(found.points, is_supported, strict=True) if has and joints_moved_by(point, body)
    )


def joints_moved_by(point: str, body: BodyModel) -> tuple[str, ...]:
    """Joints that turn to bring a point to where it is put; none if it belongs to no arm or leg.

    Args:
        point: Name of a keypoint or of a joint of the body.
        body: Which joints there are.
    """
    side, _, kind = regressors.place_of(point).partition("_")
    if side not in layouts.SIDES:
        return ()
    if kind in ("ankle", "knee"):
        names = [f"{side}_{joint}" for joint in ("hip", "knee", "ankle", "foot")]
    elif kind == "foot" or layouts.part_of(point) == f"{side}_foot":
        names = [f"{side}_ankle", f"{side}_foot"]
    elif kind in ("wrist", "elbow"):
        names = [f"{side}_{joint}" for joint in _CHAINS["arm"]]
    elif is_on_finger(point) or kind.endswith(("2", "3")):
        finger = kind.rstrip("123").removesuffix("_tip")
        names = [f"{side}_{finger}{link}" for link in (1, 2, 3)]
    elif layouts.part_of(point) == f"{side}_hand":
        names = [f"{side}_wrist"]
    else:
        return ()
    return tuple(names) if all(name in body.joint_names for name in names) else ()


def correct(
    body: BodyModel,
    params: BodyParams,
    observations: Observations,
    *,
    points: Mapping[str, Float[np.ndarray, "2"]] | None = None,
    points_3d: Mapping[str, Float[np.ndarray, "3"]] | None = None,
    current: BodyParams | None = None,
    options: LimbSolveOptions | None = None,
) -> Correction:
    """Solve the limbs of one person again to which placed points belong.

    Args:
        body: Model with landmarks.
        params: Of the person before any correction, without batch axes.
        observations: What was seen of the person, one row: 2D keypoints, box and camera.
        points: Where a person placed keypoints, pixels, by their names in the layout of the observations.
        points_3d: Where a person placed keypoints in space, camera frame, metres.
        current: The person after the last correction, a better start than `params` while a point is dragged.
        options: Weights.

    Raises:
        CorrectionError: If a point or joint cannot be placed, or is placed at no number.
    """
    options = options or LimbSolveOptions()
    points = {name: np.asarray(place, np.float32) for name, place in (points or {}).items()}
    points_3d = {name: np.asarray(place, np.float32) for name, place in (points_3d or {}).items()}
    layout = layouts.get_layout(observations.layout)
    model, is_supported = landmarks.point_model(body, layout)
    _check_placed(body, observations.layout, points, points_3d)
    corrected, moved = params, []
    for side in layouts.SIDES:
        for kind in _ENDS:
            free = {
                joint
                for name in (*points, *points_3d)
                if _limb_of(name) == (side, kind)
                for joint in joints_moved_by(name, body)
            }
            if not free:
                continue
            names = _joints_of_limb(body, side, kind)
            limb = _limb(body, params, observations, is_supported, names, free, points, points_3d)
            starts = _starts(limb, np.asarray((current or params).full_pose())[np.asarray(limb.joints)])
            pose, _ = solve_limb(model, params, limb, starts, family=body.family, options=options)
            corrected = _with_joints(body, corrected, dict(zip(names, np.asarray(pose), strict=True)), free)
            moved += [name for name in names if name in free]
    return _measured(model, body, corrected, observations, points, points_3d, tuple(moved))


def _check_placed(
    body: BodyModel, layout: str, points: Mapping[str, np.ndarray], points_3d: Mapping[str, np.ndarray]
) -> None:
    """Refuse what cannot be placed."""
    known = placeable_points(body, layout)
    for name, place in (*points.items(), *points_3d.items()):
        if name not in known:
            fingers = "" if layouts.MANO_JOINTS["left"][1] in body.joint_names else f"; {body.name} has no fingers"
            raise CorrectionError(
                f"{name!r} cannot be placed on a body of {body.name} ({body.family}){fingers}; "
                f"points that can: {', '.join(known)}"
            )
        if not np.isfinite(place).all():
            raise CorrectionError(f"{name!r} must be placed at finite numbers, got {place.tolist()}")
    for name, place in points_3d.items():
        if place[2] <= 0:
            raise CorrectionError(f"{name!r} must be placed in front of the camera, got {place.tolist()} metres")


def _limb_of(point: str) -> tuple[str, str]:
    """Side and kind of the limb that a point belongs to."""
    side, _, kind = regressors.place_of(point).partition("_")
    is_leg = kind in _CHAINS["leg"] or layouts.part_of(point) == f"{side}_foot"
    return side, "leg" if is_leg else "arm"


def _joints_of_limb(body: BodyModel, side: str, kind: str) -> tuple[str, ...]:
    names = [f"{side}_{joint}" for joint in _CHAINS[kind]]
    fingers = layouts.MANO_JOINTS[side][1:] if kind == "arm" else ()
    return tuple(name for name in (*names, *fingers) if name in body.joint_names)


@functools.lru_cache(maxsize=8)
def _priors_of(names: tuple[str, ...]) -> tuple[PartPrior, ...]:
    return part_priors(packaged_mixtures(), ("root", *names), np.dtype(np.float32))


def _limb(
    body: BodyModel,
    params: BodyParams,
    observations: Observations,
    is_supported: Bool[np.ndarray, "K"],
    names: tuple[str, ...],
    free: set[str],
    points: Mapping[str, np.ndarray],
    points_3d: Mapping[str, np.ndarray],
) -> Limb:
    """A limb of a person, and what it is to meet."""
    places = np.array([body.joint_names.index(name) for name in names])
    layout = layouts.get_layout(observations.layout)
    keypoints, confidence, box_side, focal_length, principal_point = _seen(observations)
    is_own = np.array([bool(free & set(joints_moved_by(point, body))) for point in layout.points])
    is_placed = np.array([point in points for point in layout.points]) & is_own
    is_in_space = np.array([point in points_3d for point in layout.points]) & is_own
    # What a person says of a point stands in the place of what a detector saw of it.
    is_seen = is_own & ~is_placed & ~is_in_space & is_supported
    is_seen &= (confidence >= SEEN) & np.isfinite(keypoints).all(-1)
    keypoints = np.where(is_seen[:, None], keypoints, 0.0)
    for at in np.flatnonzero(is_placed):
        keypoints[at] = points[layout.points[at]]
    limits = priors.pose_prior(body.joint_names)
    in_space = np.zeros((len(keypoints), 3), np.float32)
    for at in np.flatnonzero(is_in_space):
        in_space[at] = points_3d[layout.points[at]]
    return Limb(
        joints=places,
        is_free=np.array([name in free for name in names]),
        former=np.asarray(params.full_pose(), np.float32)[places],
        spread=np.array([_SPREADS.get(name.partition("_")[2], _FINGER_SPREAD) for name in names], np.float32),
        low=limits.low[places - 1],
        high=limits.high[places - 1],
        keypoints_2d=keypoints.astype(np.float32),
        weight=np.where(is_seen, confidence, 0).astype(np.float32),
        is_placed=is_placed,
        keypoints_3d=in_space,
        is_placed_3d=is_in_space,
        box_side=np.asarray(box_side, np.float32),
        focal_length=focal_length,
        principal_point=principal_point,
        priors=_priors_of(names),
    )


def _starts(limb: Limb, current: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "S L 3"]:
    """Where the limb is, where it was, and the middle of the prior: what is far off may be turned over."""
    usual = np.array(limb.former).reshape(-1)
    for prior in limb.priors:
        usual[np.array(prior.entries)] = np.asarray(prior.mean)
    return np.stack([current.astype(np.float32), np.asarray(limb.former), usual.reshape(-1, 3)])


def _with_joints(
    body: BodyModel, params: BodyParams, pose: Mapping[str, Float[np.ndarray, "3"]], free: set[str]
) -> BodyParams:
    """A person with some joints turned; twist that a wrist cannot have goes to the elbow."""
    whole = np.array(params.full_pose())
    for name in free:
        whole[body.joint_names.index(name)] = pose[name]
    # Where the elbow is not to turn, the wrist keeps all of it.
    wrists = (name for name in free if name.endswith("_wrist") and name.replace("wrist", "elbow") in free)
    for wrist in wrists:
        at, elbow = body.joint_names.index(wrist), body.joint_names.index(wrist.replace("wrist", "elbow"))
        axis = np.asarray(body.joint_template[at] - body.joint_template[elbow], np.float64)
        own, other = share_twist(whole[elbow][None], whole[at][None], axis)
        whole[elbow], whole[at] = own[0], other[0]
    return jax.tree.map(
        np.asarray, dataclasses.replace(params, global_orient=whole[0], **split_pose(body.family, whole[1:]))
    )


def _seen(
    observations: Observations,
) -> tuple[np.ndarray, np.ndarray, float, Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Keypoints, confidence, longer side of the box, and the camera of one person.

    Raises:
        CorrectionError: Without keypoints or camera.
    """
    if observations.keypoints_2d is None or observations.camera is None or observations.batch_shape not in ((), (1,)):
        raise CorrectionError("a correction needs `keypoints_2d` and `camera` of one person")
    keypoints = np.asarray(observations.keypoints_2d, np.float64).reshape(-1, 2)
    confidence = observations.confidence
    confidence = np.ones(len(keypoints)) if confidence is None else np.nan_to_num(np.asarray(confidence)).reshape(-1)
    if observations.bbox is None:
        seen = keypoints[(confidence > 0) & np.isfinite(keypoints).all(-1)]
        sides = np.ptp(seen, axis=0) if len(seen) else np.zeros(2)
    else:
        box = np.asarray(observations.bbox, np.float64).reshape(4)
        sides = box[2:] - box[:2]
    camera = observations.camera
    focal_length, principal_point = (
        np.broadcast_to(np.asarray(value, np.float32), (*np.shape(value)[:-1], 2)).reshape(-1)[:2]
        for value in (camera.focal_length, camera.principal_point)
    )
    return keypoints, confidence, max(float(sides.max()), 1.0), focal_length, principal_point


def points_of_body(body: BodyModel, params: BodyParams, layout: str) -> Float[np.ndarray, "K 3"]:
    """Keypoints of one person, camera frame, metres; one program serves all people.

    Args:
        body: Model with landmarks.
        params: Without batch axes.
        layout: Name in `skeleton.layouts`.
    """
    model, _ = landmarks.point_model(body, layouts.get_layout(layout))
    return np.asarray(_points(model, params))


@jax.jit
def _points(model: PointModel, params: BodyParams) -> Float[Array, "K 3"]:
    return model(params)


def _measured(
    model: PointModel,
    body: BodyModel,
    params: BodyParams,
    observations: Observations,
    points: Mapping[str, np.ndarray],
    points_3d: Mapping[str, np.ndarray],
    moved: tuple[str, ...],
) -> Correction:
    """A corrected person, and how far each point is from where it was put."""
    _, _, _, focal_length, principal_point = _seen(observations)
    found = np.asarray(_points(model, params), np.float64)
    # Points that the body does not have are at the origin.
    pixels = found[:, :2] / np.where(found[:, 2:] > 0, found[:, 2:], np.inf) * focal_length + principal_point
    names = layouts.get_layout(observations.layout).points
    return Correction(
        params=params,
        joints=moved,
        pixel_errors={name: float(np.linalg.norm(pixels[names.index(name)] - place)) for name, place in points.items()},
        metre_errors={
            name: float(np.linalg.norm(found[names.index(name)] - place)) for name, place in points_3d.items()
        },
    )
