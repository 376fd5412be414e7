import math

import numpy as np
import pytest

from hardmo_jax.perception import crops, detect_blazepose


def _detection(center, radius, score):
    x, y = center
    points = np.array([[x, y], [x, y - radius], [x, y - radius / 2], [x, y]], np.float32)
    box = np.array([x - 10, y - radius, x + 10, y], np.float32)
    return detect_blazepose.PersonDetection(bbox=box, keypoints_2d=points, score=score)


def test_body_region_holds_the_circle_head_up():
    region = detect_blazepose.body_region(np.array([100.0, 50.0]), np.array([140.0, 50.0]))
    assert region.size == pytest.approx(100.0)
    assert region.angle == pytest.approx(math.pi / 2)
    np.testing.assert_allclose(region.from_image(np.array([140.0, 50.0])), [0.5, 0.1], atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (1080, 810), (100, 100), (1, 1), (50, 2000)])
@pytest.mark.parametrize("tiles", [1.0, 1.35, 2.5, 4.0])
def test_look_regions_cover_every_corner(height, width, tiles):
    pyramid = crops.ImagePyramid(np.zeros((height, width, 3), np.uint8))
    regions = detect_blazepose.look_regions(pyramid, tiles=tiles, tile_overlap=0.4, overhang=0.45)
    xs, ys = np.meshgrid(np.linspace(0, width - 1, 15), np.linspace(0, height - 1, 15))
    points = np.stack([xs, ys], -1).reshape(-1, 2)
    inside = [((region.from_image(points) >= 0) & (region.from_image(points) <= 1)).all(-1) for region in regions]
    assert np.any(inside, axis=0).all()
    assert len(regions) < 200


def test_cluster_detections_gathers_a_person_and_keeps_neighbours_apart():
    found = [
        _detection((100, 100), 80, 0.6),
        _detection((103, 101), 82, 0.9),
        _detection((220, 100), 80, 0.7),
        _detection((100, 100), 20, 0.8),
    ]
    clusters = detect_blazepose.cluster_detections(found)
    assert [[one.score for one in cluster] for cluster in clusters] == [[0.9, 0.6], [0.8], [0.7]]
