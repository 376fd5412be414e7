"""DeepMimic clips: people walk forward with knees that bend backwards."""

import json

import numpy as np
import pytest

from hardmo_jax.data.sources import deepmimic
from hardmo_jax.data.sources.clip import MotionFileError

REST = [0.04, 1, 2, 3, *[1, 0, 0, 0] * 4, 0, *[1, 0, 0, 0] * 2, 0, *[1, 0, 0, 0], 0, *[1, 0, 0, 0] * 2, 0]


@pytest.fixture
def write(tmp_path):
    def write_rows(rows, **more):
        path = tmp_path / "clip.txt"
        path.write_text(rows if isinstance(rows, str) else json.dumps({"Loop": "wrap", "Frames": rows} | more))
        return path

    return write_rows


def places_of(clip):
    places = clip.world_motion()[1]
    return {name: places[:, index] for index, name in enumerate(clip.joint_names)}


def test_rest_row_is_the_rest_skeleton_in_our_axes(write):
    clip = deepmimic.read_deepmimic(write([REST, REST]))
    np.testing.assert_allclose(clip.rotations, np.broadcast_to(np.eye(3), clip.rotations.shape), atol=1e-12)
    np.testing.assert_allclose(clip.translations[0, 0], [-3, 2, 1])
    rest = dict(zip(clip.joint_names, clip.rest_positions(), strict=True))
    assert rest["left_hip"][0] > 0 > rest["right_hip"][0]
    assert clip.frames_per_second == pytest.approx(25)


def test_knee_bends_back_and_elbow_forward(write):
    row = list(REST)
    row[20], row[29] = -1.0, 1.0
    places = places_of(deepmimic.read_deepmimic(write([row])))
    assert places["right_ankle"][0, 2] < places["right_knee"][0, 2] - 0.3
    assert places["right_wrist"][0, 2] > places["right_elbow"][0, 2] + 0.2


def test_walk_is_plausible(reference_data):
    path = reference_data / "mocap" / "deepmimic" / "humanoid3d_walk.txt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    clip = deepmimic.read_deepmimic(path)
    places = places_of(clip)
    way = places["root"][-1] - places["root"][0]
    speed = way[2] / (clip.num_frames - 1) * clip.frames_per_second
    assert 0.7 < speed < 1.6
    assert abs(way[0]) < 0.2 * way[2]
    lowest = np.minimum(places["left_ankle"], places["right_ankle"])[:, 1]
    assert (np.abs(lowest - 0.07) < 0.06).all()  # an ankle is about 7 cm above the sole
    for side, sign in (("left", 1), ("right", -1)):
        hip, knee, ankle = (places[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        assert ((knee - (hip + ankle) / 2)[:, 2] > -0.02).all()
        assert (sign * (hip - places["root"])[:, 0] > 0).all()


def test_all_real_clips_are_read(reference_data):
    paths = sorted((reference_data / "mocap" / "deepmimic").glob("*.txt"))
    if not paths:
        pytest.skip("no DeepMimic clips in the reference data")
    for path in paths:
        clip = deepmimic.read_deepmimic(path)
        assert clip.num_frames == len(json.loads(path.read_text())["Frames"])
        assert 15 < clip.frames_per_second < 61


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "Frames"),
        ([], "Frames"),
        ([REST[:-1]], "frame 0: expected 44 numbers, got 43"),
        ([REST, [*REST[:-1], "x"]], "frame 1: a value"),
        ([REST, [*REST[:-1], float("nan")]], "frame 1: a value"),
        ([[0.04, 0, 0, 0, *[0] * 40]], "quaternion of root"),
        ([[0, *REST[1:]], REST], "duration of 0"),
    ],
)
def test_damage_is_named(write, rows, message):
    with pytest.raises(MotionFileError, match=message):
        deepmimic.read_deepmimic(write(rows))
