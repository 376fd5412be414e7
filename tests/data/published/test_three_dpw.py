"""Sequences in the layout of 3DPW: bodies in the axes of the camera, frames to train on, and damage."""

import os
import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax import safe_pickle
from hardmo_jax.data.published.three_dpw import ThreeDpw
from hardmo_jax.data.training_records import TrainingDataError, TrainingSource
from hardmo_jax.skeleton import layouts

SLOTS, DETECTED = layouts.get_layout("hmr2_44"), layouts.get_layout("openpose18")
FRAMES, PEOPLE = 4, 2
INTRINSICS = np.array([[1961.85, 0, 540], [0, 1969.23, 960], [0, 0, 1]])


@pytest.fixture
def sequence(rng):
    cameras = np.tile(np.eye(4), (FRAMES, 1, 1))
    cameras[:, :3, :3] = Rotation.random(FRAMES, random_state=1).as_matrix()
    cameras[:, :3, 3] = rng.normal((0, 0, 5), 1, (FRAMES, 3))
    detections = np.concatenate(
        [rng.uniform(100, 900, (PEOPLE, FRAMES, 2, 18)), np.full((PEOPLE, FRAMES, 1, 18), 0.8)], 2
    )
    return {
        "sequence": "courtyard_arguing_00",
        "betas": list(rng.normal(0, 1, (PEOPLE, 10))),
        "trans": list(rng.normal(0, 1, (PEOPLE, FRAMES, 3))),
        "poses": list(rng.normal(0, 0.3, (PEOPLE, FRAMES, 72))),
        "jointPositions": list(rng.normal(0, 1, (PEOPLE, FRAMES, 72))),
        "poses2d": list(detections),
        "cam_poses": cameras,
        "cam_intrinsics": INTRINSICS,
        "campose_valid": [np.ones(FRAMES, np.int64) for _ in range(PEOPLE)],
        "genders": ["m", "f"],
        "texture_maps": [],
        "img_frame_ids": np.arange(FRAMES) * 2,
    }


@pytest.fixture
def read(tmp_path):
    def read_sequence(fields, **options):
        path = tmp_path / "courtyard_arguing_00.pkl"
        path.write_bytes(pickle.dumps(fields, protocol=2))
        return ThreeDpw(path, "imageFiles", **options)

    return read_sequence


def number(person, frame):
    return person * FRAMES + frame


def test_numbers_are_those_of_the_file(read, sequence):
    source = read(sequence)
    assert isinstance(source, TrainingSource)
    assert (source.name, len(source)) == ("3dpw", PEOPLE * FRAMES)
    record = source.record(number(1, 2))
    assert record.pixels.path == os.path.join("imageFiles", "courtyard_arguing_00", "image_00002.jpg")
    detections = sequence["poses2d"][1][2]
    for index, point in enumerate(DETECTED.points):
        np.testing.assert_array_equal(record.person.keypoints_2d[SLOTS.index(point)], detections[:2, index])
    known = {point for point, value in zip(SLOTS.points, record.person.confidence, strict=True) if value == 0.8}
    assert known == set(DETECTED.points)
    extent = np.ptp(detections[:2], axis=1)
    assert record.size == pytest.approx(1.2 * extent.max())
    np.testing.assert_allclose(record.center, (detections[:2].min(1) + detections[:2].max(1)) / 2)
    assert record.focal_length == INTRINSICS[0, 0]
    assert record.has_pose
    np.testing.assert_array_equal(record.person.body_pose.reshape(-1), sequence["poses"][1][2, 3:])
    assert len({source.record(index).name for index in range(len(source))}) == len(source)


def test_root_is_turned_into_the_camera(read, sequence):
    record = read(sequence).record(number(0, 3))
    camera = sequence["cam_poses"][3, :3, :3]
    turned = camera @ Rotation.from_rotvec(sequence["poses"][0][3, :3]).as_matrix()
    np.testing.assert_allclose(Rotation.from_rotvec(record.person.global_orient).as_matrix(), turned, atol=1e-12)


def test_joints_are_moved_into_the_camera(read, sequence):
    person = read(sequence).record(number(1, 1)).person
    joints = sequence["jointPositions"][1][1].reshape(24, 3)
    camera = sequence["cam_poses"][1]
    for point in ("left_wrist", "right_ankle", "neck", "mid_hip"):
        joint = layouts.SMPL_JOINTS.index({"mid_hip": "pelvis"}.get(point, point))
        there = (camera @ [*joints[joint], 1])[:3]
        np.testing.assert_allclose(person.keypoints_3d[SLOTS.index(point)], there, atol=1e-12)
        assert person.confidence_3d[SLOTS.index(point)] == 1
    # Losses compare from here.
    pelvis = SLOTS.index("pelvis_mpii")
    np.testing.assert_array_equal(person.keypoints_3d[pelvis], person.keypoints_3d[SLOTS.index("mid_hip")])
    assert person.confidence_3d[pelvis] == 0
    assert person.confidence_3d[SLOTS.index("nose")] == 0


def test_gendered_shapes_are_not_those_of_the_neutral_body(read, sequence):
    assert not read(sequence).record(0).has_betas
    record = read(sequence, takes_gendered_betas=True).record(0)
    assert record.has_betas
    np.testing.assert_array_equal(record.betas, sequence["betas"][0])


