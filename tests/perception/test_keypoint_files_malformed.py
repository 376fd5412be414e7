"""Keypoint files that are wrong: each ends in one line that names file and place, none in anything else."""

import copy
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardmo_jax.perception import keypoint_files
from tests.perception import keypoint_file_samples as samples
from tests.perception.keypoint_file_samples import SAMPLES, write

#: Ways to spoil a file that the fuzz test tries, times the formats.
NUM_SPOILT = 30


def _mmpose(**fields):
    return [samples.instance() | fields]


def _mediapipe(**fields):
    return samples.mediapipe() | fields


def _without(content, field):
    return {key: value for key, value in content.items() if key != field}


BAD_FILES = [
    ("{", "expected JSON"),
    ("", "expected JSON"),
    ("\x00\xff", "expected JSON"),
    ("[" * 100_000, "expected JSON"),
    ('{"people": ' * 50_000, "expected JSON"),
    ('{"people": [{"pose_keypoints_2d": [1' + "0" * 5000 + "]}]}", "expected JSON: Exceeds the limit"),
    ("3", "expected OpenPose .*, got number 3"),
    ("null", "expected OpenPose .*, got null"),
    ({"a": 1}, "expected OpenPose .*, got an object with 'a'"),
    ({}, "got an object with no fields"),
    ([3], "got a list that begins with number 3"),
    # OpenPose
    ({"people": {}}, "the file must be an object with a list `people`"),
    ({"people": [3]}, "people\\[0\\] must be an object, got number 3"),
    ({"people": [{}]}, "people\\[0\\] has no `pose_keypoints_2d`"),
    (samples.openpose(pose_keypoints_2d=[0.0] * 74), "people\\[0\\].pose_keypoints_2d must hold x, y and confidence"),
    (samples.openpose(pose_keypoints_2d=[0.0] * 72), "75 numbers \\(openpose25\\).* got 72 \\(24 points\\)"),
    (samples.openpose(pose_keypoints_2d=["a"] * 75), "pose_keypoints_2d\\[0\\] must be a number, got text 'a'"),
    (samples.openpose(pose_keypoints_2d=[0] * 74 + [None]), "pose_keypoints_2d\\[74\\] must be a number, got null"),
    (samples.openpose(pose_keypoints_2d=[True] * 75), "must be a number, got boolean True"),
    (samples.openpose(pose_keypoints_2d=[[1]] * 75), "must be a number, got a list of 1"),
    (samples.openpose(pose_keypoints_2d="wide"), "must be a list, got text 'wide'"),
    (samples.openpose(pose_keypoints_2d=[1e30] * 75), "coordinates below 1e\\+06, got 1e\\+30"),
    (samples.openpose(pose_keypoints_2d=[10**400] * 75), "hundreds of digits"),
    (samples.openpose(pose_keypoints_2d=[1, 2, 99] * 25), "confidences in \\[0, 1\\].*, got 99"),
    (samples.openpose(pose_keypoints_2d=[1, 2, -0.1] * 25), "confidences"),
    (samples.openpose(hand_left_keypoints_2d=[1, 2, 0.5]), "hand_left_keypoints_2d must hold 63"),
    (samples.openpose(face_keypoints_2d=[1, 2, 0.5]), "face_keypoints_2d must hold 210"),
    (samples.openpose(person_id="me"), "person_id must be a whole number"),
    (samples.openpose(person_id=[10**30]), "person_id must be a whole number"),
    ([samples.openpose(person_id="me"), 3], "\\[0\\].people\\[0\\].person_id must be a whole number"),
    (
        {"people": [{"pose_keypoints_2d": [-0.5, 0.25, 0.9, 0.5, 1, 0.9, -1, 0, 0.9] + [0] * 66}]},
        "people\\[0\\] has coordinates from -1 to 1, OpenPose's `--keypoint_scale 4`; run it with `--keypoint_scale 0`",
    ),
    # COCO
    ({"annotations": []}, "list `images`"),
    ({"images": [{"id": 1}], "annotations": []}, "images\\[0\\] must be an object with an `id` and a `file_name`"),
    ({"images": [{"file_name": "a"}], "annotations": []}, "images\\[0\\] must have an `id`"),
    (
        {"images": [{"id": 1, "file_name": x} for x in "ab"], "annotations": []},
        "images\\[1\\] has the `id` 1 of another",
    ),
    (
        {"images": [{"id": 1, "file_name": "a", "width": "wide"}], "annotations": []},
        "images\\[0\\].width must be a whole",
    ),
    ({"images": [], "annotations": [4]}, "annotations\\[0\\] must be an object"),
    (samples.coco(image_id=99), "annotations\\[0\\].image_id is number 99, which no image has"),
    (samples.coco(image_id=[1]), "no image has"),
    (samples.coco(keypoints=[1, 2, 7] * 17), "visibility 0, 1 or 2, got 7"),
    (samples.coco(keypoints=[1, 2, 2] * 18), "51 numbers \\(coco17\\).*give a `layout`"),
    (samples.coco(bbox=[1, 2, -3, 4]), "negative size"),
    (samples.coco(bbox="wide"), "width"),
    (samples.coco(foot_kpts=[1, 2, -2] * 6), "foot_kpts must have confidences"),
    (samples.coco(foot_kpts=[1, 2, 2] * 7), "foot_kpts must hold 18"),
    (samples.coco(openpose67_scores=[2.0] * 67), "67 confidences"),
    (samples.coco(track_id=1.5), "track_id must be a whole number"),
    # Results
    ([samples.result(), samples.result(image_id=None)], "\\[1\\].image_id must be the number or name"),
    ([_without(samples.result(), "keypoints")], "\\[0\\] has no `keypoints`"),
    ([samples.result(), 3], "\\[1\\] must be an object"),
    ([samples.result(score="good")], "\\[0\\].score\\[0\\] must be a number"),
    ([samples.alphapose(box=[1, 2, 3])], "\\[0\\].box must be \\[x, y, width, height\\]"),
    ([samples.alphapose(idx="me")], "\\[0\\].idx must be a whole number"),
    ({"a.jpg": {"bodies": []}, "b.jpg": 3}, "\\['b.jpg'\\] must be an object"),
    ({"a.jpg": {"bodies": [{}]}}, "\\['a.jpg'\\].bodies\\[0\\] has no `joints`"),
    ({"a\nb": {"bodies": 3}}, "\\['a\\\\nb'\\] must be an object with a list `bodies`"),
    # MMPose and RTMLib
    ([_without(samples.instance(), "keypoint_scores")], "\\[0\\] has no `keypoint_scores`"),
    (_mmpose(keypoints=[[1, 2, 3]] * 17), "\\[0\\].keypoints\\[0\\] must be a list of 2 numbers, got a list of 3"),
    (_mmpose(keypoint_scores=[0.5]), "as many scores as keypoints, got 1 and 17"),
    (_mmpose(keypoints=[[1, 2]] * 5, keypoint_scores=[1] * 5), "10 \\(5 points\\)"),
    (_mmpose(bbox=[[5, 5, 1, 1]]), "negative size"),
    ([{"instances": []}], "\\[0\\] must have a `frame_id`"),
    ([{"frame_id": 0, "instances": 3}], "instances must be a list, got number 3"),
    ({"instance_info": 3}, "list `instance_info`"),
    ([[3]], "\\[0\\]\\[0\\] must be an object"),
    ({"keypoints": []}, "has no `scores`"),
    (samples.rtmlib() | {"scores": []}, "1 people and 0 lists"),
    ({"keypoints": [3], "scores": [3]}, "keypoints\\[0\\] must be a list, got number 3"),
    # MediaPipe
    (_mediapipe(pose_landmarks=[[]]), "must hold 33 landmarks"),
    (_mediapipe(pose_landmarks=[{"x": 1}] * 33), "pose_landmarks\\[0\\] has no `y`"),
    (_mediapipe(pose_landmarks=3), "pose_landmarks must be a list"),
    (_mediapipe(pose_landmarks=[[1, 2]] * 33), "pose_landmarks\\[0\\] must hold x, y, z"),
    (_mediapipe(pose_world_landmarks=[]) | {"left_hand_landmarks": [{"x": 1, "y": 1}]}, "must hold 21 landmarks"),
    ([samples.mediapipe() | {"frame": "first"}], "\\[0\\].frame must be a whole number"),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES)
