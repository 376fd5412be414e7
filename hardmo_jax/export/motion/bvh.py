"""Writer of Biovision hierarchies (BVH): a skeleton and its rotations, which every animation program imports."""

import os
from typing import Literal

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.export.motion.joint_motion import JointMotion, check_exportable, joint_motion
from hardmo_jax.export.motion.scene_motion import Y_UP_FROM_Z_UP, SceneMotion, TrackMotion, y_up
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.skeleton import layouts
from hardmo_jax.whole_files import replacing

#: Units of a file in one metre. BVH states none: MotionBuilder and Maya take centimetres.
UNITS_PER_METRE = {"cm": 100.0, "m": 1.0}

_MIDDLE = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
    "jaw": "Jaw", "left_eyeball": "LeftEye", "right_eyeball": "RightEye",
}  # fmt: skip
_LIMB = {
    "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase", "collar": "Shoulder", "shoulder": "Arm",
    "elbow": "ForeArm", "wrist": "Hand", "hand": "HandMiddle1",
    **{f"{finger}{joint}": f"Hand{finger.title()}{joint}" for finger in layouts.FINGERS for joint in (1, 2, 3)},
}  # fmt: skip
#: Names of joints in files, by name of the body's. They are those of HumanIK and Mixamo (without a name space), which
#: MotionBuilder, Unreal, Unity and Rokoko's add-on map by themselves. The hand of a body with 24 joints, which turns
#: all fingers, begins where the middle finger does.
BVH_NAMES = _MIDDLE | {
    f"{side}_{part}": f"{side.title()}{name}" for side in layouts.SIDES for part, name in _LIMB.items()
}

#: Below this cosine of the middle angle the other two turn about one axis, and only their sum is known.
_LOCKED = 1e-7


def write_bvh(
    path: str | os.PathLike[str], scene: SceneMotion, track: TrackMotion, *, unit: Literal["cm", "m"] = "cm"
) -> None:
    """Write one person as a BVH file.

    The world has y up, and the skeleton without rotations is SMPL's rest: a T-pose that looks along +z, its left at
    +x. Bones have the lengths of the person's shape; the root's `OFFSET` is zero and its position channels are its
    place, so that programs which add both and programs which take one agree. Rotations are `Zrotation Xrotation
    Yrotation`, intrinsic, degrees, without jumps from a frame to the next. `End Site`s are the farthest points of
    the mesh that head, toes and fingers carry. Of SMPL-X's expressions only their mean is there, in the bones of the
    face.

    Blender takes y up by itself; with centimetres its importer wants a scale of 0.01.

    Args:
        path: File to write; it appears whole or not at all.
        scene: Where the person is; it must have a frame rate.
        track: The person.
        unit: Unit of length.

    Raises:
        ExportError: If the scene has no frame rate, or the track cannot be exported (`check_exportable`).
        ValueError: If the unit is neither.

    References:
        Meredith and Maddock, "Motion Capture File Formats Explained", University of Sheffield, 2001.
    """
    if unit not in UNITS_PER_METRE:
        raise ValueError(f"unit must be one of {', '.join(UNITS_PER_METRE)}, got {unit!r}")
    rate = scene.rate("BVH")
    check_exportable(scene, track, "BVH")
    motion = joint_motion(scene, track)
    lines, order = _hierarchy(scene.body, motion, _tips(scene.body, track.betas, motion.rest), UNITS_PER_METRE[unit])
    lines += ["MOTION", f"Frames: {track.num_frames}", f"Frame Time: {1 / rate!r}"]
    rotations = motion.local_rotations[:, order]
    rotations[:, 0] = Y_UP_FROM_Z_UP @ rotations[:, 0]
    places = y_up(motion.positions[:, 0]) * UNITS_PER_METRE[unit]
    rows = np.concatenate([places, zxy_degrees(rotations).reshape(track.num_frames, -1)], axis=1)
    # Rounded here, so that no number is written as -0.
    rows = np.round(rows, 8) + 0.0
    row_format = " ".join(["%.8f"] * rows.shape[1])
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.writelines(f"{row_format % tuple(row)}\n" for row in rows.tolist())


def zxy_degrees(rotations: Float[np.ndarray, "T J 3 3"]) -> Float[np.ndarray, "T J 3"]:
    """Intrinsic angles (z, x, y) of rotations, `R = Rz Rx Ry`, which follow each other without jumps.

    Of the two triples that make a rotation, and their whole turns, the one nearest to the frame before is taken;
    where x is a right angle z stays as it was.

    Args:
        rotations: Frames first.

    Returns:
        Degrees; in the first frame x is within a right angle.
    """
    first = np.arctan2(-rotations[..., 0, 1], rotations[..., 1, 1])
    is_locked = np.hypot(rotations[..., 0, 1], rotations[..., 1, 1]) < _LOCKED
    angles = np.empty(rotations.shape[:-1])
    before = np.zeros(angles.shape[1:])
    for frame, rotation in enumerate(rotations):
        before = angles[frame] = _nearest_zxy(rotation, first[frame], is_locked[frame], before, start=frame == 0)
    return np.rad2deg(angles)


