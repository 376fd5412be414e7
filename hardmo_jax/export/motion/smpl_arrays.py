"""What the `.npz` files of SMPL-family motion share: poses in the layout of a family, whose shape it is, who it is.

The shape that files call `betas` is that of SMPL's own meshes. A body with another mesh, as the open body, has a shape
space of its own: written as `betas` its coefficients would silently make another person. Its files hold zeros there,
SMPL's mean shape, and the coefficients as `body_betas` beside the name of the body.
"""

from typing import Any, Literal

import numpy as np

from hardmo_jax.array_types import Float, Shaped
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.body.model import BodyModel
from hardmo_jax.export.motion.joint_motion import check_exportable, pelvis_places
from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion

#: Coefficients of shape in files, which readers expect to find so many of.
NUM_FILE_BETAS = 16
#: Version of the keys that are ours and not the format's.
FILE_VERSION = 1
_SMPL_HANDS = ("left_hand", "right_hand")


def layout_poses(
    scene: SceneMotion, track: TrackMotion, family: Literal["smplh", "smplx"]
) -> Float[np.ndarray, "T J 3"]:
    """Axis-angle of every joint of a family, by name; joints that the body lacks are at rest.

    Args:
        scene: Whose body it is.
        track: The person.
        family: Whose joints.
    """
    names = FAMILIES[family].joint_names
    pose = np.asarray(track.params.full_pose(), np.float64)
    column = {name: place for place, name in enumerate(scene.body.joint_names)}
    poses = np.zeros((track.num_frames, len(names), 3))
    for place, name in enumerate(names):
        if name in column:
            poses[:, place] = pose[:, column[name]]
    return poses


def is_published_mesh(body: BodyModel) -> bool:
    """Whether a body has the mesh of its family as published, and with it the family's shape space."""
    return body.num_vertices == FAMILIES[body.family].topology[0]


def shared_arrays(
    scene: SceneMotion, track: TrackMotion, family: Literal["smplh", "smplx"], format_name: str
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Arrays that every one of these files holds, after all checks.

    Args:
        scene: Where the person is; it must have a frame rate.
        track: The person.
        family: Whose poses the file holds.
        format_name: For messages.

    Returns:
        `trans` (T, 3) in metres, `betas` (16 or more), `gender`, `surface_model_type`, both spellings of the rate,
        and what lets `read_scene` give back the same track: `body_model`, `body_model_sha256`, `body_family`,
        `body_betas`, `pelvis` (T, 3) world places of joint 0, `is_labelled` (T), names and frame numbers;
        `smpl_hand_pose` (T, 2, 3) of a body whose hands are one joint each, `expressions` (T, E) of SMPL-X.

    Raises:
        ExportError: If the scene has no frame rate, or the track cannot be exported (`check_exportable`).
    """
    rate = scene.rate(format_name)
    check_exportable(scene, track, format_name)
    body, params = scene.body, track.params
    betas = np.asarray(track.betas, np.float64)
    file_betas = np.zeros(max(NUM_FILE_BETAS, len(betas)))
    # SMPL and SMPL-H have one shape space, SMPL-X another.
    if is_published_mesh(body) and (body.family == "smplx") == (family == "smplx"):
        file_betas[: len(betas)] = betas
    else:
        file_betas = file_betas[:NUM_FILE_BETAS]
    arrays: dict[str, Any] = {
        "trans": np.asarray(params.transl, np.float64),
        "betas": file_betas,
        "num_betas": len(file_betas),
        "gender": body.gender if body.gender in ("female", "male") else "neutral",
        "surface_model_type": family,
        "mocap_framerate": float(rate),
        "mocap_frame_rate": float(rate),
        "mocap_time_length": track.num_frames / rate,
        "hardmo_file_version": FILE_VERSION,
        "frames_per_second": float(rate),
        "up_axis": "z",
        "floor": scene.floor,
        "body_model": scene.body_name,
        "body_model_sha256": body.checksum,
        "body_family": body.family,
        "body_betas": betas,
        "pelvis": pelvis_places(body, params),
        "is_labelled": np.asarray(track.is_labelled, bool),
        "track_name": track.name,
        "track_id": track.track_id,
        "first_frame": track.first_frame,
        "scene_frames": scene.num_frames,
        "first_source_frame": scene.first_source_frame,
        "source_name": scene.source_name,
    }
    if body.family == "smpl":
        hands = [body.joint_names.index(name) for name in _SMPL_HANDS]
        arrays["smpl_hand_pose"] = np.asarray(params.full_pose(), np.float64)[:, hands]
    if params.expression is not None:
        arrays["expressions"] = np.asarray(params.expression, np.float64)
    return {key: np.asarray(value) for key, value in arrays.items()}


def pose_parts(
    poses: Float[np.ndarray, "T J 3"], family: Literal["smplh", "smplx"]
) -> dict[str, Float[np.ndarray, "T N"]]:
    """Poses cut into the parts that files of SMPL-X name: `root_orient`, `pose_body`, `pose_hand`, jaw and eyes.

    Args:
        poses: Joints of the family.
        family: SMPL-H has neither jaw nor eyes.
    """
    flat = poses.reshape(len(poses), -1)
    parts = {"root_orient": flat[:, :3], "pose_body": flat[:, 3:66], "pose_hand": flat[:, -90:]}
    if family == "smplx":
        parts |= {"pose_jaw": flat[:, 66:69], "pose_eye": flat[:, 69:75]}
    return parts
