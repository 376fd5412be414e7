"""Keypoints of labels as files of other programs: read back equal, called as these call them."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.export.source_names import ExportError
from hardmo_jax.labels import schema, store
from hardmo_jax.perception import keypoint_files, video
from hardmo_jax.pipelines.exports import export_keypoints


def label(rng, source_path, frame_index=0, track_id=0, **changes):
    confidence = rng.uniform(size=67).astype(np.float32)
    confidence[rng.uniform(size=67) < 0.3] = 0
    fields = {
        "source_path": source_path, "source_sha256": "a" * 64, "frame_index": frame_index, "image_width": 640,
        "image_height": 480, "bbox": np.array([1, 2, 300.5, 400]), "track_id": track_id, "person_score": 0.5,
        "keypoint_source": "test", "keypoint_confidence": confidence,
        "keypoints_2d": np.where(confidence[:, None] > 0, rng.uniform(0, 480, (67, 2)), 0),
        "body_model": "open_body_smplh", "body_model_sha256": "b" * 64, "betas": np.zeros(10),
        "global_orient": np.zeros(3), "body_pose": np.zeros((21, 3)), "transl": np.zeros(3),
        "focal_length": np.full(2, 500.0), "principal_point": np.array([320.0, 240.0]),
        "camera_source": "diagonal", "status": "CONVERGED",
        "error_by_part": {},
    }  # fmt: skip
    return schema.LabelRow(**(fields | changes))


@pytest.fixture
def rows(rng):
    clip = {"fps": 30.0, "time_seconds": 0.4}
    nobody = {"keypoint_confidence": np.zeros(67), "keypoints_2d": np.zeros((67, 2)), "status": "FILLED"}
    return [
        label(rng, "day/a.jpg"),
        label(rng, "day/a.jpg", track_id=1),
        label(rng, "clip.mp4", 12, 3, **clip),
        label(rng, "clip.mp4", 13, 3, **clip, **nobody),
    ]


@pytest.fixture
def labels(tmp_path, rows):
    stale = dataclasses.replace(rows[0], keypoints_2d=rows[0].keypoints_2d + 1)
    newest = dataclasses.replace(rows[0], label_version=2, parent_version=1)
    store.write_labels(tmp_path / "run" / "labels.parquet", [stale, *rows[1:], newest])
    return tmp_path / "run"


def assert_equal(person, row):
    np.testing.assert_array_equal(person.keypoints_2d, row.keypoints_2d)
    np.testing.assert_array_equal(person.confidence, row.keypoint_confidence)
    assert person.track_id == row.track_id


def newest(labels):
    return store.latest_labels(store.read_labels(labels / "labels.parquet").rows)


def test_openpose_files_are_read_back_as_the_labels(tmp_path, labels, rows):
    folder = tmp_path / "openpose"
    counts = export_keypoints.write_keypoints(folder, newest(labels), "openpose")
    assert counts == export_keypoints.KeypointCounts(num_pictures=3, num_people=3, num_left_out=1)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.json")}
    assert sorted(found) == [
        "clip_000000000012_keypoints.json",
        "clip_000000000013_keypoints.json",
        "day/a_keypoints.json",
    ]
    photo = keypoint_files.read_keypoint_file(found["day/a_keypoints.json"])
    for person, row in zip(photo.people, rows[:2], strict=True):
        assert_equal(person, row)
    (frame,) = keypoint_files.read_keypoint_file(found["clip_000000000012_keypoints.json"]).people
    assert_equal(frame, rows[2])
    assert frame.picture.frame_index == 12
    assert keypoint_files.read_keypoint_file(found["clip_000000000013_keypoints.json"]).people == ()
    assert video.open_media(folder).kind == "keypoints"


def test_coco_file_is_read_back_as_the_labels(tmp_path, labels, rows):
    export_keypoints.write_keypoints(tmp_path / "coco.json", newest(labels), "coco_wholebody")
    file = keypoint_files.read_keypoint_file(tmp_path / "coco.json")
    assert [picture.name for picture in file.pictures] == [
        "day/a.jpg",
        "clip_000000000012.jpg",
        "clip_000000000013.jpg",
    ]
    assert [picture.frame_index for picture in file.pictures] == [None, 12, 13]
    for person, row in zip(file.people, rows[:3], strict=True):
        assert_equal(person, row)
        np.testing.assert_array_equal(person.bbox, row.bbox)
        assert person.score == row.person_score
        assert (person.picture.width, person.picture.height) == (640, 480)


def test_pictures_of_one_name_are_refused(tmp_path, rng):
    rows = [label(rng, "a.jpg"), label(rng, "A.png", source_sha256="c" * 64)]
    with pytest.raises(ExportError, match=r"'a\.jpg' and 'A\.png'"):
        export_keypoints.write_keypoints(tmp_path / "out", rows, "openpose")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source_path", "name"),
    [
        ("/home/me/a.jpg", "a"),
        ("../../a.jpg", "a"),
        ("C:\\me\\a.jpg", "a"),
        ("day\\a.b.jpg", "day/a.b"),
        ("day.1/photo", "day.1/photo"),
    ],
)
def test_files_are_written_below_the_folder_whatever_the_picture_was_called(tmp_path, rng, source_path, name):
    export_keypoints.write_keypoints(tmp_path / "out", [label(rng, source_path)], "openpose")
    (path,) = (tmp_path / "out").rglob("*.json")
    assert path == tmp_path / "out" / f"{name}_keypoints.json"


@pytest.mark.parametrize("source_path", ["/", "..", "a\n.jpg"])
def test_names_that_no_file_can_have_are_refused(tmp_path, rng, source_path):
    with pytest.raises((ExportError, keypoint_files.KeypointFileError), match="no file can be named after"):
        export_keypoints.write_keypoints(tmp_path / "out", [label(rng, source_path)], "openpose")
