"""Rotations against closed forms, SciPy and finite differences, above all at and near the identity and pi."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.geometry import rotations

#: Float64 rounding of a few products.
TOLERANCE_64 = 1e-14
BATCH_SHAPES = [(), (1,), (3, 1, 2)]


def _vectors(rng, batch, kind):
    vectors = rng.normal(size=(*batch, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    angles = {"any": 3.0, "tiny": 1e-9, "switch": 0.5, "near_pi": np.pi - 1e-6, "beyond_pi": 5.0}
    return vectors * angles[kind]


@pytest.mark.parametrize("batch", BATCH_SHAPES)
@pytest.mark.parametrize("kind", ["any", "tiny", "switch", "near_pi", "beyond_pi"])
def test_axis_angle_to_matrix_equals_scipy(rng, batch, kind):
    with jax.enable_x64(True):
        vectors = _vectors(rng, batch, kind)
        ours = rotations.axis_angle_to_matrix(jnp.asarray(vectors))
    theirs = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*batch, 3, 3)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64)


@pytest.mark.parametrize("batch", BATCH_SHAPES)
@pytest.mark.parametrize("kind", ["any", "tiny", "switch", "near_pi"])
def test_matrix_to_axis_angle_inverts_axis_angle_to_matrix(rng, batch, kind):
    with jax.enable_x64(True):
        vectors = _vectors(rng, batch, kind)
        back = rotations.matrix_to_axis_angle(rotations.axis_angle_to_matrix(jnp.asarray(vectors)))
    np.testing.assert_allclose(back, vectors, atol=1e-9)


def test_matrix_to_axis_angle_of_half_turns_gives_angle_pi():
    matrices = jnp.stack([jnp.diag(jnp.array(d)) for d in ([1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1])])
    vectors = rotations.matrix_to_axis_angle(matrices)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), np.pi, rtol=1e-6)


@pytest.mark.parametrize("kind", ["any", "tiny", "switch"])
def test_left_jacobian_predicts_the_change_of_the_matrix(rng, kind):
    step = 1e-6
    with jax.enable_x64(True):
        vector = jnp.asarray(_vectors(rng, (), kind))
        change = jnp.asarray(rng.normal(size=3), jnp.float64)
        to_matrix = jax.jit(rotations.axis_angle_to_matrix)
        ahead, behind = to_matrix(vector + step * change), to_matrix(vector - step * change)
        tangent = rotations.skew(rotations.left_jacobian(vector) @ change)
        turn = tangent @ rotations.axis_angle_to_matrix(vector)
    np.testing.assert_allclose(turn, (ahead - behind) / (2 * step), atol=1e-9)


def test_derivatives_are_finite_and_right_at_exactly_zero_inside_a_batch():
    batch = jnp.array([[0.0, 0, 0], [0.3, -0.2, 0.1], [0.0, 0, 0]])

    def total(vectors):
        weights = jnp.arange(9.0).reshape(3, 3)
        return jnp.sum(rotations.axis_angle_to_matrix(vectors) * weights)

    gradient = jax.jit(jax.grad(total))(batch)
    forward = jax.jit(jax.jacfwd(total))(batch)
    product = jax.jit(lambda v: jax.jvp(jax.grad(total), (v,), (jnp.ones_like(v),))[1])(batch)
    # At zero dR = skew(d): the gradient is the antisymmetric part of the weights.
    np.testing.assert_allclose(gradient[0], [7 - 5, 2 - 6, 3 - 1], atol=1e-6)
    np.testing.assert_allclose(gradient, forward, atol=1e-5)
    assert np.isfinite(product).all()
