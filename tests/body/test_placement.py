"""Moving posed bodies: what the parameters say equals moving every point."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.body import placement

moved = jax.jit(placement.moved)

#: Float32 of points some metres from the origin.
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=["smpl", "smplh"])
def body(request):
    whole = hm.open_body(view=request.param)
    return whole.subset(np.arange(0, whole.num_vertices, 40))


def random_params(body, rng, batch=()):
    rest = hm.BodyParams.rest(body, batch=batch)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.5, leaf.dtype), rest)


def random_motion(rng, batch=()):
    rotation = Rotation.random(int(np.prod(batch)), rng=rng).as_matrix().reshape(*batch, 3, 3)
    return rotation.astype(np.float32), rng.normal(size=(*batch, 3)).astype(np.float32)


def moved_points(points, rotation, translation):
    return np.einsum("...ij,...vj->...vi", rotation, points) + translation[..., None, :]


@pytest.mark.parametrize(("batch", "motions"), [((), ()), ((3,), ()), ((3,), (3,)), ((2, 3), (3,)), ((), (4,))])
def test_points_of_moved_parameters_are_moved_points(body, rng, batch, motions):
    params, (rotation, translation) = random_params(body, rng, batch), random_motion(rng, motions)
    before, after = body(params), body(moved(body, params, rotation, translation))
    for name in ("vertices", "joints"):
        expected = moved_points(np.asarray(getattr(before, name)), rotation, translation)
        np.testing.assert_allclose(getattr(after, name), expected, atol=TOLERANCE)


def test_shape_shared_by_many_poses_may_stay_shared(body, rng):
    params = random_params(body, rng, (3,))
    shared = dataclasses.replace(params, betas=params.betas[0])
    rotation, translation = random_motion(rng, (3,))
    after = body(moved(body, shared, rotation, translation)).joints
    expected = moved_points(np.asarray(body(shared).joints), rotation, translation)
    np.testing.assert_allclose(after, expected, atol=TOLERANCE)


def test_identity_moves_nothing_and_pose_and_shape_are_kept(body, rng):
    params = random_params(body, rng, (2,))
    same = placement.moved(body, params, np.eye(3), np.zeros(3))
    for ours, theirs in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    assert same.body_pose is params.body_pose
    assert same.betas is params.betas


def test_two_motions_are_one(body, rng):
    params = random_params(body, rng)
    (first, to_first), (second, to_second) = random_motion(rng), random_motion(rng)
    twice = moved(body, moved(body, params, first, to_first), second, to_second)
    once = moved(body, params, second @ first, second @ to_first + to_second)
    np.testing.assert_allclose(body(twice).vertices, body(once).vertices, atol=TOLERANCE)


def test_gradient_is_finite_at_rest_and_away_from_it(body, rng):
    params = random_params(body, rng, (2,))
    params = jax.tree.map(lambda leaf: leaf.at[0].set(0), params)

    def place(params, rotation, translation):
        after = placement.moved(body, params, rotation, translation)
        return jnp.sum(after.global_orient**2) + jnp.sum(after.transl**2)

    slopes = jax.jit(jax.grad(place, argnums=(0, 1, 2)))(params, jnp.eye(3), jnp.ones(3))
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slopes))


def test_smplx_root_moves_with_its_expression(rng, tmp_path):
    from tests.reference import smpl_files

    stored = smpl_files.make_model("smplx", num_vertices=120, num_betas=20, seed=3)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "SMPLX_NEUTRAL.npz", stored))
    params, (rotation, translation) = random_params(body, rng, (2,)), random_motion(rng)
    after = body(moved(body, params, rotation, translation)).vertices
    expected = moved_points(np.asarray(body(params).vertices), rotation, translation)
    np.testing.assert_allclose(after, expected, atol=TOLERANCE)
