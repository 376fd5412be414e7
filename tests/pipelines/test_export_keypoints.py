"""Labels as files of other programs: read back equal, called as these call them, and never over somebody's files."""

import dataclasses
import json

import numpy as np
import pytest

from hardmo_jax.labels import schema, store
from hardmo_jax.perception import keypoint_files, video
from hardmo_jax.pipelines import export_keypoints
from hardmo_jax.pipelines.export_keypoints import ExportError
from tests.tools.command_line import run_each

USAGE_STATUS = 2


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


def test_openpose_files_are_read_back_as_the_labels(tmp_path, labels, rows):
    summary = export_keypoints.export_keypoints(labels, tmp_path / "out", format_name="openpose")
    folder = tmp_path / "out" / "openpose"
    assert summary == export_keypoints.ExportSummary(path=folder, num_pictures=3, num_people=3, num_left_out=1)
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
    summary = export_keypoints.export_keypoints(labels, tmp_path / "out", format_name="coco_wholebody")
    file = keypoint_files.read_keypoint_file(summary.path)
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


def test_another_export_replaces_the_earlier_one_and_nothing_else(tmp_path, labels):
    output = tmp_path / "out"
    export_keypoints.export_keypoints(labels, output, format_name="openpose")
    export_keypoints.export_keypoints(labels, output, format_name="coco_wholebody")
    assert sorted(path.name for path in output.iterdir()) == ["coco_wholebody.json", "run.json"]
    assert json.loads((output / "run.json").read_text())["results"]["exported"]["people"] == 3
    (output / "mine.txt").touch()
    with pytest.raises(ExportError, match=r"mine.txt.*no export run wrote"):
        export_keypoints.export_keypoints(labels, output, format_name="openpose")
    with pytest.raises(ExportError, match="lie in the output folder"):
        export_keypoints.export_keypoints(labels, labels, format_name="openpose")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_pictures_of_one_name_are_refused(tmp_path, rng):
    store.write_labels(tmp_path / "x.parquet", [label(rng, "a.jpg"), label(rng, "A.png", source_sha256="c" * 64)])
    with pytest.raises(ExportError, match=r"'a\.jpg' and 'A\.png'"):
        export_keypoints.export_keypoints(tmp_path / "x.parquet", tmp_path / "out", format_name="openpose")
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
    store.write_labels(tmp_path / "x.parquet", [label(rng, source_path)])
    summary = export_keypoints.export_keypoints(tmp_path / "x.parquet", tmp_path / "out", format_name="openpose")
    (path,) = summary.path.rglob("*.json")
    assert path == summary.path / f"{name}_keypoints.json"


@pytest.mark.parametrize("source_path", ["/", "..", "a\n.jpg"])
def test_names_that_no_file_can_have_are_refused(tmp_path, rng, source_path):
    store.write_labels(tmp_path / "x.parquet", [label(rng, source_path)])
    with pytest.raises((ExportError, keypoint_files.KeypointFileError), match="no file can be named after"):
        export_keypoints.export_keypoints(tmp_path / "x.parquet", tmp_path / "out", format_name="openpose")


def test_the_tool_says_what_it_wrote_and_what_is_wrong(tmp_path, labels):
    mistakes = (
        ([f"--labels={labels}"], "--format is missing"),
        (
            [f"--labels={tmp_path / 'none'}", "--format=openpose", f"--output_dir={tmp_path / 'x'}"],
            "no such label file",
        ),
        (["--format=bvh"], "openpose"),
    )
    good = [f"--labels={labels}", "--format=openpose", f"--output_dir={tmp_path / 'out'}"]
    done, *others = run_each("export", [good, *(arguments for arguments, _ in mistakes)])
    assert done.returncode == 0, done.stderr
    assert "3 people in 3 pictures" in done.stdout
    assert "1 labels were left out" in done.stdout
    for done, (_, message) in zip(others, mistakes, strict=True):
        assert done.returncode == USAGE_STATUS
        assert "Traceback" not in done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert message in line
