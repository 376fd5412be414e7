"""Reader of files of motion: those that the exporters write, in which people move as they did, and those of others."""

import math
import os
import pathlib

from hardmo_jax.body.model import BodyModel
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.export.motion.scene_motion import SceneMotion
from hardmo_jax.pipelines.exports.bvh_scenes import read_bvh_scene
from hardmo_jax.pipelines.exports.smpl_scenes import read_smpl_scene


def read_scene(
    path: str | os.PathLike[str], *, body: BodyModel | None = None, frames_per_second: float | int | None = None
) -> SceneMotion:
    """Read one person's motion.

    What the exporters of this package wrote comes back as it was: shape, rotations and places, and from `.npz` frame
    numbers, names, and which frames had a label. BVH has no place for the latter: its scene begins at frame 0, and
    every frame of it counts as labelled. Files of others:

    * AMASS and its kin (`.npz` of SMPL, SMPL-H or SMPL-X): joints are taken by name. On the open body they take its
      mean shape, as their `betas` are not of it, and stand as far off as its pelvis rests from SMPL's, some
      centimetres; on a body of the file's family they are exact.
    * BVH of a skeleton of ours: by name. Of any other: `recovery.retarget`, which fits shape and pose; a first frame
      that is no motion but a pose which the converter calls rest stays in.

    Args:
        path: `.npz` of AMASS, of the SMPL add-ons of Blender or for robots, or `.bvh`.
        body: Whole body to read it on. None takes the open body, with fingers where the file has some; a file of ours
            that states another body then needs it to be given.
        frames_per_second: Where the file's is known to be wrong; None takes the file's.

    Returns:
        A scene of one track, z up, without a camera; the floor is as the file has it.

    Raises:
        MotionFileError: If the file is damaged or of another layout, or its shape cannot be that of the body.
        hardmo_jax.recovery.retarget.RetargetError: If a foreign skeleton is of no known convention.
        ValueError: If `frames_per_second` is not positive, or the body is a hand.
    """
    path = pathlib.Path(path)
    if body is not None and body.family not in ("smpl", "smplh", "smplx"):
        raise ValueError(f"motion is of whole people, and {body.name!r} is a body of {body.family}")
    if frames_per_second is not None and not 0 < frames_per_second < math.inf:
        raise ValueError(f"`frames_per_second` must be positive, got {frames_per_second}")
    suffix = path.suffix.lower()
    if suffix == ".bvh":
        return read_bvh_scene(path, body, frames_per_second)
    if suffix == ".npz":
        return read_smpl_scene(path, body, frames_per_second)
    raise MotionFileError(
        f"{path}: expected .npz (AMASS, the SMPL add-ons of Blender, robots) or .bvh, got {suffix!r}; "
        "`read_motion` and `retarget` take .amc and DeepMimic"
    )
