"""Files of ProHMR's and 4DHumans' layout: numbers by name of the point, boxes in pixels, and damage."""

import os

import numpy as np
import pytest

from hardmo_jax import safe_pickle
from hardmo_jax.data.published.hmr2_npz import Hmr2Npz
from hardmo_jax.data.training_records import FINGERTIPS, TrainingDataError, TrainingSource
from hardmo_jax.skeleton import layouts

SLOTS, DETECTOR = layouts.get_layout("hmr2_44"), layouts.get_layout("openpose25")
COUNT = 3


@pytest.fixture
def arrays(rng):
    def keypoints(count, axes):
        return np.concatenate([rng.normal(100, 30, (COUNT, count, axes)), np.ones((COUNT, count, 1))], -1)

    return {
        "imgname": np.array(["ballet/1/000001.jpeg", "ballet/1/000002.jpeg", "tango/é.jpeg"]),
        "center": rng.uniform(100, 200, (COUNT, 2)),
        "scale": rng.uniform(100, 400, (COUNT, 2)),
        "body_pose": rng.normal(0, 0.3, (COUNT, 72)),
        "has_body_pose": np.array([1.0, 1.0, 0.0]),
        "betas": rng.normal(0, 1, (COUNT, 10)),
        "has_betas": np.array([True, False, True]),
        "body_keypoints_2d": keypoints(25, 2),
        "extra_keypoints_2d": keypoints(19, 2),
        "body_keypoints_3d": keypoints(25, 3),
        "extra_keypoints_3d": keypoints(19, 3),
    }


@pytest.fixture
def read(tmp_path):
    def read_arrays(arrays, **options):
        np.savez(tmp_path / "labels.npz", **arrays)
        return Hmr2Npz(tmp_path / "labels.npz", "photos", **options)

    return read_arrays


def test_numbers_are_those_of_the_file(read, arrays):
    source = read(arrays)
    assert isinstance(source, TrainingSource)
    assert (source.name, len(source)) == ("labels", COUNT)
    for row in range(COUNT):
        record = source.record(row)
        assert record.pixels.path == os.path.join("photos", *arrays["imgname"][row].split("/"))
        np.testing.assert_array_equal(record.center, arrays["center"][row])
        assert record.size == arrays["scale"][row].max()
        for point, place, known in zip(SLOTS.points, record.person.keypoints_2d, record.person.confidence, strict=True):
            key, index = point_of(point)
            np.testing.assert_array_equal([*place, known], arrays[f"{key}_keypoints_2d"][row, index])
            np.testing.assert_array_equal(
                record.person.keypoints_3d[SLOTS.index(point)], arrays[f"{key}_keypoints_3d"][row, index, :3]
            )
    assert len({source.record(row).name for row in range(COUNT)}) == COUNT


def point_of(point):
    if point in DETECTOR.points:
        return "body", DETECTOR.index(point)
    return "extra", SLOTS.index(point) - len(DETECTOR)


def test_parts_that_are_unknown_are_zero(read, arrays):
    source = read(arrays)
    assert [source.record(row).has_pose for row in range(COUNT)] == [True, True, False]
    assert [source.record(row).has_betas for row in range(COUNT)] == [True, False, True]
    np.testing.assert_array_equal(source.record(0).person.global_orient, arrays["body_pose"][0, :3])
    np.testing.assert_array_equal(source.record(0).person.body_pose.reshape(-1), arrays["body_pose"][0, 3:])
    assert not source.record(2).person.body_pose.any()
    assert not source.record(1).betas.any()
    np.testing.assert_array_equal(source.record(2).betas, arrays["betas"][2])


@pytest.mark.parametrize("key", ["body_pose", "has_body_pose", "betas", "has_betas"])
def test_halves_of_pairs_are_not_taken(read, arrays, key):
    del arrays[key]
    record = read(arrays).record(0)
    assert (record.has_pose, record.has_betas) == ("pose" not in key, "betas" not in key)


def test_joints_in_space_are_believed_as_published(read, arrays):
    known = read(arrays).record(0).person.confidence_3d
    believed = {point for point, value in zip(SLOTS.points, known, strict=True) if value > 0}
    face_and_feet = {point for point in DETECTOR.points if any(part in point for part in ("eye", "ear", "nose", "toe"))}
    assert believed == face_and_feet | {"left_heel", "right_heel"} | set(SLOTS.points[len(DETECTOR) :])
    assert read(arrays, believes_joints_3d=True).record(0).person.confidence_3d.all()


def test_files_of_boxes_and_names_alone_are_read(read, arrays):
    record = read({key: arrays[key] for key in ("imgname", "center", "scale")}).record(0)
    assert not record.person.confidence.any()
    assert not record.person.confidence_3d.any()
    assert record.fingertips_2d is None


