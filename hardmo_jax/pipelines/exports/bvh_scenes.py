"""Scenes from BVH files: those of the exporter by name and exactly, any other through retargeting."""

import pathlib

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float
from hardmo_jax.body.load import open_body
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.data.sources.bvh import read_bvh
from hardmo_jax.data.sources.clip import MotionClip
from hardmo_jax.export.motion.bvh import BVH_NAMES, UNITS_PER_METRE
from hardmo_jax.export.motion.joint_motion import rest_joints
from hardmo_jax.export.motion.scene_motion import Y_UP_FROM_Z_UP, SceneMotion, TrackMotion
from hardmo_jax.pipelines.exports.smpl_scenes import params_of_poses
from hardmo_jax.pipelines.label_rows import name_of_body
from hardmo_jax.recovery.retarget import retarget

#: A skeleton is a body's own where bones of some shape of it are those of the file up to this, metres.
_SAME_BONE = 1e-4


def read_bvh_scene(path: pathlib.Path, body: BodyModel | None, frames_per_second: float | int | None) -> SceneMotion:
    """The scene of one BVH file, see `motion_files.read_scene`.

    Args:
        path: The file.
        body: Whole body to read it on; None takes the open body.
        frames_per_second: In place of the file's rate.

    Raises:
        hardmo_jax.data.sources.clip.MotionFileError: If the file is damaged or no BVH.
        hardmo_jax.recovery.retarget.RetargetError: If a foreign skeleton is of no known convention.
    """
    # Read in units of the file: those of a skeleton of ours follow from its bones, others are found by its height.
    clip = read_bvh(path, unit=1.0, frames_per_second=frames_per_second)
    own = _own_skeleton(clip, body)
    if own is None:
        body = open_body(view="smpl") if body is None else body
        foreign = read_bvh(path, frames_per_second=frames_per_second)
        params = _z_up(body, retarget(foreign, body).params)
    else:
        body, metres, coefficients = own
        params = _params_by_name(clip, body, metres, coefficients)
    return SceneMotion(
        name=path.stem,
        source_name=path.name,
        body=body,
        body_name=name_of_body(body),
        frames_per_second=clip.frames_per_second,
        num_frames=clip.num_frames,
        first_source_frame=0,
        tracks=(
            TrackMotion(
                name=path.stem,
                track_id=0,
                first_frame=0,
                params=params,
                is_labelled=np.ones(clip.num_frames, bool),
            ),
        ),
        camera=None,
        floor="file",
    )


def _own_skeleton(clip: MotionClip, body: BodyModel | None) -> tuple[BodyModel, float, Float[np.ndarray, "C"]] | None:
    """The body whose joints and bones a file has, metres of its unit, and shape with expression; None for a foreign
    skeleton.
    """
    parents = {
        name: clip.joint_names[parent] if parent >= 0 else None
        for name, parent in zip(clip.joint_names, clip.parents, strict=True)
        if not name.endswith("_end")
    }
    bodies = [body] if body is not None else []
    if body is None and {*parents} <= {*BVH_NAMES.values()}:
        bodies = [open_body(view=view) for view in ("smplh", "smpl")]
    for candidate in bodies:
        names = [BVH_NAMES[name] for name in candidate.joint_names]
        expected = {
            name: names[parent] if parent >= 0 else None for name, parent in zip(names, candidate.parents, strict=True)
        }
        if parents != expected:
            continue
        found = _coefficients_of_bones(candidate, clip.offsets[[clip.joint_names.index(name) for name in names]])
        if found is not None:
            return candidate, *found
    return None


def _coefficients_of_bones(
    body: BodyModel, offsets: Float[np.ndarray, "J 3"]
) -> tuple[float, Float[np.ndarray, "C"]] | None:
    """Metres of a unit, and the shape and expression whose bones are these, if there are such.

    Joints are linear in both, so they follow from the bones. A neutral face is tried first: what an expression does
    to bones can be hard to tell from a shape.
    """
    children, parents = np.arange(1, body.num_joints), np.array(body.parents[1:])
    joints = np.asarray(body.joint_template, np.float64)
    basis = np.asarray(body.joint_shape_basis, np.float64)
    bones, slopes = joints[children] - joints[parents], basis[:, children] - basis[:, parents]
    for per_metre in UNITS_PER_METRE.values():
        apart = offsets[1:] / per_metre - bones
        for count in dict.fromkeys((body.num_betas, len(basis))):
            some = slopes[:count].reshape(count, bones.size)
            solved = np.linalg.lstsq(some.T, apart.ravel(), rcond=None)[0]
            if np.abs(apart.ravel() - solved @ some).max() < _SAME_BONE:
                return 1 / per_metre, np.pad(solved, (0, len(basis) - count))
    return None


def _params_by_name(
    clip: MotionClip, body: BodyModel, metres: float, coefficients: Float[np.ndarray, "C"]
) -> BodyParams:
    columns = [clip.joint_names.index(BVH_NAMES[name]) for name in body.joint_names]
    rotations = clip.rotations[:, columns]
    rotations[:, 0] = Y_UP_FROM_Z_UP.T @ rotations[:, 0]
    poses = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec().reshape(*rotations.shape[:2], 3)
    betas, expression = np.split(coefficients, [body.num_betas])
    pelvis = clip.translations[:, columns[0]] * metres @ Y_UP_FROM_Z_UP
    transl = pelvis - rest_joints(body, betas, expression)[0]
    return params_of_poses(body, poses, betas, transl, np.tile(expression, (len(poses), 1)))


def _z_up(body: BodyModel, params: BodyParams) -> BodyParams:
    """Bodies of a world with y up in one with z up."""
    poses = np.asarray(params.full_pose(), np.float64)
    poses[:, 0] = (Rotation.from_matrix(Y_UP_FROM_Z_UP.T) * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    betas = np.asarray(params.betas)[0]
    root = rest_joints(body, betas)[0]
    transl = (root + np.asarray(params.transl, np.float64)) @ Y_UP_FROM_Z_UP - root
    return params_of_poses(body, poses, betas, transl, np.zeros((len(poses), body.num_expression)))
