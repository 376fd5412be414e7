"""The compile suite: seconds of the first call of each program, with an empty and with a filled cache of programs."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("joints", "mesh", "keypoint_gradient", "fit")
_FIT_BATCH = 64


def plan() -> list[dict[str, object]]:
    """One cell a program."""
    return [{"program": program} for program in PROGRAMS]


def run(cell: dict[str, object], models: pathlib.Path) -> list[dict[str, object]]:
    """Run the program in a fresh process with an empty cache, and again with the cache that the first left."""
    with tempfile.TemporaryDirectory() as cache:
        seconds = [_first_call(str(cell["program"]), models, cache) for _ in range(2)]
    return [{**cell, "cold_seconds": seconds[0], "warm_seconds": seconds[1]}]


def _first_call(program: str, models: pathlib.Path, cache: str) -> float:
    code = f"from tools.benchmarks import compilation; compilation.print_first_call({program!r}, {str(models)!r})"
    environment = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **environment},
        check=True,
    )
    return float(done.stdout.split()[-1])


def print_first_call(program: str, models: str) -> None:
    """Print the seconds of a first call; imports and loading of the body are not counted."""
    import jax
    import numpy as np

    from tools.benchmarks import contestants

    call = _fit_call(models) if program == "fit" else None
    if call is None:
        contestant = contestants.HardmoJax(pathlib.Path(models))
        inputs = contestants.draw_inputs(256)
        extra = (np.zeros((256, 45, 2), np.float32),) if program == "keypoint_gradient" else ()
        call = getattr(contestant, program)(inputs, *extra)
    start = time.perf_counter()
    jax.block_until_ready(call())
    print(time.perf_counter() - start)


def _fit_call(models: str) -> Callable[[], object]:
    """`hm.fit` with default options: 64 people, 24 joints and 21 landmarks of SMPL as BODY_25."""
    import numpy as np

    import hardmo_jax as hm
    from hardmo_jax.body import landmarks
    from hardmo_jax.geometry import cameras

    body = hm.load_body(pathlib.Path(models) / "SMPL_NEUTRAL.npz")
    params = hm.BodyParams.rest(body, batch=(_FIT_BATCH,))
    points = np.asarray(landmarks.layout_points(body, "openpose25")(params)) * [1, -1, -1] + [0, 0, 4]
    camera = cameras.camera_from_image_size(1280, 720)
    keypoints_2d = np.asarray(cameras.project_points(camera, points.astype(np.float32)))
    observations = hm.Observations(
        keypoints_2d=keypoints_2d, confidence=np.ones(keypoints_2d.shape[:2]), layout="openpose25", camera=camera
    )
    return lambda: hm.fit(body, observations).params.transl
