"""Writer of motion for programs that carry it over to robots: parameters, and every joint in the world."""

import os

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.export.motion.joint_motion import joint_motion
from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.export.motion.smpl_arrays import layout_poses, pose_parts, shared_arrays
from hardmo_jax.export.motion.standing_feet import standing_feet
from hardmo_jax.export.npz_files import write_npz


def write_robot_npz(path: str | os.PathLike[str], scene: SceneMotion, track: TrackMotion) -> None:
    """Write one person for retargeting to robots: z up, the floor at 0, metres, radians.

    Two ways to read it. Programs with an SMPL-X file (GMR and what follows it) take `trans`, `root_orient` (T, 3),
    `pose_body` (T, 63), `pose_hand` (T, 90), `betas` (16), `gender` and `mocap_frame_rate`; `betas` are zeros unless
    the body is SMPL-X's own, see `smpl_arrays`. GMR guesses how tall somebody is from the first of
    `betas`, and from zeros everybody is of one height: give it `height` instead. Programs without a body file take the
    joints themselves, which have the person's own proportions:

    * `joint_names` (J) and `joint_parents` (J), the root's -1;
    * `joint_positions` (T, J, 3) in the world;
    * `joint_rotations_xyzw` (T, J, 4): world rotation from the rest pose, quaternions (x, y, z, w), without flips of
      sign; the rest pose is a T-pose with y up, the face to +z and the left at +x, so somebody who stands upright
      has a pelvis turned by 90 degrees about x;
    * `rest_joint_positions` (J, 3): the joints in that pose;
    * `root_trans` (T, 3): the pelvis in the world, the first column of `joint_positions`;
    * `foot_contact` (T, N) and `foot_contact_names` (N): which points of the feet stand, `foot_contact_positions`
      (T, N, 3) where they are;
    * `height`: metres from the lowest to the highest vertex of the person's mesh in that pose;
    * `fps`, and `is_labelled` (T): frames that are not were interpolated.

    Args:
        path: File to write, `.npz`.
        scene: Where the person is; it must have a frame rate.
        track: The person.

    Raises:
        ExportError: If the scene has no frame rate, or the track cannot be exported.

    Notes:
        Neither GMR nor PHC has been run on these files: keys and axes follow what they are documented to read.
    """
    family = "smplx" if scene.body.family == "smplx" else "smplh"
    # `betas` beside `pose_body` are taken for SMPL-X's: those of SMPL are not given out as such.
    arrays = shared_arrays(scene, track, "smplx", "motion for robots") | {"surface_model_type": np.asarray(family)}
    arrays |= pose_parts(layout_poses(scene, track, family), family)
    motion = joint_motion(scene, track)
    feet = standing_feet(scene, track, motion)
    arrays |= {
        "fps": arrays["frames_per_second"],
        "root_trans": motion.positions[:, 0],
        "joint_names": np.array(scene.body.joint_names),
        "joint_parents": np.array(scene.body.parents, np.int64),
        "joint_positions": motion.positions,
        "joint_rotations_xyzw": motion.world_quaternions[..., [1, 2, 3, 0]],
        "rest_joint_positions": motion.rest,
        "height": np.asarray(_rest_height(scene.body, track.betas)),
        "foot_contact": feet.stands,
        "foot_contact_names": np.array(feet.names),
        "foot_contact_positions": feet.points,
    }
    write_npz(path, arrays, is_compressed=True)


def _rest_height(body: BodyModel, betas: Float[np.ndarray, "S"]) -> float:
    """From the soles to the top of the head in rest pose, whose y is up, metres."""
    basis = np.asarray(body.shape_basis_planar, np.float64)[: body.num_betas, 1]
    heights = np.asarray(body.template_planar, np.float64)[1] + np.asarray(betas, np.float64) @ basis
    return float(np.ptp(heights))
