"""Derivatives of every family with respect to every parameter: reverse = forward = central differences, and finite."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import hardmo_jax as hm
from tests.reference import smpl_files

#: Central differences of step 1e-6 keep about nine digits of a float64; reverse and forward mode differ by rounding.
STEP, TOLERANCE_DIFFERENCES, TOLERANCE_MODES = 1e-6, 1e-7, 1e-12


#: The left hand is the right one with other names.
FAMILIES = [pytest.param(name, marks=pytest.mark.slow) if name == "mano_left" else name for name in smpl_files.FAMILIES]


@pytest.fixture(scope="module", params=FAMILIES)
def model_file(request, tmp_path_factory):
    columns = 20 if request.param == "smplx" else 10  # SMPL-X: ten of expression
    model = smpl_files.make_model(request.param, num_vertices=120, num_betas=columns, seed=3)
    return smpl_files.write_npz(tmp_path_factory.mktemp("models") / f"{request.param}.npz", model)


def in_short(*families):
    """Of these families in every run, of the others, whose programs are made of the same lines, in whole ones."""
    each = [name if name in families else pytest.param(name, marks=pytest.mark.slow) for name in smpl_files.FAMILIES]
    return pytest.mark.parametrize("model_file", each, indirect=True)


def random_params(body, rng, batch=(), scale=0.4):
    rest = hm.BodyParams.rest(body, batch=batch)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * scale, leaf.dtype), rest)


def names_of(params):
    """Parameters that the family has."""
    fields = [field.name for field in dataclasses.fields(params)]
    return [name for name in fields if getattr(params, name) is not None and getattr(params, name).size]


def test_reverse_mode_equals_forward_mode_equals_central_differences(model_file, rng, stage_error):
    with jax.enable_x64(True):
        body = hm.load_body(model_file, dtype=np.float64)
        params = random_params(body, rng)
        vector, unravel = ravel_pytree(params)
        output = body(params)
        vertices, joints = (jnp.asarray(rng.normal(size=part.shape)) for part in (output.vertices, output.joints))

        def loss(model, flat):
            posed = model(unravel(flat))
            return jnp.sum(posed.vertices * vertices) + jnp.sum(posed.joints * joints)

        @jax.jit
        def derivatives(model, flat):
            steps = STEP * jnp.eye(flat.size, dtype=flat.dtype)
            ahead, behind = (jax.lax.map(lambda step, s=sign: loss(model, flat + s * step), steps) for sign in (1, -1))
            return (
                jax.grad(loss, argnums=1)(model, flat),
                jax.jacfwd(loss, argnums=1)(model, flat),
                (ahead - behind) / (2 * STEP),
            )

        reverse, forward, central = (jax.device_get(unravel(flat)) for flat in derivatives(body, vector))
    for name in names_of(params):
        ours = np.asarray(getattr(reverse, name))
        scale = np.abs(ours).max()
        for stage, other, tolerance in (
            ("forward mode", getattr(forward, name), TOLERANCE_MODES),
            ("central differences", getattr(central, name), TOLERANCE_DIFFERENCES),
        ):
            kind = f"gradient, relative, float64: {stage}"
            stage_error(kind, body.family, name, ours / scale, other / scale, tolerance)


@in_short("smplh", "smplx")
@pytest.mark.parametrize("is_alone", [pytest.param(True, marks=pytest.mark.slow), False], ids=["alone", "batch"])
def test_value_gradient_and_hessian_product_are_finite_at_rest(model_file, rng, is_alone):
    body = hm.load_body(model_file)
    target = jnp.asarray(rng.normal(size=(body.num_joints, 3)), jnp.float32)

    def loss(params):
        posed = body(params)
        return jnp.sum((posed.joints - target) ** 2) + jnp.sum(posed.vertices**2)

    alone = hm.BodyParams.rest(body)
    row = jax.tree.map(lambda zero, other: jnp.stack([zero, other, zero]), alone, random_params(body, rng))
    params = alone if is_alone else row
    tangent = jax.tree.map(jnp.ones_like, params)
    # The gradient comes with its derivative: one program.
    value, (gradient, product) = jax.jit(lambda p, t: (loss(p), jax.jvp(jax.grad(loss), (p,), (t,))))(params, tangent)
    for leaf in jax.tree.leaves((value, gradient, product)):
        assert np.isfinite(leaf).all()
    for name in names_of(params):
        assert np.abs(getattr(gradient, name)).max() > 0, name


@pytest.mark.slow
def test_gradient_of_a_large_batch_of_a_large_mesh_is_that_of_its_people(rng, tmp_path):
    # 600 vertices and 70 people: two products in groups of 64, with a remainder.
    path = smpl_files.write_npz(tmp_path / "m.npz", smpl_files.make_model("smplh", num_vertices=600, seed=3))
    body = hm.load_body(path)
    params = random_params(body, rng, (70,))

    def loss(p):
        return jnp.sum(body(p).vertices[..., 0] ** 2)

    together = jax.jit(jax.grad(loss))(params)
    alone = jax.jit(lambda q: jax.lax.map(jax.grad(loss), q))(params)
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * float(jnp.abs(theirs).max()))


def test_rows_beside_a_row_that_is_not_finite_keep_their_values_and_gradients(model_file, rng):
    body = hm.load_body(model_file)
    good = random_params(body, rng, (3,))

    @jax.jit
    def each(params):
        # One loss a row: the sum over rows would be NaN whatever the rows are.
        def loss(p):
            return jnp.sum(body(p).vertices ** 2, (-1, -2))

        value, pull = jax.vjp(loss, params)
        return value, pull(jnp.ones_like(value))[0]

    expected = each(good)
    for name, bad in itertools.product(names_of(good), (np.nan, np.inf)):
        spoilt = dataclasses.replace(good, **{name: getattr(good, name).at[1].set(bad)})
        ours = each(spoilt)
        for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
            rows = np.array([0, 2])
            np.testing.assert_array_equal(left[rows], right[rows], err_msg=f"{name}, {bad}")
        assert not np.isfinite(ours[0][1])


@in_short("smplh", "smplx")
def test_half_turns_have_finite_derivatives(model_file):
    body = hm.load_body(model_file)
    rest = hm.BodyParams.rest(body, batch=(3,))
    params = dataclasses.replace(rest, global_orient=jnp.eye(3) * jnp.float32(np.pi))
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(body(p).vertices[..., 0])))(params)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
