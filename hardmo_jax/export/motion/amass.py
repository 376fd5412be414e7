"""Writer of motion in AMASS's layout, which most code for human motion reads."""

import os

import numpy as np

from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.export.motion.smpl_arrays import layout_poses, pose_parts, shared_arrays
from hardmo_jax.export.npz_files import write_npz

#: Soft-tissue coefficients of AMASS's bodies.
_NUM_DMPLS = 8


def write_amass(path: str | os.PathLike[str], scene: SceneMotion, track: TrackMotion) -> None:
    """Write one person as AMASS stores a sequence: z up, metres, radians.

    A body of SMPL or SMPL-H gives the layout of AMASS's first release: `poses` (T, 156) of SMPL-H's 52 joints, hands
    absolute (no mean hand left to add), `betas` (16), `dmpls` (T, 8) zeros, `trans` (T, 3), `gender`. A body of 24
    joints has its fingers at rest. A body of SMPL-X gives that of the later one: `poses` (T, 165) and its parts. Both
    spellings of the rate are there.

    `betas` are zeros for a body that is not SMPL's, see `smpl_arrays`. `trans` is added after the turn about joint 0,
    so it holds for a body whose joint 0 rests where that of the labels' body does: its pelvis is at `trans` plus that
    place. Another body, as SMPL's for labels of the open body, has it elsewhere at rest; `pelvis` (T, 3) has the world
    places, and `trans = pelvis - J[0]` puts any body where this one was, with its own joint 0 at rest `J[0]`.

    Args:
        path: File to write, `.npz`.
        scene: Where the person is; it must have a frame rate.
        track: The person.

    Raises:
        ExportError: If the scene has no frame rate, or the track cannot be exported.

    References:
        Mahmood et al., "AMASS: Archive of Motion Capture as Surface Shapes", ICCV 2019.
    """
    family = "smplx" if scene.body.family == "smplx" else "smplh"
    arrays = shared_arrays(scene, track, family, "AMASS's layout")
    poses = layout_poses(scene, track, family)
    arrays["poses"] = poses.reshape(len(poses), -1)
    if family == "smplx":
        arrays |= pose_parts(poses, family)
    else:
        arrays["dmpls"] = np.zeros((len(poses), _NUM_DMPLS))
    write_npz(path, arrays, is_compressed=True)
