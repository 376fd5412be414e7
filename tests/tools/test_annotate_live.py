"""Live input by the command line: labels of its recording are those of the file that was played."""

import json
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.perception import video
from hardmo_jax.pipelines import demo_clip
from tests.perception import made_videos
from tests.tools.command_line import ROOT, run_each

SMOKE = (
    f"--config={ROOT}/configs/normal.py:smoke",
    "--config.output.overlay=False",
    "--config.output.part_scores=False",
    "--config.perception.hands=False",
    "--config.perception.detector=blazepose",
)
FRAMES = 4
#: Columns that hold the name or the time of a run.
OWN = {"source_path", "source_sha256", "label_id", "created_utc"}
#: Frames that are stored in another order than they are shown, at most.
_REORDERED = 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A few frames of one dancer."""
    images = [frame.image[:, :480] for frame in video.open_media(demo_clip.ASSETS / demo_clip.CLIP).frames(stop=FRAMES)]
    return made_videos.write(
        tmp_path_factory.mktemp("clip") / "clip.mp4", [cv2.resize(one, (320, 480)) for one in images]
    )


@pytest.fixture(scope="module")
def runs(clip, perception_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    lines = {
        "live": [*SMOKE, f"--input=play:{clip}", f"--output_dir={folder / 'live'}", "--nolive_fits"],
        "file": [*SMOKE, f"--input={clip}", f"--output_dir={folder / 'file'}"],
        "live again": [*SMOKE, f"--input=play:{clip}", f"--output_dir={folder / 'live'}", "--nolive_fits"],
        "no camera": [*SMOKE, "--input=webcam:61", f"--output_dir={folder / 'none'}"],
        "no stream": [
            *SMOKE, "--input=rtsp://anna:geheim@127.0.0.1:9/cam?geheim", f"--output_dir={folder / 'none'}",
            "--stall_seconds=3", "--nolive_fits",
        ],
        "two": [*SMOKE, f"--input=play:{clip}", f"--input={clip}", f"--output_dir={folder / 'none'}"],
    }  # fmt: skip
    return folder, dict(zip(lines, run_each("annotate", list(lines.values())), strict=True))


def _same(first, second):
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second, equal_nan=True)
    return first == second


def test_labels_of_the_recording_are_those_of_the_file(runs):
    folder, done = runs
    assert (done["live"].returncode, done["file"].returncode) == (0, 0), done
    live, file = (store.read_labels(folder / place / "labels.parquet").rows for place in ("live/labels", "file"))
    assert len(file) == FRAMES
    for row, other in zip(live, file, strict=True):
        differing = {key for key in vars(other) if not _same(getattr(row, key), getattr(other, key))}
        assert differing <= OWN, "to the last bit"
        assert row.source_path == "recording.mkv"


def test_what_was_seen_live_is_kept_as_it_came(runs):
    folder, done = runs
    rows = [json.loads(line) for line in (folder / "live/live.jsonl").read_text().splitlines()]
    record = json.loads((folder / "live/live.json").read_text())
    results = record["results"]
    assert {row["kind"] for row in rows} == {"keypoints"}
    assert len(rows) == results["num_labelled"] >= 1
    assert results["num_captured"] == FRAMES
    frames = [row["frame"] for row in rows]
    assert frames == sorted(set(frames))
    assert frames[-1] == FRAMES - 1
    for row in rows:
        for person in row["people"]:
            assert np.shape(person["keypoints_2d"]) == (67, 2)
            assert np.shape(person["confidence"]) == (67,)
    assert results["source"] == "play:clip.mp4"
    assert results["recorded"] == "as it came"
    assert f"live: {len(rows)} of {FRAMES} frames" in done["live"].stdout
    assert "the same again: --input=" in " ".join(done["live"].stdout.split())


def test_an_earlier_session_is_not_replaced(runs):
    _, done = runs
    assert done["live again"].returncode == 2
    assert "holds an earlier session, whose recording cannot be made again" in done["live again"].stderr


def test_what_is_not_there_is_told_in_one_line_and_leaves_nothing(runs):
    folder, done = runs
    for name, message in (
        ("no camera", "error: webcam:61: there is no /dev/video61"),
        ("no stream", "error: rtsp://127.0.0.1:9/cam: cannot be opened (Connection refused)"),
        ("two", "error: live input is labelled by itself; give one --input"),
    ):
        assert done[name].returncode == 2
        assert message in done[name].stderr
        assert "Traceback" not in done[name].stderr
        assert "geheim" not in done[name].stderr + done[name].stdout
    assert not (folder / "none").exists()


def test_ctrl_c_closes_the_recording(clip, perception_models, tmp_path):
    images = [frame.image for frame in video.open_media(clip).frames()]
    path = made_videos.write(tmp_path / "long.mp4", [*images, *images[::-1]] * 30)
    line = [*SMOKE, f"--input=play:{path}", f"--output_dir={tmp_path / 'live'}", "--nolive_fits", "--norelabel"]
    process = subprocess.Popen([sys.executable, "-m", "tools.annotate", *line], cwd=ROOT, stderr=subprocess.PIPE)
    rows = tmp_path / "live" / "live.jsonl"
    deadline = time.monotonic() + 120
    while not (rows.is_file() and rows.read_text().count("\n") > 2) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told.decode()
    assert "the recording is closed: it was stopped by Ctrl-C" in told.decode()
    results = json.loads((tmp_path / "live" / "live.json").read_text())["results"]
    frames = list(video.open_media(tmp_path / "live" / "recording.mkv").frames())
    assert len(frames) == results["num_captured"]
    # Where a recording is cut, a frame may lack those that are shown before it and stored behind it.
    theirs = list(video.open_media(path).frames(stop=len(frames) + _REORDERED))
    whole = max(len(frames) - _REORDERED, 0)
    assert all(np.array_equal(frame.image, other.image) for frame, other in zip(frames[:whole], theirs, strict=False))
    for frame in frames:
        nearest = min(theirs, key=lambda other: abs(other.time_seconds - frame.time_seconds))
        assert abs(nearest.time_seconds - frame.time_seconds) < 2e-3
        np.testing.assert_array_equal(frame.image, nearest.image)