def test_longer_shapes_are_cut(read, sequence, rng):
    sequence["betas"] = list(rng.normal(0, 1, (PEOPLE, 300)))
    record = read(sequence, takes_gendered_betas=True).record(0)
    np.testing.assert_array_equal(record.betas, sequence["betas"][0][:10])


def test_frames_to_train_on_have_an_aligned_camera_and_points(read, sequence):
    sequence["campose_valid"][0][:2] = 0
    sequence["poses2d"][1][3, :, 5:] = 0
    source = read(sequence)
    names = [source.record(index).name for index in range(len(source))]
    frames = [(0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
    assert names == [f"courtyard_arguing_00/image_{frame:05d}.jpg#{person}" for person, frame in frames]
    assert len(read(sequence, least_keypoints=5)) == len(frames) + 1


def test_folders_and_lists_of_files_are_read(read, sequence, tmp_path):
    read(sequence)
    path = tmp_path / "courtyard_arguing_00.pkl"
    (tmp_path / "other.pkl").write_bytes(pickle.dumps(sequence | {"sequence": "other"}))
    assert len(ThreeDpw(tmp_path, "imageFiles")) == len(ThreeDpw([path, path], "imageFiles")) == 16
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingDataError, match="must be one of sequences"):
        ThreeDpw(tmp_path / "empty", "imageFiles")
    with pytest.raises(FileNotFoundError):
        ThreeDpw(tmp_path / "none.pkl", "imageFiles")


def test_files_of_python_2_are_read(tmp_path, sequence):
    """Text of Python 2 is bytes."""
    path = tmp_path / "a.pkl"
    data = pickle.dumps(sequence, protocol=0)
    path.write_bytes(data.replace(b"Vcourtyard_arguing_00\n", b"S'courtyard_arguing_00'\n"))
    assert ThreeDpw(path, "imageFiles").record(0).name.startswith("courtyard_arguing_00/")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": None}, "`sequence` must be text, got nothing"),
        ({"cam_poses": np.zeros((FRAMES, 3, 4))}, "`cam_poses` must be numbers"),
        ({"cam_poses": np.zeros((0, 4, 4))}, "`cam_poses` must be of shape"),
        ({"cam_intrinsics": np.eye(4)}, "`cam_intrinsics` must be numbers"),
        ({"cam_intrinsics": np.zeros((3, 3))}, "`cam_intrinsics` must be above 0"),
        ({"poses": [np.zeros((FRAMES, 72))]}, "`jointPositions` must be a list of 1"),
        ({"poses": [np.zeros((FRAMES, 66))] * 2}, "person 0: `poses` must be numbers"),
        ({"poses": np.zeros((2, FRAMES, 72))}, "`poses` must be a list of 1 to"),
        ({"poses2d": [np.zeros((FRAMES, 18, 3))] * 2}, "`poses2d` must be numbers"),
        ({"jointPositions": [np.zeros((FRAMES, 24, 3))] * 2}, "`jointPositions` must be numbers"),
        ({"campose_valid": [np.ones(FRAMES + 1)] * 2}, "`campose_valid` must be numbers"),
        ({"betas": [np.zeros(9)] * 2}, "`betas` must be at least 10"),
        ({"genders": [1, 2]}, "`genders` must be text"),
        ({"genders": None}, "`genders` must be a list of 2"),
    ],
)
def test_wrong_fields_are_named(read, sequence, changes, message):
    with pytest.raises(TrainingDataError, match=f"courtyard_arguing_00.pkl: .*{message}"):
        read(sequence | changes)


@pytest.mark.parametrize("key", ["poses", "jointPositions", "poses2d", "cam_poses"])
def test_numbers_that_are_not_finite_are_of_one_frame_only(read, sequence, key):
    (sequence[key] if key == "cam_poses" else sequence[key][0])[1].flat[0] = np.nan
    source = read(sequence)
    source.record(0)
    with pytest.raises(TrainingDataError, match=rf"frame 1: person 0: `{key}` must be finite"):
        source.record(1)


def test_cameras_must_be_rigid(read, sequence):
    sequence["cam_poses"][0, :3, :3] *= 2
    with pytest.raises(TrainingDataError, match="rigid"):
        read(sequence).record(0)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch bombed",)


def test_nothing_is_executed(read, sequence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(safe_pickle.UnsafePickleError, match="system"):
        read(sequence | {"texture_maps": [Bomb()]})
    assert os.listdir(tmp_path) == ["courtyard_arguing_00.pkl"]


def test_bad_files_are_refused(tmp_path, sequence):
    path = tmp_path / "a.pkl"
    for content in (pickle.dumps(sequence)[:-50], b"", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(safe_pickle.CorruptPickleError):
            ThreeDpw(path, "imageFiles")
    path.write_bytes(pickle.dumps([sequence]))
    with pytest.raises(TrainingDataError, match="`the file` must be a dict"):
        ThreeDpw(path, "imageFiles")


@pytest.mark.parametrize("name", ["../other", "/other"])
def test_names_lead_nowhere_else(read, sequence, name):
    with pytest.raises(TrainingDataError, match="within the image folder"):
        read(sequence | {"sequence": name}).record(0)
