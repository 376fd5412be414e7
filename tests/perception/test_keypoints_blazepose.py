import numpy as np

from hardmo_jax.perception import keypoints_blazepose


def test_refinement_moves_to_the_peak_near_by():
    heatmap = np.full((64, 64, 2), -20.0, np.float32)
    heatmap[31, 22, 0] = 5.0
    heatmap[31, 50, 1] = 5.0
    points = np.array([[20.5 / 64, 30.5 / 64], [20.5 / 64, 30.5 / 64]])
    refined = keypoints_blazepose.refine_by_heatmap(points, heatmap)
    np.testing.assert_allclose(refined[0], [22 / 64, 31 / 64], atol=1e-5)
    np.testing.assert_allclose(refined[1], points[1])


def test_refinement_leaves_points_outside_the_crop():
    heatmap = np.full((64, 64, 1), 5.0, np.float32)
    points = np.array([[1.2, -0.3]])
    np.testing.assert_allclose(keypoints_blazepose.refine_by_heatmap(points, heatmap), points)


def test_mirrored_order_is_an_involution_that_keeps_the_nose():
    order = np.array(keypoints_blazepose._mirrored_order())
    np.testing.assert_array_equal(order[order], np.arange(len(order)))
    layout = keypoints_blazepose.LAYOUT
    assert order[layout.index("nose")] == layout.index("nose")
    assert order[layout.index("left_heel")] == layout.index("right_heel")
