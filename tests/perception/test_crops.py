import math

import cv2
import numpy as np
import pytest

from hardmo_jax.perception import crops

REGION = crops.SquareRegion(center=(70.0, 45.0), size=50.0, angle=math.radians(30))


def test_points_go_into_a_region_and_back(rng):
    points = rng.normal(60, 40, (7, 3, 2))
    np.testing.assert_allclose(REGION.to_image(REGION.from_image(points)), points, atol=1e-9)


def test_upright_region_corners_lie_on_pixel_edges():
    region = crops.SquareRegion(center=(49.5, 49.5), size=100.0)
    np.testing.assert_allclose(region.to_image(np.array([[0.0, 0], [1, 1]])), [[-0.5, -0.5], [99.5, 99.5]])


def test_affine_matrices_are_inverse_and_agree_with_fractions():
    forward, backward = crops.affine_image_from_crop(REGION, 64), crops.affine_crop_from_image(REGION, 64)
    square = [np.vstack([matrix, [0, 0, 1]]) for matrix in (forward, backward)]
    np.testing.assert_allclose(square[0] @ square[1], np.eye(3), atol=1e-9)
    # The centre of crop pixel (10, 20) covers the fractions (10.5, 20.5) / 64.
    np.testing.assert_allclose(forward @ [10, 20, 1], REGION.to_image(np.array([10.5 / 64, 20.5 / 64])), atol=1e-9)


def test_region_from_axis_turns_the_axis_upwards():
    for degrees in range(0, 360, 30):
        start = np.array([10.0, 20.0])
        end = start + 7 * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        region = crops.region_from_axis(start, end, size=28.0)
        np.testing.assert_allclose(region.from_image(end), [0.5, 0.25], atol=1e-9)


def test_shifted_and_scaled_follow_the_regions_own_axes():
    region = crops.SquareRegion(center=(0.0, 0.0), size=10.0, angle=math.pi / 2).shifted(0.0, -0.5).scaled(2.0)
    np.testing.assert_allclose(region.center, [5.0, 0.0], atol=1e-9)
    assert region.size == 20.0


def _marked_picture(width, height, marks):
    image = np.full((height, width, 3), 40, np.uint8)
    for (x, y), color in marks.items():
        cv2.circle(image, (x, y), 5, color, -1)
    return image


def test_cut_shows_markers_where_the_maths_says():
    marks = {(60, 40): (255, 0, 0), (80, 50): (0, 255, 0), (70, 60): (0, 0, 255)}
    pyramid = crops.ImagePyramid(_marked_picture(140, 100, marks))
    cut = pyramid.cut(REGION, 128)
    assert cut.dtype == np.float32
    for point, color in marks.items():
        column, row = np.round(REGION.from_image(np.array(point, float)) * 128 - 0.5).astype(int)
        np.testing.assert_allclose(cut[row, column], np.array(color) / 255, atol=0.02)


@pytest.mark.parametrize("size", [(600, 400), (601, 397)])
def test_cut_from_a_smaller_copy_keeps_positions(size):
    """A strong reduction uses a halved copy: centres of blobs must not move by a crop pixel."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    cv2.circle(image, (350, 150), 30, (255, 255, 255), -1)
    region = crops.SquareRegion(center=(300.0, 200.0), size=620.0, angle=math.radians(-20))
    cut = crops.ImagePyramid(image).cut(region, 60)[..., 0]
    rows, columns = np.mgrid[:60, :60]
    seen = np.array([(cut * columns).sum(), (cut * rows).sum()]) / cut.sum()
    np.testing.assert_allclose(seen, region.from_image(np.array([350.0, 150])) * 60 - 0.5, atol=0.1)


def test_reduction_does_not_alias():
    """Stripes finer than a crop pixel come out grey."""
    image = np.zeros((512, 512, 3), np.uint8)
    image[:, ::2] = 255
    cut = crops.ImagePyramid(image).cut(crops.SquareRegion(center=(255.5, 255.5), size=512.0), 64)
    np.testing.assert_allclose(cut, 0.5, atol=0.02)


def test_outside_is_black_or_the_edge_pixel():
    pyramid = crops.ImagePyramid(np.full((20, 20, 3), 255, np.uint8))
    region = crops.SquareRegion(center=(0.0, 0.0), size=40.0)
    assert pyramid.cut(region, 40)[0, 0].max() == 0.0
    assert pyramid.cut(region, 40, replicate_border=True).min() == 1.0


def test_whole_letterboxes():
    pyramid = crops.ImagePyramid(np.full((10, 30, 3), 255, np.uint8))
    cut = pyramid.cut(pyramid.whole, 30)
    assert cut[10:20].min() == 1.0
    assert cut[:9].max() == 0.0
    assert cut[21:].max() == 0.0


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 4)])
def test_pyramid_refuses_what_is_no_picture(shape):
    with pytest.raises(ValueError, match="must be a non-empty"):
        crops.ImagePyramid(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        crops.ImagePyramid(np.zeros((4, 4, 3), np.float32))
