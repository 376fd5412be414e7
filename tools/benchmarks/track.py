"""The track suite: frames a second of one person's video, from keypoints to bodies, and what memory it takes."""

import pathlib
import resource
import time
from typing import Any

import jax
import numpy as np

_FRAMES = (1_000, 20_000)
_ROUNDS = 3


def plan() -> list[dict[str, Any]]:
    """One cell a length, each in a process of its own: memory is that of the process."""
    return [{"frames": frames, "all_cores": True} for frames in _FRAMES]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Time `recover_motion` of a track, the lifters and the fit together, after a first call that compiles."""
    del models
    from hardmo_jax.body import load
    from hardmo_jax.data import staging, synthetic
    from hardmo_jax.recovery.recover_motion import recover_motion

    frames, body = cell["frames"], load.open_body(view="smplh")
    # A second of motion after the other: the length of a track counts here, not what happens in it.
    drawn = synthetic.sample_hard_motion(0, 1, min(frames, 1_000), 30.0)
    people = staging.stage(
        body,
        staging.Motion(
            full_pose=drawn.full_pose,
            pelvis=drawn.full_pose[:, :, 0] * 0,
            styles=drawn.styles,
            takes=("track",),
            groups=("track",),
            frames=np.arange(drawn.full_pose.shape[1])[None],
            frames_per_second=30.0,
        ),
        staging.StagingOptions(),
        seed=0,
        name="bench",
    )
    rows = (list(range(len(people))) * -(-frames // len(people)))[:frames]
    short, track = people.select(rows[:400]).observations(), people.select(rows).observations()

    def call(observations: Any) -> float:
        begun = time.perf_counter()
        jax.block_until_ready(recover_motion(body, observations, frames_per_second=30.0).result)
        return time.perf_counter() - begun

    first = call(short)
    before = _peak_megabytes()
    seconds = sorted(call(track) for _ in range(_ROUNDS))
    return [
        {
            "measure": "recover_motion",
            "frames": frames,
            "frames_a_second": frames / seconds[len(seconds) // 2],
            "median_seconds": seconds[len(seconds) // 2],
            "least_seconds": seconds[0],
            "first_call_seconds": first,
            "peak_megabytes_of_400_frames": before,
            "peak_megabytes": _peak_megabytes(),
        }
    ]


def _peak_megabytes() -> float:
    """Most memory that the process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
