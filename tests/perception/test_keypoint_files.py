"""Keypoint files of every format: what lands where, whatever wrote it."""

import json
import os

import numpy as np
import pytest

from hardmo_jax.perception import keypoint_files
from hardmo_jax.perception.keypoint_files import parsing
from tests.perception import keypoint_file_samples as samples
from tests.perception.keypoint_file_samples import LAYOUT, SAMPLES, write, xy_of


def read(folder, content, name="clip_keypoints.json", **options):
    return keypoint_files.read_keypoint_file(write(folder / name, content), **options)


@pytest.mark.parametrize("name", SAMPLES)
def test_points_land_under_their_names(tmp_path, name):
    content, layout, points = SAMPLES[name]
    (person,) = read(tmp_path, content).people
    assert person.file_layout == layout
    assert person.layout == "openpose67"
    person = person.in_pixels(*samples.SIZE)
    expected = [LAYOUT.index(point) for point in points if point in LAYOUT.points]
    averaged = {LAYOUT.index(point) for point in keypoint_files.MIDDLE_SOURCES} - set(expected)
    for place in expected:
        np.testing.assert_allclose(person.keypoints_2d[place], xy_of(LAYOUT.points[place]), atol=1e-3)
    for point, sources in keypoint_files.MIDDLE_SOURCES.items():
        if LAYOUT.index(point) in averaged:
            middle = np.mean([xy_of(source) for source in sources], axis=0)
            np.testing.assert_allclose(person.keypoints_2d[LAYOUT.index(point)], middle, atol=1e-3)
    is_seen = person.confidence > 0
    assert set(np.flatnonzero(is_seen)) == set(expected) | averaged
    assert not person.keypoints_2d[~is_seen].any()
    assert (person.confidence[is_seen] >= 0.4).all()


