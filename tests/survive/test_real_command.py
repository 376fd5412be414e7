"""The real command, with real processes: killed ten times, and compared with one that was not."""

import dataclasses
import datetime
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.geometry import cameras
from hardmo_jax.labels import store
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks
from tests.perception import made_videos
from tests.perception.test_keypoints_from_files import openpose, write

CLIPS, FRAMES, KILLS = 20, 4, 10
_ROOT = pathlib.Path(__file__).parent.parent.parent
_WIDTH, _HEIGHT = 320, 240
_TIME = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


@pytest.fixture
def clips(tmp_path):
    """Small videos, and files of keypoints of somebody who moves in each."""
    body = hm.open_body()
    model, _ = landmarks.point_model(body, layouts.get_layout("openpose25"))
    camera = cameras.camera_from_image_size(_WIDTH, _HEIGHT)
    rng = np.random.default_rng(0)
    for number in range(CLIPS):
        name = f"clip_{number:02d}"
        picture = np.kron(rng.integers(0, 255, (15, 20, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
        (tmp_path / "clips").mkdir(exist_ok=True)
        made_videos.write(tmp_path / "clips" / f"{name}.mp4", [picture] * FRAMES)
        track = tracks.make_track(body, frames=FRAMES, seed=number)
        for at, points in enumerate(np.asarray(cameras.project_points(camera, model(track.params())))):
            values = np.concatenate([points, np.full((25, 1), 0.9)], 1)
            write(tmp_path / "keypoints" / f"{name}_{at:012d}_keypoints.json", openpose(values.ravel().tolist()))
    return tmp_path


def _command(folder: pathlib.Path, output: str, workers: int) -> list[str]:
    return [
        sys.executable, "-m", "tools.annotate", "--config=configs/normal.py:smoke",
        f"--input={folder / 'clips'}", f"--output_dir={folder / output}", "--runner=local", f"--workers={workers}",
        "--config.perception.detector=files", f"--config.perception.keypoints_file={folder / 'keypoints'}",
    ]  # fmt: skip


def _rows(folder: pathlib.Path):
    rows = store.read_labels(folder / "labels").rows
    # When they were made, and by which commit: somebody may commit meanwhile.
    return [dataclasses.replace(row, created_utc=_TIME, code_version="this") for row in rows]


def _run(command, log, kill_after: float | None = None) -> tuple[int, float]:
    start = time.monotonic()
    with log.open("ab") as told:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=told, stderr=told, start_new_session=True)
        try:
            code = process.wait(kill_after or 600)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            code = process.wait()
    return code, time.monotonic() - start


@pytest.mark.slow
@pytest.mark.survive
def test_the_command_killed_ten_times_labels_as_one_that_is_not(clips, promise):
    with promise("kill -9 of the real command, 20 clips") as row:
        log = clips / "log.txt"
        # Programs are compiled by the first run, so that the second says how long one takes.
        for output in ("first", "undisturbed"):
            code, took = _run(_command(clips, output, 1), log)
            assert code == 0, log.read_text()[-3000:]
        expected = _rows(clips / "undisturbed")
        row.tried(None if len(expected) == CLIPS * FRAMES else f"{len(expected)} labels of {CLIPS * FRAMES}")
        for one in expected:
            points = one.keypoints_3d[np.isfinite(one.keypoints_3d).all(-1)]
            row.tried(None if len(points) and (points[:, 2] > 0).all() else f"{one.source_path} is behind the camera")
        drawn, kills, number = random.Random(10), 0, 0
        while kills < KILLS:
            output = f"killed_{number}"
            number += 1
            for _ in range(4):
                code, _ = _run(_command(clips, output, 2), log, kill_after=drawn.uniform(0.2, 1.0) * took)
                kills += code == -signal.SIGKILL
                if code == 0:
                    break
            code, _ = _run(_command(clips, output, 2), log)
            row.tried(None if code == 0 else f"after kills the command ends with {code}")
            found = _rows(clips / output)
            differ = [one.source_path for one, other in zip(expected, found, strict=False) if not one.same_as(other)]
            row.tried(
                None
                if len(found) == len(expected) and not differ
                else f"{len(found)} rows, {sorted(set(differ))} differ"
            )
        row.tried(cases=kills)
        row.note = f"{kills} kills of {number} jobs, a job of {took:.0f} s"
