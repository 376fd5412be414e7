"""People in written poses before cameras and a detector, for tests that need some whose truth is known."""

import numpy as np

from hardmo_jax.data import staging, synthetic


def people_in_hard_poses(body, count, *, seed, staging_seed, name):
    """One frame each."""
    drawn = synthetic.sample_hard_poses(seed, count)
    return _staged(body, drawn.full_pose[:, None], drawn.styles, 30.0, staging_seed, name)


def people_in_hard_motion(body, count, frames, frames_per_second, *, seed, staging_seed, name):
    """Clips, one after the other."""
    drawn = synthetic.sample_hard_motion(seed, count, frames, frames_per_second)
    return _staged(body, drawn.full_pose, drawn.styles, frames_per_second, staging_seed, name)


def _staged(body, full_pose, styles, frames_per_second, seed, name):
    people, frames = full_pose.shape[:2]
    names = tuple(map(str, range(people)))
    motion = staging.Motion(
        full_pose=full_pose, pelvis=np.zeros((people, frames, 3)), styles=styles, takes=names, groups=names,
        frames=np.tile(np.arange(frames), (people, 1)), frames_per_second=frames_per_second,
    )  # fmt: skip
    return staging.stage(body, motion, staging.StagingOptions(), seed=seed, name=name)