def _nearest_zxy(
    rotation: Float[np.ndarray, "J 3 3"],
    first: Float[np.ndarray, "J"],
    is_locked: Bool[np.ndarray, "J"],
    before: Float[np.ndarray, "J 3"],
    *,
    start: bool,
) -> Float[np.ndarray, "J 3"]:
    z = np.where(is_locked, before[:, 0], first)
    cosine, sine = np.cos(z)[:, None], np.sin(z)[:, None]
    # Without the turn about z: what remains is Rx Ry, also where z could be anything.
    top = cosine * rotation[:, 0] + sine * rotation[:, 1]
    middle = cosine * rotation[:, 1] - sine * rotation[:, 0]
    x = np.arctan2(rotation[:, 2, 1], middle[:, 1])
    y = np.arctan2(top[:, 2], top[:, 0])
    one = np.stack([z, x, y], axis=-1)
    if start:
        return one
    other = np.stack([z + np.pi, np.pi - x, y + np.pi], axis=-1)
    near = [angles - 2 * np.pi * np.round((angles - before) / (2 * np.pi)) for angles in (one, other)]
    far = [np.abs(angles - before).sum(axis=-1, keepdims=True) for angles in near]
    return np.where(far[0] <= far[1], *near)


def _tips(
    body: BodyModel, betas: Float[np.ndarray, "S"], rest: Float[np.ndarray, "J 3"]
) -> dict[int, Float[np.ndarray, "3"]]:
    """Place at rest of the end of each last joint, metres: the vertex that it moves and that lies farthest along the
    bone before it. Half of that bone further on where a body has no such vertex.
    """
    weights = np.asarray(body.skinning_planar)
    vertices = np.asarray(body.template_planar, np.float64) + np.tensordot(
        np.asarray(betas, np.float64), np.asarray(body.blend_basis[: body.num_betas], np.float64), 1
    )
    carriers = weights.argmax(axis=0) if weights.shape[1] else np.zeros(0, int)
    tips = {}
    for joint in sorted(set(range(body.num_joints)) - set(body.parents)):
        bone = rest[joint] - rest[body.parents[joint]]
        theirs = vertices[:, carriers == joint].T
        reach = (theirs - rest[joint]) @ bone
        tips[joint] = theirs[reach.argmax()] if reach.max(initial=0.0) > 0 else rest[joint] + 0.5 * bone
    return tips


def _hierarchy(
    body: BodyModel, motion: JointMotion, tips: dict[int, Float[np.ndarray, "3"]], scale: float
) -> tuple[list[str], list[int]]:
    """Lines of the skeleton, and the body's joints in the order of their channels."""
    lines, order = ["HIERARCHY"], []

    def offset(place: Float[np.ndarray, "3"], parent: int) -> str:
        start = motion.rest[parent] if parent >= 0 else place
        return " ".join(f"{number:.8f}" for number in np.round((place - start) * scale, 8) + 0.0)

    def add(joint: int, depth: int) -> None:
        order.append(joint)
        indent = "\t" * depth
        kind, channels = ("ROOT", "6 Xposition Yposition Zposition") if joint == 0 else ("JOINT", "3")
        lines.extend(
            [
                f"{indent}{kind} {_file_name(body, joint)}",
                f"{indent}{{",
                f"{indent}\tOFFSET {offset(motion.rest[joint], body.parents[joint])}",
                f"{indent}\tCHANNELS {channels} Zrotation Xrotation Yrotation",
            ]
        )
        for child, parent in enumerate(body.parents):
            if parent == joint:
                add(child, depth + 1)
        if joint in tips:
            place = offset(tips[joint], joint)
            lines.extend([f"{indent}\tEnd Site", f"{indent}\t{{", f"{indent}\t\tOFFSET {place}", f"{indent}\t}}"])
        lines.append(f"{indent}}}")

    add(0, 0)
    return lines, order


def _file_name(body: BodyModel, joint: int) -> str:
    name = body.joint_names[joint]
    if name not in BVH_NAMES:
        raise ExportError(f"{body.name}: a joint {name!r} has no name in BVH; known: {', '.join(BVH_NAMES)}")
    return BVH_NAMES[name]
