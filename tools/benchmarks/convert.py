"""The convert suite: a clip of a thousand frames from body model to body model, what is lost, and how long it takes."""

import os
import pathlib
import time
from typing import Any

import numpy as np

_FRAMES = 1_000
_ROUNDS = 3
#: Joints before the hands.
_BODY_JOINTS = 22
#: Turns of SMPL's hands, radians a coordinate.
_HAND_SPREAD = 0.15
#: From and to: views of the open body, which are one mesh; `landmarks` is the same without the mesh to compare.
_WAYS = (
    ("smplh", "smpl", "mesh"),
    ("smpl", "smplh", "mesh"),
    ("smplh", "smplh", "mesh"),
    ("smplh", "smpl", "landmarks"),
)


def plan() -> list[dict[str, Any]]:
    """One cell a way, each in a process of its own: the first call compiles."""
    return [
        {"source": source, "target": target, "matched_by": matched_by, "frames": _FRAMES, "all_cores": True}
        for source, target, matched_by in _WAYS
    ]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Convert hard poses with curled fingers, first with everything that is compiled and then without."""
    del models
    import dataclasses

    from scipy.spatial.transform import Rotation

    from hardmo_jax.body import load
    from hardmo_jax.body.params import BodyParams
    from hardmo_jax.data import synthetic
    from hardmo_jax.fitting.result import FitStatus
    from hardmo_jax.recovery.convert import convert_params

    source, target = (load.open_body(view=cell[end]) for end in ("source", "target"))
    if cell["matched_by"] == "landmarks":
        target = dataclasses.replace(target, faces=target.faces[:0])
    rng, frames = np.random.default_rng(0), cell["frames"]
    pose = np.asarray(synthetic.sample_hard_poses(0, frames).full_pose, np.float32)
    if source.family == "smpl":
        pose = pose[:, : source.num_joints].copy()
        pose[:, _BODY_JOINTS:] = rng.normal(0, _HAND_SPREAD, pose[:, _BODY_JOINTS:].shape)
    params = BodyParams.from_full_pose(
        source,
        pose.astype(np.float32),
        betas=np.tile(rng.normal(size=source.num_betas), (frames, 1)).astype(np.float32),
        transl=rng.normal(0, 2, (frames, 3)).astype(np.float32),
    )
    seconds, processor_seconds = [], []
    made = None
    for _ in range(1 + _ROUNDS):
        begun, worked = time.perf_counter(), time.process_time()
        made = convert_params(source, target, params)
        seconds.append(time.perf_counter() - begun)
        processor_seconds.append(time.process_time() - worked)
    if made is None:
        raise RuntimeError("no round was run")
    names = [name for name in source.joint_names if name in target.joint_names]
    theirs, ours = (
        np.asarray(one.full_pose())[:, [body.joint_names.index(name) for name in names]]
        for body, one in ((source, params), (target, made.params))
    )
    apart = Rotation.from_rotvec(ours.reshape(-1, 3)) * Rotation.from_rotvec(theirs.reshape(-1, 3)).inv()
    degrees = np.rad2deg(apart.magnitude()).reshape(frames, len(names))
    toes = [names.index(f"{side}_foot") for side in ("left", "right")]
    warm = int(np.argsort(seconds[1:])[_ROUNDS // 2]) + 1
    return [
        {
            **{key: cell[key] for key in ("source", "target", "matched_by", "frames")},
            "warm_seconds": seconds[warm],
            "warm_processor_seconds": processor_seconds[warm],
            "first_call_seconds": seconds[0],
            "mean_error_mm": 1e3 * float(made.mean_error.mean()),
            "worst_frame_error_mm": 1e3 * float(made.mean_error.max()),
            "body_error_mm": 1e3 * float(made.body_error.mean()),
            "worst_frame_body_error_mm": 1e3 * float(made.body_error.max()),
            "worst_toe_degrees": float(degrees[:, toes].max()),
            "worst_joint_degrees": float(degrees.max()),
            "betas_apart": float(np.abs(np.asarray(made.params.betas) - np.asarray(params.betas)).max()),
            "share_converged": float(np.mean(made.status == FitStatus.CONVERGED)),
            "load_average": os.getloadavg()[0],
        }
    ]
