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


def test_points_nearer_than_five_centimetres_are_projected_as_if_they_were_there():
    camera = cameras.Camera(focal_length=jnp.array([100.0, 200.0]), principal_point=jnp.array([10.0, 20.0]))
    pixels = cameras.project_points(camera, jnp.array([[0.1, 0.1, depth] for depth in (0.05, 0.049, 0.0, -3.0, 0.1)]))
    np.testing.assert_allclose(pixels[:4], [[210, 420]] * 4, rtol=1e-6)
    np.testing.assert_allclose(pixels[4], [110, 220], rtol=1e-6)


def test_each_camera_of_a_batch_sees_its_own_points():
    camera = cameras.Camera(
        focal_length=jnp.array([[100.0, 200], [300, 400]]), principal_point=jnp.array([[1.0, 2], [3, 4]])
    )
    pixels = cameras.project_points(camera, jnp.array([[[1.0, 2, 2]], [[1, 2, 2]]]))
    np.testing.assert_allclose(pixels, [[[51, 202]], [[153, 404]]])


def test_pictures_of_one_pixel_and_all_angles_have_cameras():
    camera = cameras.camera_from_image_size(1, 1)
    np.testing.assert_allclose(camera.principal_point, [0, 0])
    np.testing.assert_allclose(camera.focal_length, 2**0.5, rtol=1e-6)
    assert camera.focal_length.dtype == camera.principal_point.dtype == np.float32
    for angle in (0.5, 1, 179, 179.5):
        seen = 2 * np.arctan(250 / cameras.camera_from_image_size(300, 400, field_of_view_degrees=angle).focal_length)
        np.testing.assert_allclose(np.degrees(seen), angle, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "angle"),
    [((0, 10), None), ((10, 0), None), ((-1, 10), None), ((10, -1), 60.0), ((10, 10), 0.0), ((10, 10), 180.0)],
)
def test_impossible_cameras_are_refused(size, angle):
    with pytest.raises(ValueError, match=r"must be"):
        cameras.camera_from_image_size(*size, field_of_view_degrees=angle)