FORMATS = {
    "openpose": "openpose", "pose2sim": "openpose", "coco": "coco", "coco_wholebody": "coco", "halpe": "coco",
    "results": "coco_results", "wholebody": "coco_results", "alphapose": "alphapose", "mmpose": "mmpose",
    "rtmlib": "rtmlib", "mediapipe": "mediapipe",
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_formats_are_recognised(tmp_path, name):
    expected = next(value for key, value in FORMATS.items() if name.split()[0].startswith(key))
    assert read(tmp_path, SAMPLES[name][0]).format == expected


# OpenPose --------------------------------------------------------------------------------------------------


def test_openpose_pictures_are_named_after_the_file_and_frames_counted(tmp_path):
    photo = read(tmp_path, samples.openpose(), "pic_keypoints.json").pictures
    assert photo == (keypoint_files.FilePicture(name="pic"),)
    (frame,) = read(tmp_path, samples.openpose(), "clip_000000000012_keypoints.json").pictures
    assert (frame.name, frame.frame_index) == ("clip_000000000012", 12)
    assert read(tmp_path, samples.openpose(), "clip_12_keypoints.json").pictures[0].frame_index is None
    assert read(tmp_path, samples.openpose(), "clip_999999999999_keypoints.json").pictures[0].frame_index is None


def test_openpose_numbers_people_only_where_it_tracks_them(tmp_path):
    def number(value):
        return read(tmp_path, samples.openpose(person_id=value)).people[0].track_id

    assert [number(value) for value in ([-1], -1, [], [4], 4, None)] == [None, None, None, 4, 4, None]


def test_the_same_number_twice_in_a_picture_is_none(tmp_path):
    content = samples.openpose(person_id=[0])
    content["people"] *= 2
    assert [person.track_id for person in read(tmp_path, content).people] == [None, None]
    content["people"][1] = content["people"][1] | {"person_id": [1]}
    assert [person.track_id for person in read(tmp_path, content).people] == [0, 1]


def test_openpose_shares_of_a_scaled_file_become_pixels(tmp_path):
    points = [number for x, y in ((0.25, 0.5), (0.5, 0.75), (1.0, 0.25)) for number in (x, y, 0.9)] + [0.0] * 66
    content = {"people": [{"pose_keypoints_2d": points}], "canvas_width": 100, "canvas_height": 200}
    file = read(tmp_path, content)
    (person,) = file.people
    assert person.shares == "of_last_pixel"
    assert (file.pictures[0].width, file.pictures[0].height) == (100, 200)
    pixels = person.in_pixels(100, 200)
    np.testing.assert_allclose(pixels.keypoints_2d[:4], [[24.75, 99.5], [49.5, 149.25], [99, 49.75], [0, 0]])
    assert pixels.in_pixels(3, 3) is pixels


def test_a_list_of_pictures_of_openpose_is_a_video(tmp_path):
    file = read(tmp_path, [samples.openpose(), {"people": []}], "poses.json")
    assert [picture.frame_index for picture in file.pictures] == [0, 1]
    assert file.people[0].picture == file.pictures[0]


# COCO ------------------------------------------------------------------------------------------------------


def test_coco_tells_box_size_and_numbers(tmp_path):
    content = samples.coco(track_id=5)
    content["images"].append({"id": "b", "file_name": "empty.jpg"})
    file = read(tmp_path, content)
    (person,) = file.people
    assert (person.image_file, person.annotation_id, person.track_id) == ("a.jpg", 7, 5)
    np.testing.assert_allclose(person.bbox, [1, 2, 31, 42])
    assert file.pictures == (
        keypoint_files.FilePicture(name="a.jpg", width=640, height=480),
        keypoint_files.FilePicture(name="empty.jpg"),
    )


def test_coco_flags_are_confidences_and_invalid_parts_are_left_out(tmp_path):
    fields = samples.wholebody_fields()
    fields["foot_kpts"][5] = 1
    (person,) = read(tmp_path, samples.coco(**fields | {"lefthand_valid": False})).people
    assert person.confidence[LAYOUT.index("left_small_toe")] == 0.5
    assert person.confidence[LAYOUT.index("right_pinky_tip")] == 1.0
    assert person.confidence[LAYOUT.index("left_pinky_tip")] == 0.0
    assert person.confidence[LAYOUT.index("neck")] == 1.0
    certain = samples.wholebody_fields(0.25)
    (person,) = read(tmp_path, samples.coco(**certain)).people
    assert person.confidence[LAYOUT.index("left_pinky_tip")] == 0.25


def test_long_lists_may_hold_flags_and_certainties(tmp_path):
    points = samples.points_of("coco_wholebody133")
    values = np.reshape(samples.triples(points, 2), (-1, 3))
    values[points.index("left_index_tip"), 2] = 0.3
    values[points.index("nose"), 2] = 0
    (person,) = read(tmp_path, samples.coco(keypoints=values.ravel().tolist())).people
    assert person.confidence[LAYOUT.index("left_index_tip")] == pytest.approx(0.3)
    assert person.confidence[LAYOUT.index("nose")] == 0
    assert person.confidence[LAYOUT.index("left_knee")] == 1


SPELLINGS = {
    "ours": lambda point: point,
    "spaces": lambda point: point.replace("_", " ").title(),
    "letters": lambda point: point.replace("left_", "L").replace("right_", "R"),
    "camel": lambda point: point.split("_")[0] + "".join(word.title() for word in point.split("_")[1:]),
    "side last": lambda point: "_".join((*point.split("_")[1:], point.split("_")[0])) if "_" in point else point,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_named_points_of_a_category_stand_above_their_number(tmp_path, spelling):
    order = (*reversed(samples.points_of("coco17")),)
    content = samples.coco(keypoints=samples.triples(order, 2))
    content["categories"][0]["keypoints"] = [SPELLINGS[spelling](point) for point in order]
    (person,) = read(tmp_path, content).people
    assert person.file_layout == "named"
    np.testing.assert_allclose(person.keypoints_2d[LAYOUT.index("left_wrist")], xy_of("left_wrist"))
    np.testing.assert_allclose(person.keypoints_2d[LAYOUT.index("right_ankle")], xy_of("right_ankle"))
    content["categories"][0]["keypoints"] = [f"point {number}" for number in range(17)]
    assert read(tmp_path, content).people[0].file_layout == "coco17"


def test_people_without_points_and_crowds_are_left_out_but_not_their_pictures(tmp_path):
    for content in (samples.coco(keypoints=[0] * 51), samples.coco(iscrowd=1), samples.coco(keypoints=None)):
        file = read(tmp_path, content)
        assert file.people == ()
        assert [picture.name for picture in file.pictures] == ["a.jpg"]
    assert read(tmp_path, {"people": [{"pose_keypoints_2d": [0] * 75}]}).people == ()


# What holds for all ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("name", ["openpose25", "coco", "halpe", "results", "alphapose", "mmpose", "rtmlib"])
def test_a_number_that_is_not_finite_makes_its_point_absent(tmp_path, name, place, bad):
    content, _, points = SAMPLES[name]
    content = json.loads(json.dumps(content))
    point, row = "left_knee", points.index("left_knee")
    lists = {
        "openpose25": lambda: content["people"][0]["pose_keypoints_2d"],
        "coco": lambda: content["annotations"][0]["keypoints"],
        "halpe": lambda: content["annotations"][0]["keypoints"],
        "results": lambda: content[0]["keypoints"],
        "alphapose": lambda: content[0]["keypoints"],
    }
    if name in lists:
        lists[name]()[3 * row + place] = "@"
    else:
        people = content[0] if name == "mmpose" else {field: content[field][0] for field in content}
        scores = people["keypoint_scores" if name == "mmpose" else "scores"]
        numbers, at = (scores, row) if place == 2 else (people["keypoints"][row], place)
        numbers[at] = "@"
    (person,) = read(tmp_path, json.dumps(content).replace('"@"', bad)).people
    assert person.confidence[LAYOUT.index(point)] == 0
    assert not person.keypoints_2d[LAYOUT.index(point)].any()
    assert person.confidence[LAYOUT.index("right_knee")] > 0
    assert np.isfinite(person.keypoints_2d).all()


def test_boxes_and_scores_that_are_not_finite_are_none(tmp_path):
    content = json.dumps([samples.result(bbox=["@", 1, 2, 3], score="@")]).replace('"@"', "NaN")
    (person,) = read(tmp_path, content).people
    assert person.bbox is None
    assert person.score is None


@pytest.mark.parametrize("count", [0, 300])
def test_nobody_and_a_crowd_are_fine(tmp_path, count):
    crowds = [
        {"people": samples.openpose()["people"] * count},
        samples.coco() | {"annotations": samples.coco()["annotations"] * count},
        [samples.instance()] * count,
        samples.rtmlib(people=count),
        {"pose_landmarks": samples.mediapipe()["pose_landmarks"] * count},
    ]
    for content in crowds:
        file = read(tmp_path, content)
        assert len(file.people) == count
        assert len(file.pictures) == 1


@pytest.mark.parametrize(
    ("content", "layout", "point"),
    [
        (samples.openpose("openpose25b"), "openpose25b", "left_heel"),
        (samples.coco(keypoints=samples.triples(("_a", "nose", "left_knee"), 2)), ("_", "nose", "left_knee"), "nose"),
        ([samples.result(keypoints=samples.triples(("left_knee", "nose")))], ("left_knee", "nose"), "nose"),
        (
            [{"keypoints": samples.pairs(("nose", "_x")), "keypoint_scores": [0.5, 0.5]}],
            ("nose", "_x"),
            "nose",
        ),
        ({"keypoints": [samples.pairs(("nose", "_x"))], "scores": [[0.5, 0.5]]}, ("nose", "_x"), "nose"),
        (samples.alphapose_by_picture(), ("nose", *(f"_{row}" for row in range(17))), "nose"),
    ],
)
def test_the_users_layout_stands_above_the_number_of_points(tmp_path, content, layout, point):
    person = read(tmp_path, content, layout=layout).people[0]
    np.testing.assert_allclose(person.keypoints_2d[LAYOUT.index(point)], xy_of(point))
    assert person.file_layout == (layout if isinstance(layout, str) else "given")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("coco71", "did you mean"),
        (("nose", "left_nee"), "did you mean 'left_knee'"),
        (("nose", "nose"), "twice"),
        (("_a", "_b"), "has no point"),
        ("face70", "has no point"),
        ("coco17", "must hold the 17 points"),
    ],
)
def test_layouts_that_do_not_fit_are_told(tmp_path, layout, message):
    with pytest.raises(keypoint_files.KeypointFileError, match=message):
        read(tmp_path, samples.openpose(), layout=layout)


