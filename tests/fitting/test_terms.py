"""Each residual term alone against its formula in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.fitting import terms
from hardmo_jax.geometry import cameras


@pytest.fixture
def camera():
    """Focal length and principal point."""
    return jnp.array([1500.0, 1400.0]), jnp.array([640.0, 350.0])


def scalar(value) -> jax.Array:
    return jnp.asarray(value, jnp.float32)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("scale", [0.08, 0.5])
def test_geman_mcclure_squared_length_is_the_formula(rng, size, scale):
    for length in (1e-3, 0.05, 1.0, 100.0):
        error = rng.normal(size=size)
        error *= length / np.linalg.norm(error)
        residual = np.asarray(terms.geman_mcclure(jnp.asarray(error, jnp.float32), scalar(scale)))
        expected = scale**2 * length**2 / (scale**2 + length**2)
        np.testing.assert_allclose(residual @ residual, expected, rtol=1e-5)
        # It points where the error points.
        np.testing.assert_allclose(residual * length, error * np.linalg.norm(residual), rtol=1e-5, atol=1e-9)


def test_geman_mcclure_is_the_error_near_zero_and_flat_far_away():
    tiny, far = jnp.array([1e-5, -2e-5]), jnp.array([3e4, 4e4])
    np.testing.assert_allclose(terms.geman_mcclure(tiny, scalar(0.1)), tiny, rtol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(terms.geman_mcclure(far, scalar(0.1))), 0.1, rtol=1e-6)


def test_geman_mcclure_derivative_at_zero_error_is_the_identity():
    jacobian = jax.jacfwd(terms.geman_mcclure)(jnp.zeros(3), scalar(0.1))
    np.testing.assert_allclose(jacobian, np.eye(3), atol=1e-6)
    gradient = jax.grad(lambda e: jnp.sum(terms.geman_mcclure(e, scalar(0.1)) ** 2))(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, 0)


def test_reweighted_error_has_the_gradient_of_the_robust_cost(rng):
    for length in (0.0, 1e-3, 0.1, 5.0):
        error = rng.normal(size=3)
        error = jnp.asarray(error * length / np.linalg.norm(error), jnp.float32)
        gradient = jax.grad(lambda e: 0.5 * jnp.sum(terms.geman_mcclure(e, scalar(0.1)) ** 2))(error)
        weight = terms.geman_mcclure_weight(error, scalar(0.1))
        np.testing.assert_allclose(weight**2 * error, gradient, rtol=1e-5, atol=1e-9)


def test_reweighted_matrix_is_never_below_the_curvature_of_the_robust_cost(rng):
    for length in (0.0, 0.03, 0.1, 0.5):
        error = rng.normal(size=2)
        error = jnp.asarray(error * length / np.linalg.norm(error), jnp.float32)
        curvature = jax.hessian(lambda e: 0.5 * jnp.sum(terms.geman_mcclure(e, scalar(0.1)) ** 2))(error)
        bound = terms.geman_mcclure_weight(error, scalar(0.1)) ** 2 * np.eye(2)
        assert np.linalg.eigvalsh(bound - np.asarray(curvature)).min() > -1e-5


def test_reprojection_is_the_pixel_error_in_box_sides(camera):
    point, keypoint, side = np.array([0.4, -0.3, 3.2]), np.array([800.0, 250.0]), 450.0
    pixels = np.array([1500 * 0.4 / 3.2 + 640, 1400 * -0.3 / 3.2 + 350])
    error = terms.reprojection(
        jnp.asarray(point, jnp.float32), jnp.asarray(keypoint, jnp.float32), *camera, scalar(side)
    )
    np.testing.assert_allclose(error, (pixels - keypoint) / side, rtol=1e-5)


def test_reprojection_stays_finite_at_and_behind_the_camera(camera):
    keypoint, side = jnp.array([640.0, 350.0]), scalar(300)
    for depth in (0.0, -2.0, cameras.MIN_DEPTH / 2):
        point = jnp.array([0.1, 0.1, depth])
        value = terms.reprojection(point, keypoint, *camera, side)
        jacobian = jax.jacfwd(terms.reprojection)(point, keypoint, *camera, side)
        assert np.isfinite(value).all()
        assert np.isfinite(jacobian).all()
        np.testing.assert_array_equal(jacobian[:, 2], 0)


def test_gaussian_is_the_deviation_in_spreads():
    values = (jnp.array([1.0, -2.0]), jnp.array([0.5, 1.0]), jnp.array([0.25, 3.0]))
    np.testing.assert_allclose(terms.gaussian(*values), [2.0, -1.0])


def test_limits_are_zero_inside_and_linear_outside():
    angle = jnp.array([-0.7, -0.5, 0.0, 1.0, 1.2])
    residual = terms.outside_limits(angle, jnp.full(5, -0.5), jnp.full(5, 1.0), 0.05)
    np.testing.assert_allclose(residual, [-4.0, 0.0, 0.0, 0.0, 4.0], atol=1e-5)


def test_limits_pull_inwards_from_both_ends_and_not_at_all_inside():
    def cost(angle):
        return jnp.sum(terms.outside_limits(angle, jnp.full(3, -0.5), jnp.full(3, 1.0), 0.05) ** 2)

    gradient = jax.grad(cost)(jnp.array([-0.7, 0.3, 1.2]))
    assert gradient[0] < 0 < gradient[2]
    assert gradient[1] == 0


def test_infinite_limits_never_pull():
    far = jnp.full(2, jnp.inf)
    value, slope = jax.jvp(
        lambda a: terms.outside_limits(a, -far, far, 0.05), (jnp.array([3.0, -9.0]),), (jnp.ones(2),)
    )
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(slope, 0)
