"""ByteTrack and BoT-SORT of ultralytics, fed with people whose identities are known, and with a real video."""

import functools
import importlib.util
import inspect
import itertools
import json
import os
import pathlib

import numpy as np
import pytest

from hardmo_jax.missing_packages import MissingPackageError
from hardmo_jax.perception import crops, people, track, ultralytics_import

if not (ultralytics_import.has_ultralytics() and importlib.util.find_spec("lap")):
    pytest.skip("needs ultralytics and lap, the extra `yolo` (AGPL-3.0)", allow_module_level=True)

from hardmo_jax.perception.keypoints_from_files import FilePeople
from hardmo_jax.perception.track_ultralytics import UltralyticsTracker
from hardmo_jax.perception.video import Frame

DATA = pathlib.Path(os.environ.get("HARDMO_DATA", "../shared/data"))
VIDEO = DATA / "media" / "videos" / "mmhuman3d_multi_person_demo.mp4"
RTMDET = DATA / "weights" / "rtmdet-nano_person_end2end.onnx"
KINDS = ("bytetrack", "botsort")


def person_at(x, y=100.0, *, size=(40, 100), score=0.9):
    box = np.array([x, y, x + size[0], y + size[1]], np.float32)
    return people.PersonKeypoints(
        keypoints_2d=np.zeros((67, 2), np.float32), confidence=np.zeros(67, np.float32),
        keypoints_3d=np.zeros((67, 3), np.float32), confidence_3d=np.zeros(67, np.float32),
        bbox=box, detector_bbox=box, score=score, region=crops.SquareRegion(center=(float(x), y), size=120.0),
    )  # fmt: skip


