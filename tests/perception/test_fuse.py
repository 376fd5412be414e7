"""Fusing what is known: people whose points are drawn about a truth."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.perception import fuse
from hardmo_jax.perception.calibration import PartCalibration
from hardmo_jax.perception.fuse import FusionOptions, Seen
from hardmo_jax.skeleton import flips, layouts

LAYOUT = layouts.get_layout("openpose67")
TURNED = list(flips.flip_permutation(LAYOUT))
SIDE = 400.0
IS = {
    part: np.array([layouts.part_of(point) == part for point in LAYOUT.points])
    for part in ("left_hand", "right_hand", "left_foot", "right_foot", "body")
}


def standing(x=0.0):
    """A person facing the camera, arms spread: their left is to the right of the picture."""
    places = {"nose": (0, 40), "eye": (8, 30), "ear": (15, 35), "shoulder": (40, 90), "elbow": (90, 100),
              "wrist": (140, 110), "hip": (25, 210), "knee": (30, 300), "ankle": (32, 380), "big_toe": (45, 398),
              "small_toe": (52, 396), "heel": (30, 392), "neck": (0, 90), "mid_hip": (0, 210)}  # fmt: skip
    points = np.zeros((len(LAYOUT), 2), np.float32)
    for row, point in enumerate(LAYOUT.points):
        side, _, rest = point.partition("_")
        sign = {"left": 1, "right": -1}.get(side, 0)
        place = places.get(point) or places.get(rest)
        if place is None:
            number = int(rest[-1]) if rest[-1].isdigit() else 4
            finger = next((at for at, name in enumerate(layouts.FINGERS) if rest.startswith(name)), 0)
            place = (140 + (0 if rest == "hand_root" else 8 * number), 110 + 6 * (finger - 2) * (rest != "hand_root"))
        points[row] = (x + sign * place[0], place[1])
    return points


def seen(points, confidence=0.9):
    return Seen(keypoints_2d=points.astype(np.float32), confidence=np.full(len(points), confidence, np.float32))


def test_people_are_put_together_whatever_their_order_and_sides():
    ours = [seen(standing(x)) for x in (200, 600, 1000)]
    theirs = [seen(standing(1004)), seen(standing(203)).taking(TURNED)]
    pairs = fuse.same_people(ours, theirs, [SIDE] * 3, LAYOUT, 0.1)
    assert set(pairs) == {(0, 1), (2, 0)}
    assert fuse.same_people(ours, [], [SIDE] * 3, LAYOUT, 0.1) == []
    assert fuse.same_people([], theirs, [], LAYOUT, 0.1) == []


def test_people_without_points_in_common_are_nobody():
    ours, theirs = seen(standing()), seen(standing())
    nothing = dataclasses.replace(theirs, confidence=np.zeros(len(LAYOUT), np.float32))
    assert fuse.same_people([ours], [nothing], [SIDE], LAYOUT, 0.1) == []


@pytest.mark.parametrize("limb", ["arm", "leg", "both", "none"])
def test_exchanged_limbs_come_back_to_the_side_of_the_body(limb):
    own = seen(standing())
    order = np.arange(len(LAYOUT))
    for row, point in enumerate(LAYOUT.points):
        kind = fuse._limb_of(point)
        if limb == "both" or (limb != "none" and kind == limb):
            order[row] = TURNED[row]
    found = fuse.with_sides_of(own, own.taking(order.tolist()), LAYOUT, SIDE)
    np.testing.assert_array_equal(found.keypoints_2d, own.keypoints_2d)


def test_ends_in_one_place_are_left_alone():
    """In profile both ankles lie on each other: nothing says who is right."""
    points = standing()
    for row, point in enumerate(LAYOUT.points):
        if point.startswith(("left_", "right_")):
            points[row, 0] = 3 if point.startswith("left_") else -3
    own, other = seen(points), seen(points).taking(TURNED)
    found = fuse.with_sides_of(own, other, LAYOUT, SIDE)
    np.testing.assert_array_equal(found.keypoints_2d, other.keypoints_2d)


def test_hands_go_to_the_wrists_that_they_hang_on():
    own = seen(standing())
    hands = IS["left_hand"] | IS["right_hand"]
    exchanged = own.taking(np.where(hands, TURNED, np.arange(len(LAYOUT))).tolist())
    found = fuse.with_sides_of(own, exchanged, LAYOUT, SIDE)
    np.testing.assert_array_equal(found.keypoints_2d, own.keypoints_2d)
    # One hand alone, said to be the other one.
    alone = dataclasses.replace(exchanged, confidence=np.where(IS["left_hand"], exchanged.confidence, 0))
    found = fuse.with_sides_of(own, alone, LAYOUT, SIDE)
    np.testing.assert_array_equal(found.confidence > 0, IS["right_hand"])


def test_the_named_source_gives_the_part_and_what_it_lacks_stays():
    own, points = seen(standing(), 0.5), standing()
    points[IS["left_foot"]] += 5
    other = seen(points, 0.8)
    lacks = LAYOUT.index("left_small_toe")
    other = dataclasses.replace(other, confidence=np.where(np.arange(len(LAYOUT)) == lacks, 0, other.confidence))
    found = fuse.with_part_of(own, other, "left_foot", LAYOUT, SIDE, FusionOptions())
    assert found is not None
    taken = IS["left_foot"] & (np.arange(len(LAYOUT)) != lacks)
    np.testing.assert_array_equal(found.keypoints_2d[taken], points[taken])
    np.testing.assert_array_equal(found.confidence[taken], other.confidence[taken])
    np.testing.assert_array_equal(found.keypoints_2d[~taken], own.keypoints_2d[~taken])
    np.testing.assert_array_equal(found.confidence[~taken], own.confidence[~taken])


def test_parts_on_another_wrist_or_hardly_seen_are_not_taken():
    own, options = seen(standing()), FusionOptions()
    far = standing()
    far[IS["left_hand"]] += 60
    far[LAYOUT.index("left_wrist")] += 60
    assert fuse.with_part_of(own, seen(far), "left_hand", LAYOUT, SIDE, options) is None
    assert fuse.with_part_of(own, seen(standing() + 1, 0.3), "left_hand", LAYOUT, SIDE, options) is None
    assert fuse.with_part_of(own, own, "left_hand", LAYOUT, SIDE, options) is None, "the same is no change"


@pytest.mark.parametrize("part", ["left_hand", "right_foot"])
@pytest.mark.parametrize("spreads", [(0.01, 0.01), (0.004, 0.02), (0.02, 0.004)])
def test_calibrated_sources_are_no_worse_together_than_the_better_one(rng, part, spreads):
    truth = standing()
    parts = [PartCalibration(confidence=(0.9,), error=(0.674 * 1.57 * spread,)) for spread in spreads]
    calibrations = tuple({"hand": one, "foot": one} for one in parts)
    errors = {"own": [], "other": [], "fused": []}
    for _ in range(200):
        own, other = (
            seen(truth + np.where(IS[part][:, None], rng.normal(size=truth.shape) * spread * SIDE, 0))
            for spread in spreads
        )
        fused = fuse.with_part_of(own, other, part, LAYOUT, SIDE, FusionOptions(), calibrations)
        for name, one in (("own", own), ("other", other), ("fused", fused)):
            errors[name].append(np.linalg.norm(one.keypoints_2d - truth, axis=-1)[IS[part]].mean())
    means = {name: np.mean(values) for name, values in errors.items()}
    assert means["fused"] <= 1.01 * min(means["own"], means["other"])
    if spreads[0] == spreads[1]:
        assert means["fused"] < 0.8 * means["own"], "independent errors average out"


def test_of_parts_that_disagree_the_better_one_is_taken_as_a_whole():
    own, points = seen(standing(), 0.5), standing()
    points[IS["left_hand"]] += 20
    points[LAYOUT.index("left_wrist")] += 4
    other = seen(points)
    good, poor = ({"hand": PartCalibration(confidence=(0.5,), error=(error,))} for error in (0.002, 0.01))
    found = fuse.with_part_of(own, other, "left_hand", LAYOUT, SIDE, FusionOptions(), (poor, good))
    assert found is not None
    np.testing.assert_allclose(found.keypoints_2d[IS["left_hand"]], points[IS["left_hand"]])
    assert fuse.with_part_of(own, other, "left_hand", LAYOUT, SIDE, FusionOptions(), (good, poor)) is None


def test_confidences_are_told_on_the_scale_of_the_body_source():
    own, points = seen(standing(), 0.3), standing() + 1
    ours = {"foot": PartCalibration(confidence=(0.2, 0.9), error=(0.08, 0.01))}
    theirs = {"foot": PartCalibration(confidence=(0.1, 0.9), error=(0.045, 0.01))}
    found = fuse.with_part_of(own, seen(points, 0.1), "left_foot", LAYOUT, SIDE, FusionOptions(), (ours, theirs))
    assert found is None, "unseen by the other source"
    found = fuse.with_part_of(own, seen(points, 0.9), "left_foot", LAYOUT, SIDE, FusionOptions(), (ours, theirs))
    assert found is not None
    np.testing.assert_allclose(found.confidence[IS["left_foot"]], 0.9, atol=1e-6)


def test_sources_with_rough_bodies_may_be_further_apart():
    own, points = seen(standing()), standing()
    points[LAYOUT.index("left_ankle")] += 40
    points[IS["left_foot"]] += 3
    feet = {"foot": PartCalibration(confidence=(0.9,), error=(0.01,))}
    rough = {**feet, "body": PartCalibration(confidence=(0.9,), error=(0.03,))}
    arguments = (own, seen(points), "left_foot", LAYOUT, SIDE, FusionOptions())
    assert fuse.with_part_of(*arguments, (feet, feet)) is None
    assert fuse.with_part_of(*arguments, (rough, rough)) is not None
