"""What ties frames together: derivatives, the products of the matrix, and cuts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import motion, paths, trajectory, variables
from hardmo_jax.fitting.paths import PathTerms
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks

FRAMES = 7

#: One program instead of one for each of its operations.
path_equations = jax.jit(paths.path_equations, static_argnames="contacts")


@pytest.fixture(scope="module", params=["smplh", "smpl"])
def track(request):
    with jax.enable_x64(True):
        body = hm.open_body(view=request.param)
        body = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64) if leaf.dtype == jnp.float32 else leaf, body)
        yield tracks.make_track(body, frames=FRAMES)


def random_terms(count, num_contacts, rng):
    acceleration = rng.uniform(1, 3, (FRAMES, count))
    acceleration[[0, -1]] = 0
    lock = rng.uniform(0, 2, (FRAMES, num_contacts))
    lock[-1] = 0
    return PathTerms(acceleration=acceleration, lock=lock, lock_scale=0.1)


def test_the_followed_points_show_every_end_of_the_body(track):
    contacts = paths.contact_rows(track.body)
    assert len(contacts) == len(layouts.CONTACT_POINTS)
    assert len(set(contacts)) == len(contacts)
    assert motion.is_rigid(paths.path_model(track.body)).all()


def test_the_derivative_is_that_of_finite_differences(track):
    with jax.enable_x64(True):
        model = paths.path_model(track.body)
        layout = variables.Layout.of(track.body)
        entries = trajectory._entries(layout)

        @jax.jit
        def derivative(model, orient, vector):
            return paths.path_jacobian(model, motion.motion(model, orient, vector), entries.of_twists)

        jacobian = np.asarray(derivative(model, track.orient, jnp.asarray(track.vector)))
        step = 1e-6
        shifts = step * jnp.eye(layout.size)[np.asarray(entries.body)]

        @jax.jit
        def keypoints(model, orient, vectors):
            return jax.lax.map(lambda vector: motion.keypoints(model, orient, vector), vectors)

        ahead, behind = (
            np.asarray(keypoints(model, track.orient, jnp.asarray(track.vector) + sign * shifts[:, None]))
            for sign in (1, -1)
        )
        numeric = ((ahead - behind) / (2 * step)).reshape(len(shifts), FRAMES, -1)
    assert np.abs(np.moveaxis(numeric, 0, -1) - jacobian).max() < 1e-7


def test_fingers_and_shape_are_not_among_the_tied_entries(track):
    layout = variables.Layout.of(track.body)
    entries = trajectory._entries(layout)
    assert len(entries.body) == 6 + 3 * 21
    assert not set(entries.body) & set(entries.local)
    assert not set(entries.body) & set(range(6, layout.pose_start))
    assert len(entries.body) + len(entries.local) + layout.num_betas == layout.size


def test_gradient_is_that_of_the_cost_and_the_matrix_is_gauss_newtons(rng):
    with jax.enable_x64(True):
        count, contacts = 9, (1, 4, 5, 8)
        points = jnp.asarray(rng.normal(size=(FRAMES, count, 3)) * 0.02)
        terms = random_terms(count, len(contacts), rng)
        found = path_equations(points, terms, contacts)
        slope = jax.jit(jax.grad(lambda p: paths.path_equations(p, terms, contacts).cost))(points)
        np.testing.assert_allclose(found.gradient, slope, atol=1e-12)
        # Column by column; the diagonal is what the preconditioner takes of it.
        eye = jnp.eye(points.size).reshape(-1, *points.shape)

        @jax.jit
        def columns(found):
            return jax.vmap(lambda row: found.product(row, contacts).ravel())(eye)

        matrix = np.asarray(columns(found))
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        assert np.linalg.eigvalsh(matrix).min() > -1e-9
        np.testing.assert_allclose(np.diag(matrix), np.repeat(np.asarray(found.diagonal).ravel(), 3), atol=1e-12)
        free = dataclasses.replace(terms, lock=np.zeros_like(terms.lock))
        quadratic = jax.jit(jax.hessian(lambda p: paths.path_equations(p, free, contacts).cost))(points)
        found = path_equations(points, free, contacts)
        matrix = np.asarray(columns(found))
        np.testing.assert_allclose(matrix, np.asarray(quadratic).reshape(matrix.shape), atol=1e-10)


def test_uniform_motion_and_standing_feet_cost_nothing(rng):
    points = np.tile(rng.normal(size=(1, 6, 3)), (FRAMES, 1, 1)).astype(np.float32)
    moving = points + 0.01 * np.arange(FRAMES, dtype=np.float32)[:, None, None]
    terms = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), random_terms(6, 2, rng))
    free = dataclasses.replace(terms, lock=np.zeros_like(terms.lock))
    assert float(path_equations(jnp.asarray(moving), free, (0, 1)).cost) < 1e-9
    assert float(path_equations(jnp.asarray(points), terms, (0, 1)).cost) < 1e-9
    assert float(path_equations(jnp.asarray(moving), terms, (0, 1)).cost) > 1e-6


def test_a_foot_that_runs_away_is_let_go(rng):
    """The pull of a lock has a maximum, and falls beyond it."""
    terms = PathTerms(
        acceleration=np.zeros((2, 1), np.float32), lock=np.array([[1.0], [0.0]], np.float32),
        lock_scale=0.02,
    )  # fmt: skip

    def pull(step):
        points = jnp.zeros((2, 1, 3)).at[1, 0, 0].set(step)
        return float(path_equations(points, terms, (0,)).gradient[1, 0, 0])

    assert pull(0.01) > pull(0.001)
    assert pull(0.1) < pull(0.01)
    assert pull(1.0) < 1e-3 * pull(0.01)
