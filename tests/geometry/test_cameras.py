"""The camera's conventions."""

import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.geometry import cameras


def test_point_on_the_axis_lands_on_the_principal_point():
    camera = cameras.camera_from_image_size(640, 480)
    pixel = cameras.project_points(camera, jnp.array([[0.0, 0.0, 3.0]]))
    np.testing.assert_allclose(pixel[0], [319.5, 239.5])


def test_x_is_right_and_y_is_down():
    camera = cameras.Camera(focal_length=jnp.array([100.0, 200.0]), principal_point=jnp.array([10.0, 20.0]))
    pixel = cameras.project_points(camera, jnp.array([[1.0, 1.0, 2.0]]))
    np.testing.assert_allclose(pixel[0], [60.0, 120.0])


def test_default_focal_length_is_the_diagonal():
    np.testing.assert_allclose(cameras.camera_from_image_size(300, 400).focal_length, 500)


def test_field_of_view_is_seen_across_the_diagonal():
    camera = cameras.camera_from_image_size(300, 400, field_of_view_degrees=90)
    np.testing.assert_allclose(camera.focal_length, 250, rtol=1e-6)


def test_points_behind_the_camera_stay_finite():
    camera = cameras.camera_from_image_size(640, 480)
    assert np.isfinite(cameras.project_points(camera, jnp.array([[0.1, 0.1, -1.0], [0.0, 0.0, 0.0]]))).all()


@pytest.mark.parametrize(("size", "angle"), [((0, 10), None), ((10, 10), 0.0), ((10, 10), 180.0)])
def test_impossible_cameras_are_refused(size, angle):
    with pytest.raises(ValueError, match=r"must be"):
        cameras.camera_from_image_size(*size, field_of_view_degrees=angle)
