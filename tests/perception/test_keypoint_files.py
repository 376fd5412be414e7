import json

import numpy as np
import pytest

from hardmo_jax.perception import keypoint_files
from hardmo_jax.skeleton import layouts

LAYOUT = layouts.get_layout("openpose67")


def _write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _openpose(**fields):
    return {"version": 1.3, "people": [{"pose_keypoints_2d": [1.0, 2.0, 0.5] * 25, **fields}]}


def _coco(**fields):
    annotation = {"id": 7, "image_id": 3, "bbox": [1, 2, 30, 40], "keypoints": [10, 20, 2] * 17, **fields}
    return {"images": [{"id": 3, "file_name": "a.jpg"}], "annotations": [annotation]}


def test_openpose_points_land_under_their_names(tmp_path):
    pose = np.zeros((25, 3))
    pose[layouts.get_layout("openpose25").index("left_heel")] = [11, 12, 0.7]
    hand = np.zeros((21, 3))
    hand[layouts.get_layout("left_hand21").index("left_index_tip")] = [5, 6, 0.4]
    content = {
        "people": [{"pose_keypoints_2d": pose.ravel().tolist(), "hand_left_keypoints_2d": hand.ravel().tolist()}]
    }
    (person,) = keypoint_files.read_openpose(_write(tmp_path / "pic_keypoints.json", content))
    assert person.image_file == "pic"
    np.testing.assert_allclose(person.keypoints_2d[LAYOUT.index("left_heel")], [11, 12])
    assert person.confidence[LAYOUT.index("left_index_tip")] == pytest.approx(0.4)
    assert (person.confidence > 0).sum() == 2


def test_coco_wholebody_fields_land_under_their_names(tmp_path):
    content = _coco(
        foot_kpts=[1, 2, 2, 3, 4, 1] + [0, 0, 0] * 4, righthand_kpts=[8, 9, 2] * 21, righthand_valid=True,
        lefthand_kpts=[8, 9, 2] * 21, lefthand_valid=False,
    )  # fmt: skip
    (person,) = keypoint_files.read_coco(_write(tmp_path / "x.json", content))
    assert (person.image_file, person.annotation_id) == ("a.jpg", 7)
    np.testing.assert_allclose(person.bbox, [1, 2, 31, 42])
    np.testing.assert_allclose(person.keypoints_2d[LAYOUT.index("left_small_toe")], [3, 4])
    assert person.confidence[LAYOUT.index("left_small_toe")] == 0.5
    assert person.confidence[LAYOUT.index("right_pinky_tip")] == 1.0
    assert person.confidence[LAYOUT.index("left_pinky_tip")] == 0.0
    assert person.confidence[LAYOUT.index("neck")] == 1.0


def test_people_without_points_and_crowds_are_left_out(tmp_path):
    assert keypoint_files.read_coco(_write(tmp_path / "a.json", _coco(keypoints=[0] * 51))) == []
    assert keypoint_files.read_coco(_write(tmp_path / "b.json", _coco(iscrowd=1))) == []
    empty = {"people": [{"pose_keypoints_2d": [0] * 75}]}
    assert keypoint_files.read_openpose(_write(tmp_path / "c.json", empty)) == []


BAD_OPENPOSE = [
    ("{", "expected JSON"),
    ("[" * 100_000, "expected JSON"),
    ([], "list `people`"),
    ({"people": {}}, "list `people`"),
    ({"people": [3]}, "people\\[0\\] must be an object"),
    ({"people": [{}]}, "no `pose_keypoints_2d`"),
    (_openpose(pose_keypoints_2d=[0.0] * 74), "75 numbers"),
    (_openpose(pose_keypoints_2d=["a"] * 75), "finite numbers"),
    (_openpose(pose_keypoints_2d=[1e30] * 75), "finite numbers"),
    (_openpose(pose_keypoints_2d=[True] * 75), "finite numbers"),
    ('{"people": [{"pose_keypoints_2d": [' + ",".join(["NaN"] * 75) + "]}]}", "finite numbers"),
    (_openpose(pose_keypoints_2d=[1, 2, 99] * 25), "confidences"),
    (_openpose(hand_left_keypoints_2d=[1, 2, 0.5]), "hand_left_keypoints_2d must hold 63"),
]  # fmt: skip
BAD_COCO = [
    ({"annotations": []}, "list `images`"),
    ({"images": [{"id": 1}], "annotations": []}, "images\\[0\\]"),
    ({"images": [], "annotations": [4]}, "annotations\\[0\\] must be an object"),
    (_coco(image_id=99), "no image has"),
    (_coco(image_id=[1]), "no image has"),
    (_coco(keypoints=[1, 2, 7] * 17), "visibility"),
    (_coco(bbox=[1, 2, -3, 4]), "negative size"),
    (_coco(bbox="wide"), "width"),
    (_coco(foot_kpts=[1, 2, -2] * 6), "confidences"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [(keypoint_files.read_openpose, *case) for case in BAD_OPENPOSE]
    + [(keypoint_files.read_coco, *case) for case in BAD_COCO]
    + [(keypoint_files.read_keypoints, {"a": 1}, "expected OpenPose JSON")],
)
def test_malformed_files_end_in_one_line_that_names_the_file(tmp_path, reader, content, message):
    path = _write(tmp_path / "bad.json", content)
    with pytest.raises(keypoint_files.KeypointFileError, match=message) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_beyond_the_bound_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keypoint_files, "MAX_BYTES", 10)
    with pytest.raises(keypoint_files.KeypointFileError, match="bytes"):
        keypoint_files.read_coco(_write(tmp_path / "x.json", _coco()))


def test_find_photo_looks_beside_the_file_and_never_outside(tmp_path):
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    path = _write(folder / "b_keypoints.json", "{}")
    (folder / "b.png").touch()
    (folder / "images" / "a.jpg").touch()
    (tmp_path / "secret.jpg").touch()
    assert keypoint_files.find_photo(path, "b") == folder / "b.png"
    assert keypoint_files.find_photo(path, "a.jpg") == folder / "images" / "a.jpg"
    for hostile in ("../secret.jpg", str(tmp_path / "secret.jpg"), "", None):
        with pytest.raises(keypoint_files.KeypointFileError, match="no picture"):
            keypoint_files.find_photo(path, hostile)


def test_reference_files_are_read(reference_data):
    folder = reference_data / "keypoints2d"
    people = keypoint_files.read_keypoints(folder / "mmpose_tests" / "coco" / "test_coco_wholebody.json")
    person = next(one for one in people if one.image_file == "000000000785.jpg")
    assert person.confidence[list(LAYOUT.indices(("left_small_toe", "right_index_tip")))].tolist() == [1.0, 1.0]
    (person,) = keypoint_files.read_keypoints(folder / "prohmr_openpose" / "pexels-anete-lusina-4793258_keypoints.json")
    assert person.image_file == "pexels-anete-lusina-4793258"
    assert (person.confidence > 0).sum() == 24