def numbers(tracker, frames, images=None):
    images = images or [None] * len(frames)
    return [[one.track_id for one in tracker.step(frame, image)] for frame, image in zip(frames, images, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_people_who_cross_keep_their_numbers_whatever_their_order(kind):
    # Two walk through each other at 8 pixels a frame; halfway their boxes are one and the same.
    frames = [[person_at(100 + 8 * time), person_at(420 - 8 * time, y=112.0)] for time in range(41)]
    frames = [frame[::-1] if time % 2 else frame for time, frame in enumerate(frames)]
    found = numbers(UltralyticsTracker(kind, 25.0), frames)
    assert found == [[1, 0] if time % 2 else [0, 1] for time in range(41)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gap_is_bridged_where_the_person_was_going_and_a_long_one_is_not(kind):
    def walk(gap):
        return [[] if 10 <= time < 10 + gap else [person_at(100 + 6 * time)] for time in range(40)]

    short, long = (numbers(UltralyticsTracker(kind, 25.0, max_gap_seconds=0.4), walk(gap)) for gap in (8, 15))
    assert short == [[0] if frame else [] for frame in walk(8)]
    assert [frame for frame in long if frame] == [[0]] * 10 + [[1]] * 15


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_has_a_number_at_once_and_keeps_it_when_confirmed(kind):
    # The newcomer is unconfirmed in the third frame, which ultralytics itself would leave out.
    frames = [[person_at(0)], [person_at(2)], [person_at(4), person_at(300)], [person_at(302), person_at(6)]]
    assert numbers(UltralyticsTracker(kind, 25.0), frames) == [[0], [0], [0, 1], [1, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_uncertain_continue_a_track_or_get_fresh_numbers(kind):
    tracker = UltralyticsTracker(kind, 25.0)
    frames = [
        [person_at(0)],
        [person_at(2, score=0.1), person_at(300, score=0.1)],
        [person_at(302, score=0.1), person_at(4, score=0.9)],
    ]
    assert numbers(tracker, frames) == [[0], [0, 1], [2, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_without_area_and_empty_frames_are_no_trouble(kind):
    frames = [[], [person_at(5, size=(0, 0))], [person_at(5, size=(0, 0)), person_at(50)], []]
    found = numbers(UltralyticsTracker(kind, 30.0), frames)
    assert [len(frame) for frame in found] == [0, 1, 2, 0]
    assert all(len(set(frame)) == len(frame) for frame in found)


def test_botsort_follows_people_through_a_pan_of_the_camera():
    # Two people a step apart; the camera jumps by their distance, so that one stands where the other was.
    rng = np.random.default_rng(0)
    wall = rng.integers(0, 256, (30, 80, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    starts = [0, 0, 0, 60, 60, 60]
    images = [wall[:, start : start + 640] for start in starts]
    frames = [[person_at(200.0 - start), person_at(260.0 - start)] for start in starts]
    assert numbers(UltralyticsTracker("botsort", 25.0), frames, images) == [[0, 1]] * 6
    still = numbers(UltralyticsTracker("botsort", 25.0, camera_motion="none"), frames, images)
    assert still[3] != [0, 1], "the pan of this test is no challenge"


def test_two_trackers_do_not_share_numbers():
    first, second = UltralyticsTracker("bytetrack", 25.0), UltralyticsTracker("botsort", 25.0)
    assert numbers(first, [[person_at(0)]]) == numbers(second, [[person_at(0)]]) == [[0]]
    assert numbers(first, [[person_at(2), person_at(300)]]) == [[0, 1]]


def test_trackers_are_exchangeable():
    trackers: list[track.PeopleTracker] = [track.Tracker(), UltralyticsTracker("bytetrack", 25.0)]
    image = np.zeros((240, 320, 3), np.uint8)
    for tracker in trackers:
        assert list(inspect.signature(tracker.step).parameters) == ["people", "image"]
        assert [one.track_id for one in tracker.step([person_at(0), person_at(100)], image)] == [0, 1]


def test_people_of_files_who_have_no_score_are_followed(tmp_path):
    for index in range(4):
        people_there = [
            {"pose_keypoints_2d": [value for row in range(25) for value in (x + row, 100 + 10 * row, 0.9)]}
            for x in (100 + index, 400 - index)
        ]
        content = {"version": 1.3, "people": people_there if index % 2 else people_there[::-1]}
        (tmp_path / f"clip_{index:012d}_keypoints.json").write_text(json.dumps(content))
    source = FilePeople(tmp_path, make_tracker=functools.partial(UltralyticsTracker, "bytetrack", 25.0))
    frames = [
        Frame(
            image=np.full((480, 640, 3), 128, np.uint8), source_path=pathlib.Path("/somewhere/clip.mp4"),
            source_sha256="0" * 64, frame_index=index, position=index, time_seconds=index / 25,
        )
        for index in range(4)
    ]  # fmt: skip
    found = list(source.people_of(iter(frames), is_video=True))
    assert {person.score for frame in found for person in frame} == {None}
    assert [[person.track_id for person in frame] for frame in found] == [[0, 1], [1, 0]] * 2


def test_wrong_options_and_missing_lap_are_told(monkeypatch):
    for frames_per_second in (0.0, float("nan")):
        with pytest.raises(ValueError, match="no such tracker"):
            UltralyticsTracker("bytetrack", frames_per_second)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"need lap; `pip install hardmo_jax\[yolo\]`"):
        UltralyticsTracker("bytetrack", 25.0)


@pytest.mark.skipif(not (VIDEO.is_file() and RTMDET.is_file()), reason="needs HARDMO_DATA: a video and RTMDet")
def test_people_of_a_real_video_keep_their_numbers():
    import cv2

    from hardmo_jax.perception.detect_onnx import OnnxPersonDetector

    detector, capture = OnnxPersonDetector(RTMDET), cv2.VideoCapture(str(VIDEO))
    trackers: dict[str, track.PeopleTracker] = {kind: UltralyticsTracker(kind, 25.0) for kind in KINDS}
    counts, places, found = [], [], {kind: [] for kind in KINDS}
    for _ in range(20):
        image = np.ascontiguousarray(capture.read()[1][..., ::-1])
        boxes = [(box.bbox.astype(float), box.score) for box in detector(image, min_score=0.4)]
        seen = [person_at(*box[:2], size=box[2:] - box[:2], score=score) for box, score in boxes]
        counts.append(len(seen))
        places.append([box for box, _ in boxes])
        for kind, tracker in trackers.items():
            found[kind].append([one.track_id for one in tracker.step(seen, image)])
    for kind in KINDS:
        # Two people dance; a number means the same one where the boxes follow each other.
        assert sorted({number for one in found[kind] for number in one}) == [0, 1]
        assert [len(one) for one in found[kind]] == counts
        for before, after in itertools.pairwise(zip(found[kind], places, strict=True)):
            for number, place in zip(*after, strict=True):
                if number in before[0]:
                    assert np.abs(place - before[1][before[0].index(number)]).max() < 60
