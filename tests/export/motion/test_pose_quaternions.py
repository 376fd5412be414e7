"""Rotations of poses against SciPy's."""

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.export.motion import pose_quaternions as quaternions

CLOSE = 1e-13


def vectors(rng):
    """Small ones, whole turns and more, and zero, with two batch axes."""
    some = rng.normal(size=(6, 5, 3)) * np.array([1e-12, 1e-4, 0.3, 2.0, 5.0])[:, None]
    some[0] = 0
    some[1, 0] = [0, 2 * np.pi, 0]
    return some


def of_scipy(some):
    return Rotation.from_rotvec(some.reshape(-1, 3))


def test_vectors_become_the_matrices_and_quaternions_that_they_mean(rng):
    some = vectors(rng)
    expected = of_scipy(some).as_matrix().reshape(6, 5, 3, 3)
    np.testing.assert_allclose(quaternions.pose_matrices(some), expected, atol=CLOSE)
    wxyz = quaternions.pose_quaternions(some)
    np.testing.assert_allclose(np.linalg.norm(wxyz, axis=-1), 1, atol=CLOSE)
    np.testing.assert_allclose(quaternions.matrices_of_quaternions(wxyz), expected, atol=CLOSE)


def test_a_product_turns_by_the_second_first(rng):
    first, second = vectors(rng), vectors(rng)
    found = quaternions.product_of_quaternions(
        quaternions.pose_quaternions(first), quaternions.pose_quaternions(second)
    )
    expected = (of_scipy(first) * of_scipy(second)).as_matrix().reshape(6, 5, 3, 3)
    np.testing.assert_allclose(quaternions.matrices_of_quaternions(found), expected, atol=CLOSE)
    one = quaternions.product_of_quaternions(quaternions.pose_quaternions(first[2, 0]), found)
    assert one.shape == found.shape


def test_signs_follow_the_frame_before(rng):
    turns = np.linspace(0, 9, 40)[:, None, None] * np.array([[0.0, 0, 1], [1, 0, 0]])
    steady = quaternions.pose_quaternions(turns)
    signs = rng.choice([-1.0, 1.0], (40, 2, 1))
    found = quaternions.continuous_quaternions(3 * signs * steady)
    np.testing.assert_allclose(found, signs[:1] * steady, atol=CLOSE)