def test_files_beyond_the_bound_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "x.json", samples.coco())
    monkeypatch.setattr(parsing, "MAX_BYTES", 10)
    with pytest.raises(keypoint_files.KeypointFileError, match="bytes are more than the 10 allowed"):
        keypoint_files.read_keypoint_file(path)


def test_the_bound_of_openpose_is_that_of_one_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(parsing, "MAX_PICTURE_BYTES", 100)
    with pytest.raises(keypoint_files.KeypointFileError, match="100 allowed for the one picture"):
        read(tmp_path, samples.openpose())
    assert read(tmp_path, samples.coco()).people
    assert read(tmp_path, samples.alphapose_by_picture("people")).people


def test_huge_files_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "x.json"
    path.touch()
    os.truncate(path, 2 << 30)
    with pytest.raises(keypoint_files.KeypointFileError, match="2147483648 bytes"):
        keypoint_files.read_keypoint_file(path)


def test_find_photo_looks_beside_the_file_and_never_outside(tmp_path):
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    path = write(folder / "b_keypoints.json", "{}")
    (folder / "b.png").touch()
    (folder / "images" / "a.jpg").touch()
    (folder / "images" / "000000000785.jpg").touch()
    (tmp_path / "secret.jpg").touch()
    assert keypoint_files.find_photo(path, "b") == folder / "b.png"
    assert keypoint_files.find_photo(path, "a.jpg") == folder / "images" / "a.jpg"
    assert keypoint_files.find_photo(path, "785") == folder / "images" / "000000000785.jpg"
    for hostile in ("../secret.jpg", str(tmp_path / "secret.jpg"), "", None, "\0", "a" * 5000, "\ud800"):
        with pytest.raises(keypoint_files.KeypointFileError, match="no picture"):
            keypoint_files.find_photo(path, hostile)


def test_reference_files_are_read(reference_data):
    folder = reference_data / "keypoints2d"
    file = keypoint_files.read_keypoint_file(folder / "mmpose_tests" / "coco" / "test_coco_wholebody.json")
    person = next(one for one in file.people if one.image_file == "000000000785.jpg")
    assert person.confidence[list(LAYOUT.indices(("left_small_toe", "right_index_tip")))].tolist() == [1.0, 1.0]
    assert (person.picture.width, person.picture.height) == (640, 425)
    assert len(file.pictures) == 4
    (person,) = keypoint_files.read_keypoint_file(
        folder / "prohmr_openpose" / "pexels-anete-lusina-4793258_keypoints.json"
    ).people
    assert person.image_file == "pexels-anete-lusina-4793258"
    assert (person.confidence > 0).sum() == 24
    with pytest.raises(keypoint_files.KeypointFileError, match="boxes alone"):
        keypoint_files.read_keypoint_file(folder / "mmpose_tests" / "coco" / "test_coco_det_AP_H_56.json")
