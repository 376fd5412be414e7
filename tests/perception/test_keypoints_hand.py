import math

import numpy as np
import pytest

from hardmo_jax.perception import crops, keypoints_hand


def _hand(angle=0.0, scale=100.0, center=(300.0, 200.0)):
    """A flat open hand, fingers up before it is turned."""
    points = [(0.0, 0.0)]
    for finger, x in enumerate((-0.45, -0.2, 0.0, 0.18, 0.35)):
        length = 0.6 if finger == 0 else 1.0
        points += [(x * (0.6 + 0.4 * joint / 4), -length * joint / 4) for joint in (1, 2, 3, 4)]
    cos, sin = math.cos(angle), math.sin(angle)
    return (np.array(points) @ np.array([[cos, sin], [-sin, cos]]) * scale + center).astype(np.float32)


def test_palm_region_matches_a_hand_worked_example():
    search = crops.SquareRegion(center=(100.0, 100.0), size=200.0)
    keypoints = np.full((7, 2), 0.5)
    keypoints[keypoints_hand.PALM_POINTS.index("hand_root")] = [0.5, 0.6]
    keypoints[keypoints_hand.PALM_POINTS.index("middle1")] = [0.5, 0.4]
    region = keypoints_hand.palm_region(search, np.array([0.4, 0.4, 0.6, 0.6]), keypoints)
    assert region.angle == pytest.approx(0.0)
    assert region.size == pytest.approx(2.6 * 40)
    np.testing.assert_allclose(region.center, [100.0, 80.0], atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2, math.pi, -2.0])
def test_next_region_turns_with_the_hand(angle):
    still = keypoints_hand.next_region(_hand())
    turned = keypoints_hand.next_region(_hand(angle))
    assert turned.size == pytest.approx(still.size, rel=1e-4)
    assert math.remainder(turned.angle - still.angle - angle, 2 * math.pi) == pytest.approx(0.0, abs=1e-4)
    inside = turned.from_image(_hand(angle).astype(np.float64))
    assert ((inside > 0) & (inside < 1)).all()
    # Fingers up, wrist below.
    assert inside[keypoints_hand.POINTS.index("middle_tip"), 1] < inside[keypoints_hand.POINTS.index("hand_root"), 1]


def test_next_region_of_a_point_is_finite():
    region = keypoints_hand.next_region(np.zeros((21, 2), np.float32))
    assert np.isfinite([*region.center, region.size, region.angle]).all()


def test_hand_hint_regions_hold_the_hand():
    points = _hand(0.5)
    hint = keypoints_hand.HandHint(
        side="left",
        wrist=points[0].astype(np.float64),
        palm=points[keypoints_hand.POINTS.index("middle1")].astype(np.float64),
        length=100.0,
    )
    for region in (hint.search_region(), hint.hand_region()):
        inside = region.from_image(points.astype(np.float64))
        assert ((inside > 0) & (inside < 1)).all()
