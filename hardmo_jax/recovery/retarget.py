"""Motion capture to body parameters: rotations carried over with a correction a bone, then a fit in 3D.

Skeletons of captures differ from that of a body in proportions, in the pose that they call rest, and in where a joint
is: a capture's hip or ankle is another point of the same leg. So bones are compared by direction, joints up to a
constant place in the frame of their bone, and the fit only mends what proportions leave.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Array, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.data.sources.clip import MotionClip
from hardmo_jax.fitting import fit as fitting
from hardmo_jax.fitting.evidence import UserResidual
from hardmo_jax.fitting.stages import FitOptions, Stage
from hardmo_jax.observations import Observations
from hardmo_jax.skeleton import captures, layouts

#: Bones whose direction is carried over: the joint that turns the bone, and the joint at its end.
BONES = tuple(
    (f"{side}_{start}", f"{side}_{end}")
    for side in layouts.SIDES
    for start, end in (
        ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("ankle", "foot"),
    )
)  # fmt: skip
#: Joints that are compared by place: those at the ends of these bones, and where the limbs begin.
_PLACED = tuple(
    f"{side}_{joint}" for side in layouts.SIDES for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
)
#: Lengths that the shape is fitted to: from the mean of some joints to the mean of others. Necks, heads and feet of
#: captures are other places than those of SMPL.
_MEASURED = (
    *(((start,), (end,)) for start, end in BONES if not end.endswith("_foot")),
    (("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")),
)
#: Joint in whose frame the place of a limb's joints may differ by a constant: captures have narrower shoulders, or
#: hips further down.
_TRUNK_OF = {
    "hip": "pelvis",
    "knee": "pelvis",
    "ankle": "pelvis",
    "shoulder": "spine3",
    "elbow": "spine3",
    "wrist": "spine3",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetargetOptions:
    """How firmly the fit holds to what."""

    shape_spread: float = 0.02
    """Standard deviation of a bone length against the shape prior, metres."""
    place_spread: float = 0.01
    """Of a joint's place, metres."""
    direction_spread_degrees: float = 1.0
    """Of a bone's direction."""
    pose_spread_degrees: float = 6.0
    """Of a joint's rotation from the one carried over, which keeps twist and spine from wandering."""
    iterations: int = 12
    """Steps of the fit at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retargeted:
    """A clip as body parameters, with what remains between the two."""

    params: BodyParams
    """One shape a clip; world axes of the clip (y up), batch axis = frames."""
    direction_error: Float[np.ndarray, "T B"]
    """Angle between each bone of `BONES` and its capture, degrees; NaN for a bone that the capture lacks."""
    place_error: Float[np.ndarray, "T K"]
    """Distance of each joint of `placed` from its capture, metres, after its constant offset in the trunk's frame."""
    placed: tuple[str, ...]
    """Joints that were compared by place."""
    status: Int[np.ndarray, "T"]
    """`FitStatus` of each frame."""


class RetargetError(ValueError):
    """A clip that cannot be turned into body parameters."""


