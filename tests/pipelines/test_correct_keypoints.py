"""Keypoints that come back from programs for annotators: what was moved is found, whatever they forget, and no more."""

import dataclasses
import json

import numpy as np
import pytest

from hardmo_jax.perception.keypoint_files import KeypointFileError
from hardmo_jax.pipelines.correct_keypoints import KeypointCorrectionError, moved_points
from hardmo_jax.pipelines.exports import export_keypoints
from hardmo_jax.skeleton import layouts
from tests.pipelines.exports.test_export_keypoints import label

POINTS = layouts.get_layout("openpose67").points
FEET = [f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel")]


@pytest.fixture
def rows(rng):
    clip = {"fps": 30.0, "time_seconds": 0.4}
    rows = [
        label(rng, "day/a.jpg"),
        label(rng, "day/a.jpg", track_id=1),
        label(rng, "clip.mp4", 12, 3, **clip),
        label(rng, "b.png"),
    ]
    # Toes are there; somebody's left hand is not.
    for row in rows:
        row.keypoint_confidence.flags.writeable = row.keypoints_2d.flags.writeable = True
        row.keypoint_confidence[[POINTS.index(name) for name in FEET]] = 0.9
        row.keypoints_2d[[POINTS.index(name) for name in FEET]] = rng.uniform(10, 400, (6, 2))
    return [dataclasses.replace(row) for row in rows]


@pytest.fixture
def exported(tmp_path, rows):
    path = tmp_path / "coco.json"
    export_keypoints.write_keypoints(path, rows, "coco_wholebody")
    return path


def rewritten(path, change):
    """The file as a program gives it back."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def of(content, row):
    """The annotation of a label."""
    return next(one for one in content["annotations"] if one["attributes"]["label_id"] == row.label_id)


def move_toe(annotation, by=(12.0, 0.0)):
    """The left big toe, the first of the feet."""
    annotation["foot_kpts"][0] += by[0]
    annotation["foot_kpts"][1] += by[1]


def forget_labels(content):
    for one in content["annotations"]:
        del one["attributes"], one["openpose67_scores"], one["middle_kpts"]


def renumber(content):
    content["annotations"].reverse()
    for number, one in enumerate(content["annotations"], start=1):
        one["id"] = number


def round_all(content):
    for one in content["annotations"]:
        for field in ("keypoints", "foot_kpts", "lefthand_kpts", "righthand_kpts", "middle_kpts"):
            one[field] = [int(number) for number in one.get(field, [])]


def round_as_cvat(content):
    for one in content["annotations"]:
        for field in ("keypoints", "foot_kpts", "lefthand_kpts", "righthand_kpts"):
            one[field] = [round(number, 2) for number in one[field]]
        one["attributes"] |= {"occluded": False, "label_version": str(one["attributes"]["label_version"])}


def flatten(content):
    """COCO-WholeBody's 133 points in one list, as MMPose's tools write them."""
    for one in content["annotations"]:
        one["keypoints"] += one.pop("foot_kpts") + one.pop("face_kpts")
        one["keypoints"] += one.pop("lefthand_kpts") + one.pop("righthand_kpts")


def leave_folders_out(content):
    for one in content["images"]:
        one["file_name"] = one["file_name"].rpartition("/")[2]


def forget_and_renumber(content):
    forget_labels(content)
    renumber(content)


CHANGES = {
    "as it was": lambda content: None,
    "no label": forget_labels,
    "other numbers": renumber,
    "neither": forget_and_renumber,
    "whole numbers": round_all,
    "cvat": round_as_cvat,
    "133 in a list": flatten,
    "no folders": leave_folders_out,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_unchanged_file_moves_nothing_and_a_moved_toe_is_found(exported, rows, change):
    original = exported.read_text()
    found = moved_points(rewritten(exported, change), rows)
    assert (found.labels, found.notes) == ((), ())
    assert found.num_matched == found.num_annotations == 4
    for row in rows[1:3]:
        exported.write_text(original)
        rewritten(exported, lambda content, row=row: move_toe(of(content, row)))
        found = moved_points(rewritten(exported, change), rows)
        (one,) = found.labels
        assert (one.label_id, one.label_version, one.placed, one.removed) == (row.label_id, 1, ("left_big_toe",), ())
        at = POINTS.index("left_big_toe")
        expected = row.keypoints_2d.copy()
        expected[at, 0] += 12
        np.testing.assert_allclose(one.keypoints_2d[at], expected[at], atol=found.tolerance)
        others = np.arange(67) != at
        np.testing.assert_array_equal(one.keypoints_2d[others], expected[others])


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("digits", [9, 2, 0])
def test_points_that_were_moved_by_their_names_in_one_list_are_found(tmp_path, rows, forgets, digits):
    path = tmp_path / "named.json"
    export_keypoints.write_keypoints(path, rows, "coco_named")
    names = json.loads(path.read_text())["categories"][0]["keypoints"]
    moved = ("right_heel", next(name for name in POINTS[46:] if rows[1].keypoint_confidence[POINTS.index(name)] > 0))

    def change(content, shift):
        for name in moved:
            at = 3 * names.index(name)
            keypoints = of(content, rows[1])["keypoints"]
            keypoints[at : at + 2] = [number + shift for number in keypoints[at : at + 2]]
        for one in content["annotations"]:
            one["keypoints"] = [round(number, digits) for number in one["keypoints"]]
        if forgets:
            forget_and_renumber(content)

    before = path.read_text()
    assert moved_points(rewritten(path, lambda content: change(content, 0)), rows).labels == ()
    path.write_text(before)
    (one,) = moved_points(rewritten(path, lambda content: change(content, 12)), rows).labels
    assert (one.label_id, one.placed, one.removed) == (rows[1].label_id, moved, ())


def test_every_point_that_is_exported_comes_back_by_its_name(exported, rows):
    content = json.loads(exported.read_text())
    annotation = of(content, rows[0])
    for field in ("keypoints", "foot_kpts", "lefthand_kpts", "righthand_kpts"):
        annotation[field] = [
            number + 30 if place % 3 < 2 and annotation[field][3 * (place // 3) + 2] else number
            for place, number in enumerate(annotation[field])
        ]
    exported.write_text(json.dumps(content))
    (one,) = moved_points(exported, rows).labels
    seen = [
        name
        for name, confidence in zip(POINTS, rows[0].keypoint_confidence, strict=True)
        if confidence > 0 and name not in ("neck", "mid_hip")
    ]
    assert list(one.placed) == seen
    for name in seen:
        at = POINTS.index(name)
        np.testing.assert_allclose(one.keypoints_2d[at], rows[0].keypoints_2d[at] + 30, atol=1e-3)


def test_points_that_are_taken_away_or_added_are_told(exported, rows):
    hidden = next(at for at in range(25, 67) if rows[3].keypoint_confidence[at] == 0)
    side, name = POINTS[hidden].split("_")[0], POINTS[hidden]
    at = layouts.get_layout(f"{side}_hand21").points.index(name)

    def change(content):
        annotation = of(content, rows[3])
        annotation["foot_kpts"][3:6] = [0, 0, 0]
        annotation[f"{side}hand_kpts"][3 * at : 3 * at + 3] = [70.25, 80.5, 2]
        annotation[f"{side}hand_valid"] = False  # as a program leaves it that knows nothing of it

    (one,) = moved_points(rewritten(exported, change), rows).labels
    assert (one.placed, one.removed) == ((name,), ("left_small_toe",))
    np.testing.assert_array_equal(one.keypoints_2d[hidden], [70.25, 80.5])


def test_fields_that_a_program_drops_take_no_point_away(exported, rows):
    def change(content):
        for one in content["annotations"]:
            del one["foot_kpts"], one["lefthand_kpts"], one["righthand_kpts"]

    found = moved_points(rewritten(exported, change), rows)
    assert (found.labels, found.num_matched) == ((), 4)


def test_versions_since_are_not_taken_for_moves_and_a_file_is_not_taken_in_twice(exported, rows):
    rewritten(exported, lambda content: move_toe(of(content, rows[0])))
    at = POINTS.index("right_heel")
    repaired = dataclasses.replace(
        rows[0], label_version=2, parent_version=1, keypoints_2d=rows[0].keypoints_2d + np.eye(67, 2, k=-at) * 9
    )
    (one,) = moved_points(exported, [*rows, repaired]).labels
    assert (one.label_version, one.placed) == (2, ("left_big_toe",))
    np.testing.assert_array_equal(one.keypoints_2d[at], repaired.keypoints_2d[at])
    rewritten(exported, forget_and_renumber)
    (one,) = moved_points(exported, [*rows, repaired]).labels
    assert (one.label_version, one.placed) == (2, ("left_big_toe",))
    corrected = dataclasses.replace(
        repaired, label_version=3, parent_version=2, origin="human", keypoints_2d=one.keypoints_2d
    )
    assert moved_points(exported, [*rows, repaired, corrected]).labels == ()


def test_people_who_are_no_label_and_labels_that_are_there_twice_are_told_and_left(exported, rows):
    def change(content):
        twin = json.loads(json.dumps(of(content, rows[2])))
        move_toe(twin)
        stranger = json.loads(json.dumps(of(content, rows[3])))
        stranger["keypoints"] = [number + 20 for number in stranger["keypoints"]]
        stranger["foot_kpts"] = stranger["lefthand_kpts"] = stranger["righthand_kpts"] = None
        del stranger["attributes"]
        # Propagated to another picture, with the name of a label of this one.
        copied = json.loads(json.dumps(of(content, rows[3])))
        copied["image_id"] = of(content, rows[0])["image_id"]
        for number, one in enumerate((twin, stranger, copied), start=9000):
            content["annotations"].append(one | {"id": number})
        content["images"].append({"id": 77, "file_name": "other.jpg", "width": 640, "height": 480})
        content["annotations"].append(of(content, rows[0]) | {"id": 9010, "image_id": 77})

    found = moved_points(rewritten(exported, change), rows)
    assert found.labels == ()
    assert found.num_matched == 3
    told = "; ".join(found.notes)
    assert f"two annotations are the label {rows[2].label_id}" in told
    assert "annotation 9001: is no label" in told
    assert "annotation 9002: is no label" in told
    assert "'other.jpg': no label is of it" in told


def test_files_of_other_pictures_or_sizes_are_refused(exported, rows):
    with pytest.raises(KeypointCorrectionError, match="none of its 3 pictures is one of the labels"):
        moved_points(exported, [dataclasses.replace(rows[0], source_path="z.jpg", label_id="")])

    def shrink(content):
        content["images"][0] |= {"width": 320, "height": 240}

    with pytest.raises(KeypointCorrectionError, match="320 x 240 pixels there, and of 640 x 480"):
        moved_points(rewritten(exported, shrink), rows)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[1, 2", "expected JSON"),
        ("[]", "must be an object"),
        ('{"images": []}', "annotations"),
        ('{"images": [], "annotations": [{"image_id": 4}]}', "which no image has"),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "keypoints": [1, 2]}]}',
            "x, y",
        ),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "keypoints": {}}]}', "list"),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "keypoints": ["a", 2, 3]}]}',
            "number",
        ),
    ],
)
def test_files_that_are_none_are_refused_by_name(tmp_path, rows, text, match):
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(KeypointFileError, match=match) as caught:
        moved_points(path, rows)
    assert "wrong.json" in str(caught.value)


@pytest.mark.parametrize(
    "attributes",
    [None, [], "label", {"label_id": 7}, {"label_id": "f" * 32, "label_version": []}, {"label_id": "x" * 32}],
)
def test_attributes_of_other_kinds_are_no_labels(exported, rows, attributes):
    def change(content):
        for one in content["annotations"]:
            one["attributes"] = attributes

    found = moved_points(rewritten(exported, change), rows)
    assert (found.num_matched, found.labels) == (4, ())
