"""Finger rotations and principal components: inverses of each other, and what rest poses hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import hands
from tests.reference import smpl_files

#: Float32 rounding of products over 45 components.
TOLERANCE_32 = 2e-6


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    model = smpl_files.make_model("smplx", num_vertices=120, num_betas=20)
    return hm.load_body(smpl_files.write_npz(tmp_path_factory.mktemp("models") / "SMPLX_FEMALE.npz", model))


@pytest.mark.parametrize("flat_hand_mean", [False, True])
@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_all_components_invert_each_other(body, rng, batch, flat_hand_mean):
    space = body.hand_space("left")
    pose = jnp.asarray(rng.normal(size=(*batch, 15, 3)), jnp.float32)
    coefficients = hands.pca_from_pose(space, pose, num_components=45, flat_hand_mean=flat_hand_mean)
    assert coefficients.shape == (*batch, 45)
    back = hands.pose_from_pca(space, coefficients, flat_hand_mean=flat_hand_mean)
    np.testing.assert_allclose(back, pose, atol=2e-5)


def test_few_components_are_the_nearest_of_their_span(body, rng):
    space = body.hand_space("right")
    pose = jnp.asarray(rng.normal(size=(15, 3)), jnp.float32)
    coefficients = hands.pca_from_pose(space, pose, num_components=6)
    nearest = hands.pose_from_pca(space, coefficients)
    left_over = (pose - nearest).reshape(-1)
    basis = space.components[:6].reshape(6, -1)
    np.testing.assert_allclose(basis @ left_over, np.zeros(6), atol=1e-5)


def test_mean_hand_is_zero_coefficients_and_what_rest_gives(body):
    rest = hm.BodyParams.rest(body, batch=(2,), hands="mean")
    for side, pose in (("left", rest.left_hand_pose), ("right", rest.right_hand_pose)):
        space = body.hand_space(side)
        np.testing.assert_array_equal(pose[1], space.mean)
        np.testing.assert_allclose(hands.pose_from_pca(space, jnp.zeros(6)), space.mean)
    flat = hm.BodyParams.rest(body)
    assert not np.any(flat.left_hand_pose)


def test_functions_work_inside_jit_and_grad(body):
    space = body.hand_space("left")
    gradient = jax.jit(jax.grad(lambda c: jnp.sum(hands.pose_from_pca(space, c) ** 2)))(jnp.zeros(6))
    expected = 2 * space.components[:6].reshape(6, -1) @ space.mean.reshape(-1)
    np.testing.assert_allclose(gradient, expected, atol=TOLERANCE_32)


def test_too_many_coefficients_and_bodies_without_hands_are_refused(body):
    with pytest.raises(ValueError, match="46 hand coefficients, but the file has 45"):
        hands.pose_from_pca(body.hand_space("left"), jnp.zeros(46))
    with pytest.raises(ValueError, match="1 to 45, got 0"):
        hands.pca_from_pose(body.hand_space("left"), jnp.zeros((15, 3)), num_components=0)
    with pytest.raises(ValueError, match="no principal components of a left hand"):
        hm.open_body().hand_space("left")
    with pytest.raises(ValueError, match="no articulated hands"):
        hm.BodyParams.rest(hm.open_body(view="smpl"), hands="mean")


@pytest.mark.parametrize("word", ["Flat", "relaxed", None])
def test_unknown_kind_of_rest_hand_is_refused(body, word):
    with pytest.raises((ValueError, TypeError), match="hands"):
        hm.BodyParams.rest(body, hands=word)


def test_side_that_is_no_side_is_named(body):
    with pytest.raises(ValueError, match="'left' or 'right', got 'Left'"):
        body.hand_space("Left")
