"""Keypoint files that are written: read back as they were, valid for others, and never outside of their folder."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hardmo_jax.perception import keypoint_files
from hardmo_jax.perception.keypoint_files import FilePerson, FilePicture
from tests.perception.keypoint_file_samples import LAYOUT

PICTURE = FilePicture(name="clip_000000000012", frame_index=12, width=640, height=480)
NUM_POINTS = len(LAYOUT)


def person(rng, **fields):
    confidence = rng.uniform(size=NUM_POINTS).astype(np.float32)
    confidence[rng.uniform(size=NUM_POINTS) < 0.3] = 0
    confidence[LAYOUT.index("nose")] = 0.5
    points = np.where(confidence[:, None] > 0, rng.uniform(-50, 700, (NUM_POINTS, 2)), 0).astype(np.float32)
    box = np.sort(rng.uniform(0, 500, (2, 2)), axis=0).ravel().astype(np.float32)
    values = {"picture": PICTURE, "bbox": box, "score": 0.25, "track_id": 3} | fields
    return FilePerson(keypoints_2d=points, confidence=confidence, file_layout="openpose67", **values)


def assert_same_points(found, expected):
    np.testing.assert_array_equal(found.keypoints_2d, expected.keypoints_2d)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
    assert found.track_id == expected.track_id


def test_openpose_is_read_back_as_it_was(tmp_path, rng):
    people = [person(rng), person(rng, track_id=None), person(rng, track_id=0)]
    path = keypoint_files.write_openpose(tmp_path / "new", "day/clip_000000000012", people)
    assert path == tmp_path / "new" / "day" / "clip_000000000012_keypoints.json"
    file = keypoint_files.read_keypoint_file(path)
    assert file.pictures == (FilePicture(name="clip_000000000012", frame_index=12),)
    for found, expected in zip(file.people, people, strict=True):
        assert_same_points(found, expected)


def test_openpose_has_the_fields_of_version_1_3(tmp_path, rng):
    path = keypoint_files.write_openpose(tmp_path, "a", [person(rng, track_id=None)])
    content = json.loads(path.read_text())
    assert content["version"] == 1.3
    (entry,) = content["people"]
    assert entry["person_id"] == [-1]
    lengths = {field: len(value) for field, value in entry.items()}
    assert lengths == {
        "person_id": 1, "pose_keypoints_2d": 75, "face_keypoints_2d": 0, "hand_left_keypoints_2d": 63,
        "hand_right_keypoints_2d": 63, "pose_keypoints_3d": 0, "face_keypoints_3d": 0, "hand_left_keypoints_3d": 0,
        "hand_right_keypoints_3d": 0,
    }  # fmt: skip
    nobody = keypoint_files.write_openpose(tmp_path, "b", [])
    assert json.loads(nobody.read_text())["people"] == []


def test_coco_wholebody_is_read_back_as_it_was(tmp_path, rng):
    empty = FilePicture(name="sub/empty.jpg", width=64, height=48)
    people = [person(rng), person(rng, track_id=None, score=None), person(rng, track_id=4)]
    path = keypoint_files.write_coco_wholebody(tmp_path / "new" / "a.json", [empty, PICTURE], people)
    file = keypoint_files.read_keypoint_file(path)
    assert file.pictures == (empty, PICTURE)
    for number, (found, expected) in enumerate(zip(file.people, people, strict=True)):
        assert_same_points(found, expected)
        assert (found.picture, found.score, found.annotation_id) == (PICTURE, expected.score, number + 1)
        np.testing.assert_allclose(found.bbox, expected.bbox, rtol=1e-6)


def test_coco_wholebody_is_what_its_readers_expect(tmp_path, rng):
    someone = person(rng, bbox=None)
    path = keypoint_files.write_coco_wholebody(tmp_path / "a.json", [PICTURE], [someone])
    content = json.loads(path.read_text())
    assert content["images"][0]["id"] == content["annotations"][0]["image_id"] == 1
    (entry,) = content["annotations"]
    lengths = {"keypoints": 17, "foot_kpts": 6, "lefthand_kpts": 21, "righthand_kpts": 21, "face_kpts": 68}
    for field, count in lengths.items():
        triples = np.reshape(entry[field], (count, 3))
        assert set(np.unique(triples[:, 2])) <= {0, 1, 2}
        if field != "keypoints":
            assert entry[field.replace("_kpts", "_valid")] == bool(triples[:, 2].any())
    assert entry["num_keypoints"] == sum(flag > 0 for flag in entry["keypoints"][2::3])
    assert entry["area"] == pytest.approx(entry["bbox"][2] * entry["bbox"][3])
    seen = someone.keypoints_2d[someone.confidence > 0]
    np.testing.assert_allclose(entry["bbox"], [*seen.min(0), *np.ptp(seen, axis=0)], rtol=1e-6)
    assert content["categories"][0]["keypoints"][9] == "left_wrist"


def test_coco_of_named_points_is_read_back_as_it_was_by_their_names(tmp_path, rng):
    people = [
        person(rng, annotation_id=7),
        person(rng, track_id=4, annotation_id=2**52, label_id="a" * 32, label_version=3),
    ]
    path = keypoint_files.write_coco_named(tmp_path / "a.json", [PICTURE], people)
    for found, expected in zip(keypoint_files.read_keypoint_file(path).people, people, strict=True):
        assert_same_points(found, expected)
        assert found.annotation_id == expected.annotation_id
    content = json.loads(path.read_text())
    (category,) = content["categories"]
    names = category["keypoints"]
    assert len(names) == 65
    triples = np.reshape(content["annotations"][1]["keypoints"], (65, 3))
    for name in ("nose", "right_small_toe", "left_pinky_tip", "right_thumb1"):
        at = LAYOUT.index(name)
        seen = people[1].confidence[at] > 0
        np.testing.assert_array_equal(triples[names.index(name), :2], people[1].keypoints_2d[at] if seen else [0, 0])
    assert content["annotations"][1]["attributes"] == {"label_id": "a" * 32, "label_version": 3}
    lines = {(names[a - 1], names[b - 1]) for a, b in category["skeleton"]}
    assert len(lines) == len(category["skeleton"]) == 64
    assert {("left_ankle", "left_heel"), ("right_index3", "right_index_tip"), ("left_wrist", "left_hand_root")} <= lines


def test_two_people_are_not_one_annotation(tmp_path, rng):
    people = [person(rng, annotation_id=7), person(rng, annotation_id=7)]
    with pytest.raises(keypoint_files.KeypointFileError, match="two people are the annotation 7"):
        keypoint_files.write_coco_named(tmp_path / "a.json", [PICTURE], people)
    assert not (tmp_path / "a.json").exists()


def test_flags_that_were_edited_stand_above_the_kept_confidences(tmp_path, rng):
    someone = person(rng)
    path = keypoint_files.write_coco_wholebody(tmp_path / "a.json", [PICTURE], [someone])
    content = json.loads(path.read_text())
    triples = content["annotations"][0]["keypoints"]
    triples[2] = 2 if triples[2] < 2 else 0
    path.write_text(json.dumps(content))
    (found,) = keypoint_files.read_keypoint_file(path).people
    at = LAYOUT.index("nose")
    assert found.confidence[at] == triples[2] / 2
    np.testing.assert_array_equal(np.delete(found.confidence, at), np.delete(someone.confidence, at))


_COORDINATES = arrays.arrays(
    np.float32, (NUM_POINTS, 2), elements=st.floats(-9e5, 9e5, width=32, allow_subnormal=False)
)  # fmt: skip
_CONFIDENCES = arrays.arrays(np.float32, NUM_POINTS, elements=st.floats(0, 1, width=32))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(points=_COORDINATES, confidence=_CONFIDENCES, track_id=st.one_of(st.none(), st.integers(0, 2**31 - 1)))
def test_whatever_is_written_is_read_back(tmp_path_factory, points, confidence, track_id):
    folder = tmp_path_factory.getbasetemp()
    # A person who is all within two pixels would be taken for shares of a picture.
    points[0], confidence[0] = (-2, -2), 1
    someone = FilePerson(
        picture=PICTURE, keypoints_2d=np.where(confidence[:, None] > 0, points, np.float32(0)), confidence=confidence,
        track_id=track_id, file_layout="openpose67",
    )  # fmt: skip
    for path in (
        keypoint_files.write_openpose(folder, "any", [someone]),
        keypoint_files.write_coco_wholebody(folder / "any.json", [PICTURE], [someone]),
    ):
        (found,) = keypoint_files.read_keypoint_file(path).people
        assert_same_points(found, someone)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/../../b", "/etc/a", "a//b", "a/./b", "C:/a", "C:a", "\\\\host\\a", "a\\b", "a\nb", "a\0",
     "\ud800", "a/", " "],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(keypoint_files.KeypointFileError, match="no file can be named after"):
        keypoint_files.write_openpose(tmp_path / "out", name, [])
    assert list(tmp_path.rglob("*.json")) == []


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(keypoint_files.KeypointFileError, match="through a link"):
        keypoint_files.write_openpose(tmp_path / "out", "link/a", [])


def test_names_with_dots_and_spaces_are_kept(tmp_path):
    assert keypoint_files.write_openpose(tmp_path, "a b.v2..x", []).name == "a b.v2..x_keypoints.json"


def test_what_cannot_be_written_is_told(tmp_path, rng):
    someone, path = person(rng), tmp_path / "a.json"
    shares = dataclasses.replace(someone, shares="of_size")
    wild = dataclasses.replace(someone, keypoints_2d=np.full((NUM_POINTS, 2), np.nan, np.float32))
    other = FilePicture(name="other.jpg", width=1, height=1)
    cases = [
        ([PICTURE], [shares], "in_pixels"),
        ([PICTURE], [wild], "not finite"),
        ([other], [someone], "nobody said how large"),
        ([FilePicture(name="a.jpg")], [], "need a name and a size"),
        ([PICTURE, dataclasses.replace(PICTURE, width=3)], [], "two pictures are called"),
    ]
    for pictures, people, message in cases:
        with pytest.raises(keypoint_files.KeypointFileError, match=message):
            keypoint_files.write_coco_wholebody(path, pictures, people)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(keypoint_files.KeypointFileError, match="in_pixels"):
        keypoint_files.write_openpose(tmp_path, "a", [shares])


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, rng, monkeypatch):
    path = keypoint_files.write_openpose(tmp_path, "a", [person(rng)])
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        keypoint_files.write_openpose(tmp_path, "a", [])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
