import numpy as np
import pytest

from hardmo_jax.perception import anchors, detect_blazepose, keypoints_hand


def _slow_centers(size, strides):
    """Plain loops: levels of equal stride that follow each other lie on one grid."""
    centers, level = [], 0
    while level < len(strides):
        last = level
        while last < len(strides) and strides[last] == strides[level]:
            last += 1
        cells = size // strides[level]
        for row in range(cells):
            for column in range(cells):
                centers += [((column + 0.5) / cells, (row + 0.5) / cells)] * (2 * (last - level))
        level = last
    return np.array(centers, np.float32)


@pytest.mark.parametrize(
    ("size", "strides", "count"),
    [
        (detect_blazepose.INPUT_SIZE, detect_blazepose.STRIDES, 2254),
        (keypoints_hand.PALM_INPUT_SIZE, keypoints_hand.PALM_STRIDES, 2016),
    ],
)
def test_anchor_centers_match_plain_loops(size, strides, count):
    centers = anchors.anchor_centers(size, strides)
    assert centers.shape == (count, 2)
    np.testing.assert_allclose(centers, _slow_centers(size, strides), atol=1e-7)


def test_anchor_centers_refuse_a_stride_that_does_not_divide():
    with pytest.raises(ValueError, match="stride 9"):
        anchors.anchor_centers(224, (9,))


def test_decode_puts_box_and_keypoints_about_the_anchor():
    centers = np.array([[0.25, 0.5], [0.75, 0.5]], np.float32)
    values = np.array([[10, -20, 40, 80, 5, 6, -7, 8], [0, 0, 20, 20, 0, 0, 0, 0]], np.float32)
    found = anchors.decode(values, np.array([2.0, 3.0], np.float32), centers, input_size=100, min_score=0.5)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-3.0, -2.0])), rtol=1e-6)
    np.testing.assert_allclose(found.boxes[1], [0.15, -0.1, 0.55, 0.7], atol=1e-6)
    np.testing.assert_allclose(found.keypoints[1], [[0.30, 0.56], [0.18, 0.58]], atol=1e-6)


def test_decode_drops_weak_empty_and_broken_boxes():
    centers = np.full((4, 2), 0.5, np.float32)
    values = np.tile(np.array([0, 0, 10, 10, 0, 0], np.float32), (4, 1))
    values[1, 2] = -1.0
    values[2, 0] = np.nan
    logits = np.array([-1.0, 5.0, 5.0, 5.0], np.float32)
    found = anchors.decode(values, logits, centers, input_size=100, min_score=0.5)
    assert len(found) == 1
    assert found.keypoints.shape == (1, 1, 2)
    nothing = anchors.decode(values, np.full(4, -1e9, np.float32), centers, input_size=100, min_score=0.5)
    assert nothing.keypoints.shape == (0, 1, 2)
    assert len(anchors.blend_duplicates(nothing, max_iou=0.3)) == 0


def test_box_iou_of_hand_made_boxes():
    boxes = np.array([[0.0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 0, 0]])
    np.testing.assert_allclose(anchors.box_iou(boxes[0], boxes), [1.0, 1 / 7, 0.0, 0.0])


def test_blend_duplicates_averages_a_cluster_by_score_and_keeps_others():
    boxes = np.array([[0.0, 0, 1, 1], [0.2, 0, 1.2, 1], [3, 3, 4, 4]])
    keypoints = boxes[:, None, :2]
    found = anchors.RawDetections(boxes=boxes, keypoints=keypoints, scores=np.array([0.9, 0.3, 0.5]))
    blended = anchors.blend_duplicates(found, max_iou=0.3)
    np.testing.assert_allclose(blended.boxes, [[0.05, 0, 1.05, 1], [3, 3, 4, 4]])
    np.testing.assert_allclose(blended.keypoints[:, 0], [[0.05, 0], [3, 3]])
    np.testing.assert_allclose(blended.scores, [0.9, 0.5])


def test_sigmoid_never_overflows():
    with np.errstate(all="raise"):
        np.testing.assert_allclose(anchors.sigmoid(np.array([-1e30, 0.0, 1e30])), [0.0, 0.5, 1.0], atol=1e-12)
