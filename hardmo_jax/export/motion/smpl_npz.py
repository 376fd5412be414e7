"""Writer of what the SMPL add-ons of Blender call an animation."""

import os

import numpy as np

from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.export.motion.smpl_arrays import layout_poses, shared_arrays
from hardmo_jax.export.npz_files import write_npz


def write_smpl_npz(path: str | os.PathLike[str], scene: SceneMotion, track: TrackMotion) -> None:
    """Write one person for `Add Animation` of the SMPL-X add-on and `Load Avatar` of Meshcapade's, both of Blender.

    Both read `trans` (T, 3), `gender`, `betas`, `mocap_frame_rate` and `poses`, of which they take one rotation for
    each of SMPL-X's 55 joints in their order: `poses` is (T, 165) whatever the body, with jaw and eyes, and the
    fingers of a body of 24 joints, at rest. Hands are absolute: choose flat hands where the add-on asks.

    Axes are AMASS's: z up, the floor at 0. **Choose the format `AMASS`**, the default of both (Meshcapade's calls it
    `AMASS (Y-up)`, after its rig, which it turns upright); `SMPL-X` or `Blender` would lay the person down.

    The add-ons cut the decimals off the rate and refuse one below the target rate that they are asked for:
    `mocap_frame_rate` is therefore the nearest integer (30 for 29.97), and `mocap_framerate`, which they read only
    where the other is missing, the rate itself.

    `betas` are zeros unless the body is SMPL-X's own, see `smpl_arrays`. `trans` is for a body whose joint 0 rests
    where that of the labels' body does; the rig of the add-on has it elsewhere, which shifts the whole motion by that
    constant, mostly in height. `pelvis` (T, 3) has the true places; Meshcapade's add-on snaps the feet of the first
    frame to the floor by itself.

    Args:
        path: File to write, `.npz`.
        scene: Where the person is; it must have a frame rate.
        track: The person.

    Raises:
        ExportError: If the scene has no frame rate, or the track cannot be exported.
    """
    arrays = shared_arrays(scene, track, "smplx", "the SMPL add-ons of Blender")
    poses = layout_poses(scene, track, "smplx")
    arrays["poses"] = poses.reshape(len(poses), -1)
    arrays["mocap_frame_rate"] = np.asarray(max(round(float(arrays["frames_per_second"])), 1))
    write_npz(path, arrays, is_compressed=True)