@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 1), (COUNT, 1, 2), (COUNT, 2)])
def test_scales_are_numbers_or_sides(read, arrays, shape):
    arrays["scale"] = np.arange(1, np.prod(shape) + 1.0).reshape(shape)
    record = read(arrays, pixels_per_scale=200).record(1)
    assert record.size == 200 * arrays["scale"][1].max()


@pytest.mark.parametrize("rows", [10, 12])
def test_tips_of_fingers_are_the_last_ten(read, arrays, rng, rows):
    hands = np.concatenate([rng.uniform(0, 100, (COUNT, rows, 2)), np.ones((COUNT, rows, 1))], -1)
    record = read(arrays | {"hand_keypoints_2d": hands}).record(1)
    np.testing.assert_array_equal(record.fingertips_2d, hands[1, -len(FINGERTIPS) :, :2])
    np.testing.assert_array_equal(record.fingertips_confidence, 1)


@pytest.mark.parametrize("kind", [object, "S"])
def test_names_may_be_objects_or_bytes(read, arrays, kind):
    names = [name.encode() if kind == "S" else name for name in arrays["imgname"].tolist()]
    record = read(arrays | {"imgname": np.array(names, kind)}).record(2)
    assert record.pixels.path == os.path.join("photos", "tango", "é.jpeg")


def test_packed_files_are_read(arrays, tmp_path):
    np.savez_compressed(tmp_path / "labels.npz", **arrays | {"imgname": arrays["imgname"].astype(object)})
    np.testing.assert_array_equal(Hmr2Npz(tmp_path / "labels.npz", "photos").record(2).betas, arrays["betas"][2])


def test_numbers_may_be_objects(read, arrays):
    source = read(arrays | {"scale": np.array([100, 200.0, 300], object)})
    assert source.record(2).size == 300


def test_what_is_told_beside_is_not_read(read, arrays):
    read(arrays | {"extra_info": np.array([{"a": Bomb()}] * COUNT, object)}).record(0)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch bombed",)


def test_nothing_is_executed(read, arrays, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(safe_pickle.UnsafePickleError, match=r"labels.npz: imgname.*system"):
        read(arrays | {"imgname": np.array([Bomb()] * COUNT, object)})
    assert os.listdir(tmp_path) == ["labels.npz"]


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "a/../../b.jpg", "C:\\a.jpg", "\\\\host\\a.jpg", "", "file:a"])
def test_names_lead_nowhere_else(read, arrays, name):
    source = read(arrays | {"imgname": np.array(["a.jpg", name, "b.jpg"])})
    source.record(0)
    with pytest.raises(TrainingDataError, match=r"labels.npz: row 1: `imgname` must be"):
        source.record(1)


@pytest.mark.parametrize("key", ["imgname", "center", "scale"])
def test_missing_arrays_are_named(read, arrays, key):
    del arrays[key]
    with pytest.raises(TrainingDataError, match=f"labels.npz: `{key}` must be among the arrays"):
        read(arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"center": np.zeros((COUNT, 3))}, "`center` must be numbers"),
        ({"center": np.zeros((COUNT - 1, 2))}, "`center` must be 3 rows"),
        ({"scale": np.array(["a"] * COUNT)}, "`scale` must be numbers"),
        ({"body_pose": np.zeros((COUNT, 69))}, "`body_pose` must be numbers"),
        ({"body_keypoints_2d": np.zeros((COUNT, 25, 2))}, "`body_keypoints_2d` must be"),
        ({"imgname": np.array("a")}, "`imgname` must be 1 to"),
        ({"scale": np.array([[1], "a", None], object)}, "`scale` must be texts or numbers"),
    ],
)
def test_wrong_shapes_are_named(read, arrays, change, message):
    with pytest.raises(TrainingDataError, match=message):
        read(arrays | change)


@pytest.mark.parametrize("key", ["center", "scale", "body_pose", "betas", "body_keypoints_2d", "extra_keypoints_3d"])
def test_numbers_that_are_not_finite_are_of_one_person_only(read, arrays, key):
    arrays[key][0].flat[0] = np.nan
    source = read(arrays)
    source.record(1)
    with pytest.raises(TrainingDataError, match=r"row 0.*must be finite"):
        source.record(0)


def test_files_of_spin_are_told_apart(read, arrays):
    with pytest.raises(TrainingDataError, match="SpinNpz"):
        read({key: arrays[key] for key in ("imgname", "center", "scale")} | {"part": np.zeros((COUNT, 24, 3))})


def test_bad_files_are_refused(read, arrays, tmp_path):
    read(arrays)
    path = tmp_path / "labels.npz"
    data = path.read_bytes()
    for content in (data[:-200], b"", b"\x93NUMPY", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(TrainingDataError, match=r"labels\.npz"):
            Hmr2Npz(path, "photos")
    with pytest.raises(FileNotFoundError):
        Hmr2Npz(tmp_path / "none.npz", "photos")


def test_folder_of_pictures_need_not_be_there(read, arrays):
    assert not os.path.exists(read(arrays).record(0).pixels.path)