def retarget(clip: MotionClip, body: BodyModel, *, options: RetargetOptions | None = None) -> Retargeted:
    """Body parameters of a motion capture clip.

    Wrists and toes turn where the capture turns them; fingers stay at rest: marker sets of whole bodies hold almost
    no finger motion.

    Args:
        clip: Skeleton and motion, any of the conventions of `skeleton.captures`.
        body: SMPL, SMPL-H or SMPL-X. The 24 joints of SMPL are the fastest.
        options: How the fit weighs.

    Returns:
        Parameters in the world of the clip and the errors that remain.

    Raises:
        RetargetError: If the skeleton is of no known convention, or the clip is empty.
    """
    options = options or RetargetOptions()
    if clip.num_frames == 0:
        raise RetargetError(f"{clip.name}: the clip has no frames")
    try:
        convention = captures.find_convention(clip.joint_names)
    except (KeyError, ValueError) as error:
        raise RetargetError(f"{clip.name}: {error.args[0]}") from error
    source = _Source.of(clip, convention)
    betas = _fit_shape(body, source, options.shape_spread)
    shaped = body.shaped(jnp.asarray(betas, body.joint_template.dtype))
    transferred = _transfer(body, shaped, source)
    start = _placed_at(body, shaped, transferred, source)
    params, status = _refine(body, betas, start, source, options)
    direction_error, place_error = _errors(body, params, source)
    return Retargeted(
        params=params, direction_error=direction_error, place_error=place_error, placed=source.placed, status=status
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """A capture in terms of the body's joints."""

    rest: dict[str, Float[np.ndarray, "3"]]
    """Place at rest of every joint and tip that the capture has."""
    turned: dict[str, Float[np.ndarray, "T 3 3"]]
    """Rotation from rest, by joint."""
    places: dict[str, Float[np.ndarray, "T 3"]]
    """World places of joints and tips, metres."""
    placed: tuple[str, ...]
    elbow_hinge_degrees: float

    @classmethod
    def of(cls, clip: MotionClip, convention: captures.CaptureConvention) -> "_Source":
        turned, places = clip.world_motion()
        rest = clip.rest_positions()
        index = {name: place for place, name in enumerate(clip.joint_names)}
        points = {**convention.joints, **convention.tips}
        points = {name: index[capture] for name, capture in points.items() if capture in index}
        # Fingers stay at rest.
        joints = {name: index[capture] for name, capture in convention.joints.items() if not name.endswith("_hand")}
        return cls(
            rest={name: rest[place] for name, place in points.items()},
            turned={name: turned[:, place] for name, place in joints.items()},
            places={name: places[:, place] for name, place in points.items()},
            placed=tuple(name for name in _PLACED if name in joints),
            elbow_hinge_degrees=convention.elbow_hinge_degrees,
        )

    def end_of(self, start: str, end: str) -> str | None:
        """Name of the point at the end of a bone: a joint, or for feet without toes the tip."""
        if end in self.rest and np.any(self.rest[end] != self.rest[start]):
            return end
        tip = f"{end}_tip"
        return tip if tip in self.rest else None


def _fit_shape(body: BodyModel, source: _Source, spread: float) -> Float[np.ndarray, "S"]:
    """Shape whose bones are as long as those of the capture, by Gauss-Newton from the mean shape."""
    place = {name: index for index, name in enumerate(body.joint_names)}
    pairs = [pair for pair in _MEASURED if all(name in source.rest for side in pair for name in side)]

    def means(joints: Float[np.ndarray, "J 3"], side: int) -> Float[np.ndarray, "N 3"]:
        return np.stack([np.mean([joints[place[name]] for name in pair[side]], axis=0) for pair in pairs])

    def bones_of(joints: Float[np.ndarray, "J 3"]) -> Float[np.ndarray, "N 3"]:
        return means(joints, 1) - means(joints, 0)

    template = bones_of(np.asarray(body.joint_template, np.float64))
    basis = np.stack([bones_of(np.asarray(row, np.float64)) for row in body.joint_shape_basis[: body.num_betas]])
    theirs = np.zeros((len(place), 3))
    for name, index in place.items():
        theirs[index] = source.rest.get(name, 0.0)
    lengths = np.linalg.norm(bones_of(theirs), axis=1)
    betas = np.zeros(body.num_betas)
    for _ in range(10):
        bones = template + np.tensordot(betas, basis, 1)
        norms = np.linalg.norm(bones, axis=1)
        slopes = np.einsum("snc,nc->ns", basis, bones / norms[:, None]) / spread
        residuals = (norms - lengths) / spread
        betas = betas - np.linalg.solve(slopes.T @ slopes + np.eye(len(betas)), slopes.T @ residuals + betas)
    return betas


def _transfer(body: BodyModel, shaped: BodyModel, source: _Source) -> dict[str, Float[np.ndarray, "T 3 3"]]:
    """World rotation of every joint of the body from its rest pose: that of the capture after the correction."""
    corrections = _corrections(shaped, source)
    turned: dict[str, np.ndarray] = {}
    for name, parent in zip(body.joint_names, body.parents, strict=True):
        if name in source.turned:
            turned[name] = source.turned[name] @ corrections[name]
        elif parent < 0:
            raise RetargetError("the capture has no root")
        else:
            turned[name] = turned[body.joint_names[parent]]
    return turned


def _corrections(shaped: BodyModel, source: _Source) -> dict[str, Float[np.ndarray, "3 3"]]:
    """Rotation of each bone from the body's rest pose to the capture's, in world axes.

    The trunk is upright in both. A limb turns the shortest way from one direction to the other. A foot goes with the
    shin: its sole is square to the shin when standing, whatever a capture says of the heights of ankle and toes. A
    hand takes palm and knuckles, where the capture has them.
    """
    joints = np.asarray(shaped.joint_template, np.float64)
    rest = dict(zip(shaped.joint_names, joints, strict=True))
    corrections = {name: np.eye(3) for name in source.turned}
    parents = dict(zip(shaped.joint_names, shaped.parents, strict=True))
    for start, end in BONES:
        theirs = source.end_of(start, end)
        if start not in source.turned:
            continue
        if theirs is None:
            # Where a bone ends is not known, only where it begins: at rest it goes on as the bone before it does.
            corrections[start] = corrections.get(shaped.joint_names[parents[start]], np.eye(3))
            continue
        if end.endswith("_foot"):
            knee = start.replace("ankle", "knee")
            ours = _frame(rest[knee] - rest[start], rest[end] - rest[start])
            corrections[start] = (
                _frame(source.rest[knee] - source.rest[start], source.rest[theirs] - source.rest[start]) @ ours.T
            )
            if end in source.turned:
                corrections[end] = corrections[start]
        else:
            corrections[start] = _shortest(rest[end] - rest[start], source.rest[theirs] - source.rest[start])
    for side in layouts.SIDES:
        shoulder, wrist = f"{side}_shoulder", f"{side}_wrist"
        if shoulder in source.turned:
            # About the upper arm, which at rest runs along x on both sides. The forearm is not turned with it: at rest
            # its palm looks down in both, so what is between the two is its pronation.
            corrections[shoulder] = corrections[shoulder] @ _about_x(source.elbow_hinge_degrees)
        if wrist in source.turned:
            corrections[wrist] = _hand_correction(rest, source, side)
    return corrections


def _hand_correction(rest: dict[str, Float[np.ndarray, "3"]], source: _Source, side: str) -> Float[np.ndarray, "3 3"]:
    wrist, knuckle, index = f"{side}_wrist", f"{side}_hand", f"{side}_hand_index"
    ours = rest[f"{side}_middle1" if f"{side}_middle1" in rest else knuckle] - rest[wrist]
    theirs = [source.rest[name] - source.rest[wrist] for name in (knuckle, index) if name in source.rest]
    theirs = [place for place in theirs if np.any(place != 0)]
    if not theirs:
        return np.eye(3)
    if len(theirs) == 2 and np.any(theirs[0] != theirs[1]):
        # At rest the palm of the body looks down, and its index finger is in front of the middle one.
        return _frame(theirs[0], theirs[1] - theirs[0]) @ _frame(ours, np.array([0.0, 0.0, 1.0])).T
    return _shortest(ours, theirs[0])


def _about_x(degrees: float) -> Float[np.ndarray, "3 3"]:
    return Rotation.from_euler("x", degrees, degrees=True).as_matrix()


def _shortest(ours: Float[np.ndarray, "3"], theirs: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Smallest rotation that turns one direction into another."""
    first, second = ours / np.linalg.norm(ours), theirs / np.linalg.norm(theirs)
    axis = np.cross(first, second)
    sine, cosine = np.linalg.norm(axis), float(first @ second)
    if sine < 1e-9:
        if cosine < 0:
            raise RetargetError("a bone of the capture points the opposite way at rest: which way it turned is unknown")
        return np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix()


def _frame(first: Float[np.ndarray, "3"], second: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Orthonormal columns: along the first, along what of the second is square to it, and their product."""
    x = first / np.linalg.norm(first)
    y = second - (second @ x) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _local_axis_angles(body: BodyModel, turned: dict[str, Float[np.ndarray, "T 3 3"]]) -> Float[np.ndarray, "T J 3"]:
    """Parent-relative rotations, as parameters hold them."""
    world = np.stack([turned[name] for name in body.joint_names], axis=1)
    local = world.copy()
    for joint, parent in enumerate(body.parents[1:], start=1):
        local[:, joint] = np.swapaxes(world[:, parent], -1, -2) @ world[:, joint]
    return Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(*local.shape[:2], 3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Start:
    """Parameters carried over, and what the fit compares with."""

    params: BodyParams
    goals: Float[np.ndarray, "T K 3"]
    """Where the body's own joints should be: those of the capture, less their constant offsets."""
    directions: Float[np.ndarray, "T B 3"]
    """Unit vectors of the bones."""
    has_direction: tuple[bool, ...]


def _placed_at(
    body: BodyModel, shaped: BodyModel, turned: dict[str, Float[np.ndarray, "T 3 3"]], source: _Source
) -> _Start:
    """Put the turned body where the captured one is."""
    joint = {name: place for place, name in enumerate(body.joint_names)}
    pose = _local_axis_angles(body, turned)
    dtype = body.joint_template.dtype
    params = BodyParams.from_full_pose(shaped, jnp.asarray(pose, dtype))
    rest = np.asarray(shaped.joint_template, np.float64)
    joints = _joints(body, rest, np.stack([turned[name] for name in body.joint_names], axis=1))
    placed = np.array([joint[name] for name in source.placed])
    theirs = np.stack([source.places[name] for name in source.placed], axis=1)
    frames = _trunk_frames(turned, source.placed)
    # Offsets and translation are means of each other's residuals; a few rounds settle both.
    offsets, transl = np.zeros((len(placed), 3)), np.zeros((len(joints), 3))
    for _ in range(20):
        transl = np.mean(theirs - joints[:, placed] - np.einsum("tkij,kj->tki", frames, offsets), axis=1)
        apart = theirs - joints[:, placed] - transl[:, None]
        offsets = np.mean(np.einsum("tkji,tkj->tki", frames, apart), axis=0)
    directions = []
    for start, end in BONES:
        ours = rest[joint[end]] - rest[joint[start]]
        directions.append(turned[start] @ (ours / np.linalg.norm(ours)))
    return _Start(
        params=dataclasses.replace(params, transl=jnp.asarray(transl, dtype)),
        goals=theirs - np.einsum("tkij,kj->tki", frames, offsets),
        directions=np.stack(directions, axis=1),
        has_direction=tuple(start in source.turned and source.end_of(start, end) is not None for start, end in BONES),
    )


def _trunk_frames(
    turned: dict[str, Float[np.ndarray, "T 3 3"]], placed: tuple[str, ...]
) -> Float[np.ndarray, "T K 3 3"]:
    """World rotation of the part of the trunk that each joint's limb hangs on."""
    return np.stack([turned[_TRUNK_OF[name.partition("_")[2]]] for name in placed], axis=1)


def _hold(params: BodyParams, joints: Float[Array, "J 3"], data: dict[str, Array]) -> Float[Array, "R"]:
    """Residuals of one frame: the pose that was carried over, and the directions of bones."""
    bones = joints[data["ends"]] - joints[data["starts"]]
    bones = bones / jnp.sqrt(jnp.sum(bones * bones, -1, keepdims=True))
    apart = (bones - data["directions"]) * data["direction_weight"][:, None]
    return jnp.concatenate([apart.ravel(), ((params.body_pose - data["body_pose"]) * data["pose_weight"]).ravel()])


def _refine(
    body: BodyModel, betas: Float[np.ndarray, "S"], start: _Start, source: _Source, options: RetargetOptions
) -> tuple[BodyParams, Int[np.ndarray, "T"]]:
    """The engine's fit in 3D from the pose that was carried over; the shape stays."""
    layout = layouts.get_layout("smpl24")
    num_frames = len(start.goals)
    keypoints_3d = np.zeros((num_frames, len(layout), 3))
    confidence_3d = np.zeros((num_frames, len(layout)))
    rows = np.array(layout.indices(source.placed))
    keypoints_3d[:, rows], confidence_3d[:, rows] = start.goals, 1.0
    joint = {name: place for place, name in enumerate(body.joint_names)}
    weight = np.array(start.has_direction) / np.deg2rad(options.direction_spread_degrees)

    def of_frames(array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, (num_frames, *array.shape))

    data = {
        "starts": of_frames(np.array([joint[bone[0]] for bone in BONES])),
        "ends": of_frames(np.array([joint[bone[1]] for bone in BONES])),
        "directions": start.directions,
        "direction_weight": of_frames(weight),
        "body_pose": np.asarray(start.params.body_pose),
        "pose_weight": np.full((num_frames, 1, 1), 1 / np.deg2rad(options.pose_spread_degrees)),
    }
    dtype = body.joint_template.dtype
    initial = dataclasses.replace(
        start.params, betas=jnp.broadcast_to(jnp.asarray(betas, dtype), (num_frames, len(betas)))
    )
    stage = Stage(
        iterations=options.iterations, free=("transl", "global_orient", "body_pose"), pose_prior=0.0, shape_prior=0.0,
        joint_limits=0.0,
    )  # fmt: skip
    result = fitting.fit(
        body,
        Observations(keypoints_3d=keypoints_3d, confidence_3d=confidence_3d, layout="smpl24"),
        options=FitOptions(refine=(stage,), keypoints_3d_spread=options.place_spread),
        initial=initial,
        residuals=[UserResidual(function=_hold, data=data)],
    )
    return result.params, np.asarray(result.status)


def _errors(
    body: BodyModel, params: BodyParams, source: _Source
) -> tuple[Float[np.ndarray, "T B"], Float[np.ndarray, "T K"]]:
    """Directions and places of the body against the capture itself, not against what the fit was given."""
    joint = {name: place for place, name in enumerate(body.joint_names)}
    world = _world_rotations(body, params)
    shaped = body.shaped(params.betas[0])
    corrections = _corrections(shaped, source)
    rest = np.asarray(shaped.joint_template, np.float64)
    joints = _joints(body, rest, world) + np.asarray(params.transl, np.float64)[:, None]
    direction_error = np.full((len(joints), len(BONES)), np.nan)
    for column, (start, end) in enumerate(BONES):
        theirs_end = source.end_of(start, end)
        if start not in source.turned or theirs_end is None:
            continue
        ours = joints[:, joint[end]] - joints[:, joint[start]]
        if end.endswith("_foot"):
            # Captures differ in the height of the ankle over the sole: the foot is compared as the rigid thing it is.
            bone = rest[joint[end]] - rest[joint[start]]
            theirs = source.turned[start] @ (corrections[start] @ bone)
        else:
            theirs = source.places[theirs_end] - source.places[start]
        cosine = np.sum(ours * theirs, -1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(theirs, axis=-1)
        direction_error[:, column] = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
    placed = np.array([joint[name] for name in source.placed])
    theirs = np.stack([source.places[name] for name in source.placed], axis=1)
    frames = _trunk_frames(dict(zip(body.joint_names, np.moveaxis(world, 1, 0), strict=True)), source.placed)
    apart = np.einsum("tkji,tkj->tki", frames, theirs - joints[:, placed])
    return direction_error, np.linalg.norm(apart - apart.mean(axis=0), axis=-1)


def _world_rotations(body: BodyModel, params: BodyParams) -> Float[np.ndarray, "T J 3 3"]:
    pose = np.asarray(params.full_pose(), np.float64)
    world = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape[:2], 3, 3)
    for joint, parent in enumerate(body.parents[1:], start=1):
        world[:, joint] = world[:, parent] @ world[:, joint]
    return world


def _joints(
    body: BodyModel, rest: Float[np.ndarray, "J 3"], world: Float[np.ndarray, "T J 3 3"]
) -> Float[np.ndarray, "T J 3"]:
    """Joints of a body at the origin whose bones are turned so; in NumPy, which need not compile for every length."""
    joints = np.zeros((*world.shape[:2], 3)) + rest[0]
    for joint, parent in enumerate(body.parents[1:], start=1):
        joints[:, joint] = joints[:, parent] + world[:, parent] @ (rest[joint] - rest[parent])
    return joints
