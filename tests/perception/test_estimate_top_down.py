"""People by ONNX models: one layout of all models, nobody twice, and numbers kept from frame to frame."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.perception.detect_onnx import OnnxPersonDetector
from hardmo_jax.perception.estimate_top_down import TopDownEstimator
from hardmo_jax.perception.keypoints_onnx import OnnxKeypointModel
from hardmo_jax.perception.load_source import load_estimator
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.skeleton import layouts
from tests.perception import handmade_onnx

POINTS = layouts.get_layout("openpose67").points
BOXES = np.array([[[40, 40, 280, 600, 0.9], [360, 60, 600, 620, 0.8]]], np.float32)


def spots(first=(160, 300), second=(480, 320)):
    """A picture with a bright spot in each of two boxes; all points of a person are at theirs."""
    image = np.zeros((640, 640, 3), np.uint8)
    for x, y in (first, second):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return image


class Spread(OnnxKeypointModel):
    """The points of a person at their spot and about it, so that there is a box to follow."""

    def __call__(self, image, boxes):
        offsets = np.stack([np.linspace(-60, 60, 17), np.linspace(-90, 90, 17)], -1).astype(np.float32)
        found = super().__call__(image, boxes)
        return [dataclasses.replace(one, keypoints_2d=one.keypoints_2d + offsets) for one in found]


@pytest.fixture
def files(tmp_path):
    labels = np.zeros(BOXES.shape[:2], np.int64)
    detector = handmade_onnx.constant(tmp_path / "detector.onnx", {"dets": BOXES, "labels": labels})
    return detector, handmade_onnx.simcc(tmp_path / "pose.onnx", count=17)


@pytest.fixture
def estimator(files):
    detector, keypoints = files
    return TopDownEstimator(
        OnnxPersonDetector(detector),
        OnnxKeypointModel(keypoints),
        PerceptionOptions(max_people=10, detect_every=5),
        name="onnx:pose.onnx",
    )


def test_points_of_the_model_stand_in_the_layout_and_middles_are_averaged(estimator):
    people = estimator(spots())
    assert [person.score for person in people] == pytest.approx([0.9, 0.8])
    for person, spot in zip(people, [(160, 300), (480, 320)], strict=True):
        for point in ("left_wrist", "neck", "mid_hip", "nose"):
            np.testing.assert_allclose(person.keypoints_2d[POINTS.index(point)], spot, atol=4)
            assert person.confidence[POINTS.index(point)] > 0.9
        # COCO knows no heels and no fingers.
        for point in ("left_heel", "right_index_tip"):
            assert person.confidence[POINTS.index(point)] == 0
        assert (person.confidence_3d == 0).all()


def test_people_keep_their_numbers_and_a_picture_without_anybody_has_none(files):
    detector, keypoints = files
    estimator = TopDownEstimator(
        OnnxPersonDetector(detector), Spread(keypoints), PerceptionOptions(detect_every=5), name="x"
    )
    frames = [spots(), spots((164, 302), (478, 322)), np.zeros((640, 640, 3), np.uint8), spots((168, 304), (476, 324))]
    found = list(estimator.track(frames))
    assert [len(people) for people in found] == [2, 2, 0, 2]
    numbers = [[person.track_id for person in people] for people in found]
    assert all(own is not None for people in numbers for own in people)
    assert len(set(numbers[0])) == 2


def test_options_choose_the_models(files):
    detector, keypoints = files
    options = PerceptionOptions(detector="onnx", detector_file=str(detector), keypoints_file=str(keypoints))
    found = load_estimator("nowhere", options)
    assert isinstance(found, TopDownEstimator)
    assert found.source == "onnx:pose.onnx"


def test_whoever_is_followed_stays_when_the_detector_loses_sight(files):
    """The detector finds both in the first frame alone; the points of both are still there."""
    detector, keypoints = files

    class Forgetful:
        gives_points = False
        calls = 0

        def __call__(self, image, *, min_score):
            self.calls += 1
            found = OnnxPersonDetector(detector)(image, min_score=min_score)
            return found if self.calls == 1 else found[:1]

    estimator = TopDownEstimator(Forgetful(), Spread(keypoints), PerceptionOptions(detect_every=2), name="x")
    found = list(estimator.track([spots()] * 6))
    assert [sorted(person.track_id for person in people) for people in found] == [[0, 1]] * 6


def test_fingers_that_are_not_wanted_are_not_given(files):
    detector, _ = files
    whole = handmade_onnx.simcc(files[1].with_name("whole.onnx"), count=133)
    for wanted in (True, False):
        options = PerceptionOptions(hands=wanted)
        estimator = TopDownEstimator(OnnxPersonDetector(detector), OnnxKeypointModel(whole), options, name="x")
        people = estimator(spots())
        assert all((person.confidence[POINTS.index("left_index_tip")] > 0) == wanted for person in people)
