"""Sources side by side: each sees every picture once, and people are put together by where they are."""

import dataclasses
import pathlib

import numpy as np
import pytest

from hardmo_jax.perception import crops
from hardmo_jax.perception.calibration import PartCalibration
from hardmo_jax.perception.fuse import FusionOptions
from hardmo_jax.perception.fused_source import FusedSource, OtherPeople, SamePeople
from hardmo_jax.perception.keypoints_onnx import OnnxKeypointModel
from hardmo_jax.perception.people import PersonKeypoints
from hardmo_jax.perception.video import Frame
from hardmo_jax.skeleton import layouts
from tests.perception import handmade_onnx
from tests.perception.test_fuse import IS, LAYOUT, standing


def person(points, confidence=0.9, **fields):
    bbox = np.concatenate([points.min(0), points.max(0)]).astype(np.float32)
    base = PersonKeypoints(
        keypoints_2d=points.astype(np.float32),
        confidence=np.full(len(LAYOUT), confidence, np.float32),
        keypoints_3d=np.zeros((len(LAYOUT), 3), np.float32),
        confidence_3d=np.full(len(LAYOUT), 0.5, np.float32),
        bbox=bbox,
        detector_bbox=bbox,
        score=0.9,
        region=crops.SquareRegion(center=(0.0, 0.0), size=1.0),
    )
    return dataclasses.replace(base, **fields)


class Told:
    """A source that says what it was told, and remembers what it was shown."""

    def __init__(self, source, people_by_frame, unusable=()):
        self.source, self._people, self.seen, self.unusable = source, people_by_frame, [], frozenset(unusable)

    @property
    def warnings(self):
        return (f"{self.source} was asked",)

    def people_of(self, frames, *, is_video):
        for frame in frames:
            self.seen.append((frame.position, is_video))
            yield self._people[frame.position]
        self.seen.append("end")


def frames(count):
    return [
        Frame(image=np.zeros((500, 900, 3), np.uint8), source_path=pathlib.Path("a"), source_sha256="", frame_index=at,
              position=at, time_seconds=None)
        for at in range(count)
    ]  # fmt: skip


def moved(points, part, by):
    points = points.copy()
    points[IS[part]] += by
    return points


def test_hands_of_one_and_feet_of_another_on_the_body_of_a_third():
    base = [standing(300), standing(700)]
    bodies = Told("b", [[person(base[0]), person(base[1])], [person(base[0])], []])
    hands = Told(
        "h", [[person(moved(base[1], "left_hand", 6)), person(moved(base[0], "left_hand", 5))], [], []], (1, 2)
    )
    feet = Told("f", [[person(moved(base[0], "right_foot", 4))], [person(moved(base[0], "right_foot", 3))], []], (2,))
    fused = FusedSource(bodies, {"foot": OtherPeople(feet), "hand": OtherPeople(hands)}, options=FusionOptions())
    found = list(fused.people_of(iter(frames(3)), is_video=True))
    assert [len(people) for people in found] == [2, 1, 0]
    first, second = found[0]
    np.testing.assert_allclose(first.keypoints_2d, moved(moved(base[0], "left_hand", 5), "right_foot", 4))
    np.testing.assert_allclose(second.keypoints_2d, moved(base[1], "left_hand", 6))
    np.testing.assert_allclose(found[1][0].keypoints_2d, moved(base[0], "right_foot", 3))
    assert first.source == "b; right_foot: f; left_hand: h"
    assert second.source == "b; left_hand: h"
    # Depth of a body says nothing of the points of another source.
    np.testing.assert_array_equal(first.confidence_3d == 0, IS["left_hand"] | IS["right_foot"])
    for source in (bodies, hands, feet):
        assert source.seen == [(0, True), (1, True), (2, True), "end"]
    assert fused.unusable == {1, 2}
    assert fused.warnings == ("b was asked", "f was asked", "h was asked")


def test_calibrations_decide_where_both_are_known():
    base = standing(300)
    other = moved(base, "left_hand", 30)
    bodies, hands = (Told(name, [[person(points)]]) for name, points in (("b", base), ("h", other)))
    tables = [{"hand": PartCalibration(confidence=(0.9,), error=(error,))} for error in (0.001, 0.01)]
    for ours, theirs, expected in ((tables[0], tables[1], base), (tables[1], tables[0], other)):
        calibrations = {"b": ours, "h": theirs}
        fused = FusedSource(bodies, {"hand": OtherPeople(hands)}, options=FusionOptions(), calibrations=calibrations)
        ((found,),) = fused.people_of(iter(frames(1)), is_video=False)
        np.testing.assert_allclose(found.keypoints_2d[IS["left_hand"]], expected[IS["left_hand"]], atol=0.5)


def test_calibrations_hold_for_hands_behind_feet():
    """What was taken of the feet changes who measured the person, not what the confidences of the body are worth."""
    base = standing(300)
    wrong = moved(moved(base, "left_hand", 30), "left_foot", 3)
    table = {"b": {"hand": PartCalibration(confidence=(0.9,), error=(0.001,))}}
    table["o"] = {"hand": PartCalibration(confidence=(0.9,), error=(0.01,))}
    bodies, other = Told("b", [[person(base)]]), Told("o", [[person(wrong)]])
    parts = {"foot": OtherPeople(other), "hand": OtherPeople(Told("o", [[person(wrong)]]))}
    fused = FusedSource(bodies, parts, options=FusionOptions(), calibrations=table)
    ((found,),) = fused.people_of(iter(frames(1)), is_video=False)
    assert found.source == "b; left_foot: o"
    np.testing.assert_array_equal(found.keypoints_2d[IS["left_hand"]], base[IS["left_hand"]])


def test_a_model_may_look_into_the_boxes_of_the_people_who_were_found(tmp_path):
    """All its points are at the brightest spot, which lies where the feet are."""
    base = standing(300)
    foot = base[IS["left_foot"]].mean(0).round().astype(int)
    (frame,) = frames(1)
    image = frame.image.copy()
    image[foot[1] - 2 : foot[1] + 3, foot[0] - 2 : foot[0] + 3] = 255
    model = OnnxKeypointModel(handmade_onnx.simcc(tmp_path / "feet.onnx", count=23))
    bodies = Told("b", [[person(base, np.float32(0.9), source="file:coco17")]])
    options = FusionOptions(most_base_apart=0.2)
    fused = FusedSource(bodies, {"foot": SamePeople(model)}, options=options)
    ((found,),) = fused.people_of(iter([dataclasses.replace(frame, image=image)]), is_video=False)
    assert found.source == "file:coco17; left_foot: onnx:feet.onnx"
    np.testing.assert_allclose(found.keypoints_2d[IS["left_foot"]], np.broadcast_to(foot, (3, 2)), atol=4)
    np.testing.assert_array_equal(found.keypoints_2d[~IS["left_foot"]], base[~IS["left_foot"]])


@pytest.mark.parametrize("side", layouts.SIDES)
def test_the_same_is_no_change(side):
    base = standing(300)
    told = [[person(base)]]
    fused = FusedSource(Told("b", told), {"hand": OtherPeople(Told("h", told))}, options=FusionOptions())
    ((found,),) = fused.people_of(iter(frames(1)), is_video=False)
    assert found.source == "b", "and not the other one's"
    assert found.keypoints_2d is told[0][0].keypoints_2d