def test_malformed_files_end_in_one_line_that_names_the_file_and_the_place(tmp_path, content, message):
    path = write(tmp_path / "bad.json", content)
    with pytest.raises(keypoint_files.KeypointFileError, match=message) as caught:
        keypoint_files.read_keypoint_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 700


def test_absent_files_are_not_malformed(tmp_path):
    with pytest.raises(FileNotFoundError):
        keypoint_files.read_keypoint_file(tmp_path / "none.json")


def _read_or_refused(path):
    """What a file holds; None if it is refused as it should be."""
    try:
        return keypoint_files.read_keypoint_file(path)
    except keypoint_files.KeypointFileError as error:
        message = str(error)
    assert "\n" not in message
    return None


def _places(content, place=()):
    """Ways to everything in a JSON value."""
    yield place
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from _places(value, (*place, key))


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=8), st.just("\ud800"),
    st.just([]), st.just({}), st.just([[]]), st.just([None]), st.just([[[0]]]), st.just({"landmark": 3}),
    st.sampled_from([-1, 0, 1, 2, 1e6, 1e300, -0.0, 2**31, 2**63]),
    st.lists(st.floats(), max_size=4),
)  # fmt: skip


@st.composite
def _spoilt(draw, content):
    """A valid file with some values replaced, dropped, doubled, or put under another name."""
    content = [copy.deepcopy(content)]
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in _places(content) if place]
        # Half of the changes near the top: nearly all of a file is coordinates.
        if draw(st.booleans()):
            places = [place for place in places if len(place) <= 4]
        *way, key = draw(st.sampled_from(places))
        owner = content
        for step in way:
            owner = owner[step]
        change = draw(st.sampled_from(["replace", "drop", "double", "rename"]))
        if change == "replace" or owner is content:
            owner[key] = copy.deepcopy(draw(_VALUES))
        elif change == "drop":
            del owner[key]
        elif isinstance(owner, list):
            owner.insert(key, copy.deepcopy(owner[key]))
        else:
            names = ["people", "keypoints", "scores", "annotations", "frames", "instances", "image_id", "bodies", "x"]
            owner[draw(st.sampled_from(names))] = copy.deepcopy(owner[key])
    return content[0]


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=NUM_SPOILT, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_spoilt_files_are_read_or_refused(tmp_path_factory, name, data):
    folder = tmp_path_factory.getbasetemp()
    path = write(
        folder / f"spoilt_{re.sub('[^a-z0-9]', '_', name)}.json", json.dumps(data.draw(_spoilt(SAMPLES[name][0])))
    )
    file = _read_or_refused(path)
    if file is None:
        return
    pictures, bad = set(file.pictures), {picture for picture, _ in file.bad_pictures}
    assert bad <= pictures
    assert not bad & {person.picture for person in file.people}
    assert bool(file.people) or not bad
    for person in file.people:
        assert person.picture in pictures
        assert abs(person.keypoints_2d).max() < 1e6 + 1
        assert 0 < person.confidence.max() <= 1
        assert person.confidence.min() >= 0


@settings(max_examples=NUM_SPOILT, deadline=None, database=None)
@given(data=st.data())
def test_cut_and_scrambled_bytes_are_refused(tmp_path_factory, data):
    text = json.dumps(SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))][0]).encode()
    start = data.draw(st.integers(0, len(text)))
    noise = data.draw(st.binary(max_size=6))
    end = data.draw(st.integers(start, min(len(text), start + 8)))
    path = tmp_path_factory.getbasetemp() / "scrambled.json"
    path.write_bytes(text[:start] + noise + (text[end:] if data.draw(st.booleans()) else b""))
    _read_or_refused(path)
