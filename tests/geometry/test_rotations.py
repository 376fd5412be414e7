"""Rotations against closed forms, SciPy and finite differences, above all at and near the identity and pi."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.geometry import rotation_formats, rotations

#: Float64 rounding of a few products.
TOLERANCE_64 = 1e-14
#: Entries, components and angles up to pi after a few dozen roundings: 16 times the rounding of one.
TOLERANCE = {jnp.float32: 2e-6, jnp.float64: 4e-15}
#: Closer to pi than this, rounding of the vector, its matrix or its quaternion may give the opposite axis.
SIGN_IS_OPEN_ABOVE = {jnp.float32: np.pi - 4e-6, jnp.float64: np.pi - 8e-15}
#: Best step of a central difference in float64: the cube root of the rounding. Its square, times third derivatives.
STEP, TOLERANCE_OF_DIFFERENCES = 6e-6, 2e-8
#: Derivatives are sums of a dozen products of numbers up to ten.
TOLERANCE_OF_DERIVATIVES = {jnp.float32: 1e-4, jnp.float64: 1e-12}
#: Second derivatives of about one; what float32 leaves of the closed form at the end of the series is 20 roundings.
TOLERANCE_OF_SECOND_DERIVATIVES_32 = 5e-6

DTYPES = [jnp.float32, jnp.float64]
BATCH_SHAPES = [(), (1,), (3, 1, 2)]
#: Both types, and every rank in one of them.
BATCHES = [((), jnp.float64), ((1,), jnp.float64), ((3, 1, 2), jnp.float64), ((3, 1, 2), jnp.float32)]
KINDS = ["random", "near_identity", "near_pi", "identity", "pi"]
#: Axes at exactly pi: each coordinate axis both ways, and some between.
HALF_TURN_AXES = np.array(
    [
        [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1],
        [0.6, -0.8, 0], [0, 0.8, 0.6], [-0.48, 0.6, 0.64],
    ]
)  # fmt: skip
HALF_TURNS = 2 * HALF_TURN_AXES[:, :, None] * HALF_TURN_AXES[:, None, :] - np.eye(3)

#: Every function of one rotation, and the shape that it reads: first those with special cases at zero or pi, last
#: those that are linear.
CONVERSIONS = {
    rotations.axis_angle_to_matrix: (3,),
    rotations.matrix_to_axis_angle: (3, 3),
    rotations.axis_angle_to_quaternion: (3,),
    rotations.quaternion_to_axis_angle: (4,),
    rotations.quaternion_to_matrix: (4,),
    rotations.matrix_to_quaternion: (3, 3),
    rotations.left_jacobian: (3,),
    rotation_formats.rot6d_spin_to_matrix: (6,),
    rotation_formats.rot6d_hmr2_to_matrix: (6,),
    rotation_formats.matrix_to_rot6d_spin: (3, 3),
    rotation_formats.matrix_to_rot6d_hmr2: (3, 3),
    rotations.quaternion_conjugate: (4,),
}
SPECIAL, NONLINEAR = list(CONVERSIONS)[:7], list(CONVERSIONS)[:9]


@pytest.fixture(autouse=True)
def _both_types():
    """Float64 is available in every test here; float32 is asked for by name."""
    with jax.enable_x64(True):
        yield


def _directions(rng, batch):
    vectors = rng.normal(size=(*batch, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _vectors(rng, batch, kind):
    """Axis-angle vectors in float64."""
    if kind == "pi":
        return np.pi * HALF_TURN_AXES[rng.integers(len(HALF_TURN_AXES), size=batch)]
    angles = {
        "random": rng.uniform(0, np.pi, batch),
        "near_identity": 10.0 ** rng.integers(-12, 0, batch),
        "near_pi": np.pi - 10.0 ** rng.integers(-12, -1, batch),
        "identity": np.zeros(batch),
        "tiny": np.full(batch, 1e-9),
        "switch": np.full(batch, 0.5),
        "beyond_pi": np.full(batch, 5.0),
    }
    return _directions(rng, batch) * np.asarray(angles[kind])[..., None]


def _equal_up_to_sign(ours, theirs, sign_is_open, atol):
    """Whether vectors agree, where `sign_is_open` up to their sign."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    error = np.abs(ours - theirs).max(-1)
    either = np.minimum(error, np.abs(ours + theirs).max(-1))
    np.testing.assert_array_less(np.where(sign_is_open, either, error), atol)


def _is_rotation(matrices, atol):
    matrices = np.asarray(matrices, np.float64)
    np.testing.assert_allclose(
        np.swapaxes(matrices, -1, -2) @ matrices, np.broadcast_to(np.eye(3), matrices.shape), atol=atol
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=atol)


def _as_scipy(vectors):
    return Rotation.from_rotvec(np.array(vectors, np.float64).reshape(-1, 3))


_to_matrix = jax.jit(rotations.axis_angle_to_matrix)


@pytest.mark.parametrize("batch", BATCH_SHAPES)
@pytest.mark.parametrize("kind", [*KINDS, "tiny", "switch", "beyond_pi"])
def test_axis_angle_to_matrix_equals_scipy(rng, batch, kind):
    vectors = _vectors(rng, batch, kind)
    ours = _to_matrix(jnp.asarray(vectors))
    theirs = _as_scipy(vectors).as_matrix().reshape(*batch, 3, 3)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64)


@jax.jit
def _conversions(vectors):
    matrices = rotations.axis_angle_to_matrix(vectors)
    quaternions = rotations.axis_angle_to_quaternion(vectors)
    return {
        "matrix": matrices,
        "quaternion": quaternions,
        "matrix of quaternion": rotations.quaternion_to_matrix(quaternions),
        "quaternion of matrix": rotations.matrix_to_quaternion(matrices),
        "vector of quaternion": rotations.quaternion_to_axis_angle(quaternions),
        "vector of matrix": rotations.matrix_to_axis_angle(matrices),
        "quaternion of matrix of quaternion": rotations.matrix_to_quaternion(
            rotations.quaternion_to_matrix(quaternions)
        ),
        "quaternion of vector of quaternion": rotations.axis_angle_to_quaternion(
            rotations.quaternion_to_axis_angle(quaternions)
        ),
        "matrix of quaternion of matrix": rotations.quaternion_to_matrix(rotations.matrix_to_quaternion(matrices)),
        "matrix of vector of matrix": rotations.axis_angle_to_matrix(rotations.matrix_to_axis_angle(matrices)),
    }


@pytest.mark.parametrize(("batch", "dtype"), BATCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_conversions_equal_scipy_and_invert_each_other(rng, kind, batch, dtype):
    vectors = jnp.asarray(_vectors(rng, batch, kind), dtype)
    found = _conversions(vectors)
    assert {array.dtype for array in found.values()} == {jnp.dtype(dtype)}
    tolerance = TOLERANCE[dtype]
    scipy = _as_scipy(vectors)
    expected = {
        "vector": np.asarray(vectors),
        "matrix": scipy.as_matrix().reshape(*batch, 3, 3),
        "quaternion": scipy.as_quat(scalar_first=True).reshape(*batch, 4),
    }
    sign_is_open = np.linalg.norm(np.asarray(vectors, np.float64), axis=-1) > SIGN_IS_OPEN_ABOVE[dtype]
    for name, array in found.items():
        sort = name.split()[0]
        if sort == "matrix":
            np.testing.assert_allclose(array, expected[sort], atol=tolerance, err_msg=name)
            _is_rotation(array, tolerance)
        else:
            _equal_up_to_sign(array, expected[sort], sign_is_open, tolerance)


def test_round_trip_is_as_exact_as_float64_at_every_distance_from_zero_and_from_pi(rng, figure):
    # The first are the last angles for which the series stand, of whole and half angles.
    distances = np.array(
        [0.9999, 0.4999, 0.2506, 0.1, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-14, 1e-16, 1e-100, 1e-200, 1e-300]
    )
    axes = np.concatenate([_directions(rng, (200,)), HALF_TURN_AXES])[:, None]
    near_zero, near_pi = axes * distances[:, None], axes * (np.pi - distances)[:, None]
    found_zero, found_pi = (_conversions(jnp.asarray(v)) for v in (near_zero, near_pi))
    sign_is_open = np.broadcast_to(np.pi - distances > SIGN_IS_OPEN_ABOVE[jnp.float64], near_pi.shape[:-1])
    for name in ("vector of matrix", "vector of quaternion"):
        relative = np.abs(found_zero[name] - near_zero).max(-1) / distances
        absolute = np.abs(found_pi[name] - near_pi).max(-1)
        either = np.minimum(absolute, np.abs(found_pi[name] + near_pi).max(-1))
        absolute = np.where(sign_is_open, either, absolute)
        figure(f"round trip, {name}: {relative.max():.1e} of small angles, {absolute.max():.1e} rad near pi")
        assert relative.max() < TOLERANCE[jnp.float64]
        assert absolute.max() < TOLERANCE[jnp.float64]


@jax.jit
def _read_matrix(matrices):
    return rotations.matrix_to_axis_angle(matrices), rotations.matrix_to_quaternion(matrices)


@jax.jit
def _read_quaternion(quaternions):
    return rotations.quaternion_to_axis_angle(quaternions), rotations.quaternion_to_matrix(quaternions)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reading_a_matrix_a_little_off_a_rotation_is_off_by_as_little(rng, dtype):
    noise = 100 * float(jnp.finfo(dtype).eps)
    vectors = np.concatenate([_vectors(rng, (100,), kind) for kind in KINDS])
    exact = _as_scipy(vectors).as_matrix()
    noisy = jnp.asarray(exact + noise * rng.uniform(-1, 1, exact.shape), dtype)
    found, quaternions = (np.asarray(x) for x in _read_matrix(noisy))
    sign_is_open = np.linalg.norm(vectors, axis=-1) > np.pi - 10 * noise
    # Each number read is a sum of up to three noisy entries, halved; the longest vector is pi times an axis.
    _equal_up_to_sign(found, vectors, sign_is_open, 10 * noise)
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=-1), 1, atol=TOLERANCE[dtype])
    assert np.min(quaternions[..., 0]) >= 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_turns_given_exactly_have_angle_pi_and_one_of_the_two_axes_always(dtype):
    quaternions = np.pad(HALF_TURN_AXES, ((0, 0), (1, 0)))
    vectors, opposite = (_read_quaternion(jnp.asarray(sign * quaternions, dtype))[0] for sign in (1, -1))
    of_matrices, canonical = (np.asarray(x) for x in _read_matrix(jnp.asarray(HALF_TURNS, dtype)))
    signs = np.array([next(np.sign(x) for x in axis if x != 0) for axis in HALF_TURN_AXES])[:, None]
    np.testing.assert_array_equal(vectors, opposite)
    np.testing.assert_allclose(vectors, np.pi * signs * HALF_TURN_AXES, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(of_matrices, np.pi * signs * HALF_TURN_AXES, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(canonical[:, 1:], signs * HALF_TURN_AXES, atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(canonical[:, 0], 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 1e-10, 1e18])
def test_neither_sign_nor_length_of_a_quaternion_matters(rng, dtype, length):
    unit = _as_scipy(_vectors(rng, (50,), "random")).as_quat(scalar_first=True).astype(dtype)
    vectors, matrices = _read_quaternion(jnp.asarray(unit))
    scaled = unit * dtype(length)
    for changed in (scaled, -scaled):
        found_vectors, found_matrices = _read_quaternion(jnp.asarray(changed))
        np.testing.assert_allclose(found_vectors, vectors, atol=TOLERANCE[dtype])
        np.testing.assert_allclose(found_matrices, matrices, atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(_read_quaternion(jnp.asarray(-unit))[0], vectors)
    assert np.linalg.norm(vectors, axis=-1).max() <= np.pi + TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_quaternion_without_a_length_is_the_identity(dtype):
    vectors, matrices = _read_quaternion(jnp.asarray([[0, 0, 0, 0], [0, 1e-30, 0, 0]], dtype))
    if dtype == jnp.float32:
        np.testing.assert_array_equal(vectors, 0)
        np.testing.assert_array_equal(matrices, [np.eye(3), np.eye(3)])
    else:
        np.testing.assert_array_equal(vectors, [[0, 0, 0], [np.pi, 0, 0]])
        np.testing.assert_array_equal(matrices, [np.eye(3), np.diag([1, -1, -1])])


def test_quaternions_multiply_as_hamilton_wrote():
    one, i, j, k = np.eye(4)
    table = np.array(
        [(i, j, k), (j, k, i), (k, i, j), (j, i, -k), (i, i, -one), (j, j, -one), (k, k, -one), (one, i, i)]
    )
    found = jax.jit(rotations.quaternion_multiply)(jnp.asarray(table[:, 0]), jnp.asarray(table[:, 1]))
    np.testing.assert_array_equal(found, table[:, 2])


@jax.jit
def _group(first, second, third):
    """For matrices and for quaternions: what the axioms say is equal, and the results as matrices."""
    a, b, c = (rotations.axis_angle_to_matrix(v) for v in (first, second, third))
    p, q, r = (rotations.axis_angle_to_quaternion(v) for v in (first, second, third))
    product, multiply = rotations.compose, rotations.quaternion_multiply
    eye = jnp.broadcast_to(jnp.eye(3, dtype=a.dtype), a.shape)
    one = jnp.broadcast_to(jnp.array([1, 0, 0, 0], p.dtype), p.shape)
    equal = {
        "identity": [(product(a, eye), a), (product(eye, a), a), (multiply(p, one), p), (multiply(one, p), p)],
        "inverse": [
            (product(a, jnp.swapaxes(a, -1, -2)), eye),
            (multiply(p, rotations.quaternion_conjugate(p)), one),
            (multiply(rotations.quaternion_conjugate(p), p), one),
            (rotations.axis_angle_to_matrix(-first), jnp.swapaxes(a, -1, -2)),
            (rotations.axis_angle_to_quaternion(-first), rotations.quaternion_conjugate(p)),
        ],
        "associativity": [
            (product(product(a, b), c), product(a, product(b, c))),
            (multiply(multiply(p, q), r), multiply(p, multiply(q, r))),
        ],
        "length": [(jnp.sum(multiply(p, q) ** 2, -1), jnp.ones_like(p[..., 0]))],
        "homomorphism": [
            (rotations.quaternion_to_matrix(multiply(p, q)), product(a, b)),
            (
                rotations.axis_angle_to_matrix(rotations.matrix_to_axis_angle(product(a, b))),
                rotations.axis_angle_to_matrix(rotations.quaternion_to_axis_angle(multiply(p, q))),
            ),
            (rotations.rotate(product(a, b), third), rotations.rotate(a, rotations.rotate(b, third))),
        ],
    }
    return equal, product(a, b)


@pytest.mark.parametrize(("batch", "dtype"), BATCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_rotations_are_a_group_and_composition_agrees_across_representations(rng, kind, batch, dtype):
    vectors = [jnp.asarray(_vectors(rng, batch, k), dtype) for k in (kind, "random", kind)]
    equal, product = _group(*vectors)
    for law, pairs in equal.items():
        for left, right in pairs:
            np.testing.assert_allclose(left, right, atol=TOLERANCE[dtype], err_msg=law)
    _is_rotation(product, TOLERANCE[dtype])
    theirs = (_as_scipy(vectors[0]) * _as_scipy(vectors[1])).as_matrix().reshape(*batch, 3, 3)
    np.testing.assert_allclose(product, theirs, atol=TOLERANCE[dtype])


@jax.jit
def _turn(vectors, changes):
    """Change of matrices by a change of their vectors: a central difference, and what the left Jacobian says."""
    ahead, behind = (rotations.axis_angle_to_matrix(vectors + s * STEP * changes) for s in (1, -1))
    turn = rotations.skew(rotations.rotate(rotations.left_jacobian(vectors), changes))
    return (ahead - behind) / (2 * STEP), rotations.compose(turn, rotations.axis_angle_to_matrix(vectors))


@pytest.mark.parametrize("kind", [*KINDS, "tiny", "switch", "beyond_pi"])
def test_left_jacobian_predicts_the_change_of_the_matrix(rng, kind):
    difference, predicted = _turn(*(jnp.asarray(_vectors(rng, (20,), k)) for k in (kind, "random")))
    np.testing.assert_allclose(predicted, difference, atol=TOLERANCE_OF_DIFFERENCES)


@jax.jit
def _logarithm_derivatives(matrices, changes):
    """Change of the vectors read from matrices and quaternions that are turned a little more from the outside."""
    quaternions = rotations.matrix_to_quaternion(matrices)
    half = jnp.concatenate([jnp.zeros_like(changes[..., :1]), 0.5 * changes], -1)
    turned_matrix = rotations.compose(rotations.skew(changes), matrices)
    turned_quaternion = rotations.quaternion_multiply(half, quaternions)
    vectors, by_matrix = jax.jvp(rotations.matrix_to_axis_angle, (matrices,), (turned_matrix,))
    _, by_quaternion = jax.jvp(rotations.quaternion_to_axis_angle, (quaternions,), (turned_quaternion,))
    return by_matrix, by_quaternion, rotations.left_jacobian(vectors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivative_of_reading_a_rotation_inverts_the_left_jacobian_even_at_zero_and_pi(rng, dtype):
    vectors = np.concatenate([_vectors(rng, (50,), kind) for kind in KINDS] + [np.pi * HALF_TURN_AXES])
    changes = jnp.asarray(_directions(rng, vectors.shape[:1]), dtype)
    matrices = _as_scipy(vectors).as_matrix()
    # Exact half turns, without the rounding of pi.
    matrices[-len(HALF_TURNS) :] = HALF_TURNS
    by_matrix, by_quaternion, jacobian = _logarithm_derivatives(jnp.asarray(matrices, dtype), changes)
    expected = np.linalg.solve(np.asarray(jacobian, np.float64), np.asarray(changes, np.float64)[..., None])[..., 0]
    np.testing.assert_allclose(by_matrix, expected, atol=TOLERANCE_OF_DERIVATIVES[dtype])
    np.testing.assert_allclose(by_quaternion, expected, atol=TOLERANCE_OF_DERIVATIVES[dtype])


def _rows(rng, convert, count, kind):
    """Rotations of a kind as numbers that a conversion reads, float64."""
    vectors = _vectors(rng, (count,), kind)
    rotation = _as_scipy(vectors)
    if CONVERSIONS[convert] == (3,):
        return vectors
    if CONVERSIONS[convert] == (4,):
        return rotation.as_quat(scalar_first=True)
    matrices = rotation.as_matrix()
    if CONVERSIONS[convert] == (3, 3):
        return matrices
    columns = matrices[..., :2] if "spin" in convert.__name__ else np.swapaxes(matrices[..., :2], -1, -2)
    return columns.reshape(count, 6)


@pytest.mark.parametrize("convert", NONLINEAR, ids=lambda f: f.__name__)
def test_forward_and_reverse_mode_equal_central_differences(rng, convert):
    @jax.jit
    @jax.vmap
    def measure(point, change):
        forward, reverse = jax.jacfwd(convert)(point), jax.jacrev(convert)(point)
        along = jnp.sum(forward * change, tuple(range(-point.ndim, 0)))
        difference = (convert(point + STEP * change) - convert(point - STEP * change)) / (2 * STEP)
        return forward, reverse, along, difference

    rows = [_rows(rng, convert, 20, kind) for kind in ("random", "near_identity", "identity")]
    points = np.concatenate(rows)
    changes = jnp.asarray(rng.normal(size=points.shape))
    forward, reverse, along, difference = measure(jnp.asarray(points), changes)
    np.testing.assert_allclose(forward, reverse, atol=TOLERANCE_OF_DERIVATIVES[jnp.float64])
    np.testing.assert_allclose(along, difference, atol=TOLERANCE_OF_DIFFERENCES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("convert", SPECIAL, ids=lambda f: f.__name__)
def test_derivatives_are_finite_at_zero_and_pi_alone_and_beside_other_rows(rng, convert, dtype):
    numbers = CONVERSIONS[convert]
    special = {
        (3,): np.concatenate([np.zeros((1, 3)), np.pi * HALF_TURN_AXES]),
        (4,): np.concatenate([np.eye(4)[:1], np.zeros((1, 4)), np.pad(HALF_TURN_AXES, ((0, 0), (1, 0)))]),
        (3, 3): np.concatenate([np.eye(3)[None], HALF_TURNS]),
    }

    @jax.jit
    def differentiate(rows, changes, weights):
        def total(x):
            return jnp.sum(weights * convert(x))

        value, tangent = jax.jvp(convert, (rows,), (changes,))
        gradient, second = jax.jvp(jax.grad(total), (rows,), (changes,))
        return value, tangent, gradient, second

    rows = np.concatenate([_rows(rng, convert, 3, "random"), special[numbers]])
    weights = rng.normal(size=jax.eval_shape(convert, jax.ShapeDtypeStruct(numbers, dtype)).shape)
    arguments = rows, rng.normal(size=rows.shape), np.broadcast_to(weights, (len(rows), *weights.shape))
    together = [np.asarray(x) for x in differentiate(*(jnp.asarray(x, dtype) for x in arguments))]
    for result in together:
        assert np.isfinite(result).all()
    for i in range(len(rows)) if dtype == jnp.float32 else ():
        alone = differentiate(*(jnp.asarray(x[i], dtype) for x in arguments))
        for one, many in zip(alone, together, strict=True):
            assert np.isfinite(one).all()
            np.testing.assert_allclose(many[i], one, atol=TOLERANCE_OF_DERIVATIVES[dtype])


def test_derivatives_are_right_at_exactly_zero_inside_a_batch():
    def total(vectors):
        return jnp.sum(rotations.axis_angle_to_matrix(vectors) * jnp.arange(9.0).reshape(3, 3))

    gradient = jax.jit(jax.grad(total))(jnp.asarray([[0.0, 0, 0], [0.3, -0.2, 0.1], [0.0, 0, 0]]))
    # At zero dR = skew(d): the gradient is the antisymmetric part of the weights.
    np.testing.assert_array_equal(np.asarray(gradient)[[0, 2]], [[7 - 5, 2 - 6, 3 - 1]] * 2)


def test_second_derivatives_of_reading_a_matrix_keep_their_digits_at_small_angles(rng):
    """The closed form left an error of 5e-4 in float32 at angles of 3e-4."""
    angles = np.array([1e-5, 1e-4, 3e-4, 1e-3, 1e-2, 0.1, 0.25, 0.3, 1.0])

    @jax.jit
    @jax.vmap
    def second(matrix, change):
        def total(x):
            return jnp.sum(rotations.matrix_to_axis_angle(x) * jnp.array([1, 2, 3], x.dtype))

        return jax.jvp(jax.grad(total), (matrix,), (change,))[1]

    matrices = _as_scipy(_directions(rng, angles.shape) * angles[:, None]).as_matrix().astype(np.float32)
    changes = rng.normal(size=matrices.shape).astype(np.float32)
    rough, exact = (second(jnp.asarray(matrices, dtype), jnp.asarray(changes, dtype)) for dtype in DTYPES)
    np.testing.assert_allclose(rough, exact, atol=TOLERANCE_OF_SECOND_DERIVATIVES_32)


def test_nested_vmap_gives_what_a_batch_gives(rng):
    shape = BATCH_SHAPES[-1]
    inputs = [_rows(rng, convert, 6, "random").reshape(*shape, *n) for convert, n in CONVERSIONS.items()]

    def convert_all(inputs):
        converted = [convert(x) for convert, x in zip(CONVERSIONS, inputs, strict=True)]
        # As users do, with products in the loop.
        vectors, quaternions = inputs[0], converted[2]
        turned = rotations.compose(converted[0], rotations.axis_angle_to_matrix(-2 * vectors))
        squared = rotations.quaternion_multiply(quaternions, quaternions)
        return [*converted, rotations.matrix_to_axis_angle(turned), rotations.quaternion_to_matrix(squared)]

    inputs = [jnp.asarray(x) for x in inputs]
    batched = jax.jit(convert_all)(inputs)
    nested = jax.jit(jax.vmap(jax.vmap(jax.vmap(convert_all))))(inputs)
    for one, other in zip(nested, batched, strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE_64)


@pytest.mark.parametrize("x64", [False, True])
def test_results_have_the_type_of_their_input(x64):
    with jax.enable_x64(x64):
        for dtype in [jnp.bfloat16, jnp.float32] + [jnp.float64] * x64:
            for convert, numbers in CONVERSIONS.items():
                found = jax.eval_shape(convert, jax.ShapeDtypeStruct((2, 5, *numbers), dtype))
                assert (found.dtype, found.weak_type) == (dtype, False), convert.__name__
            quaternions = jax.ShapeDtypeStruct((2, 4), dtype)
            assert jax.eval_shape(rotations.quaternion_multiply, quaternions, quaternions).dtype == dtype


def test_rotate_with_something_added_is_right_at_any_size(rng):
    # Regression: written as a sum over an axis, jaxlib 0.10.2 for the CPU compiled this wrongly (jax issue 39103).
    matrices, vectors, added = (jnp.asarray(rng.normal(size=shape), jnp.float32)
                                for shape in ((2, 24, 3, 3), (2, 700, 24, 3), (2, 24, 3)))  # fmt: skip
    ours = jax.jit(lambda m, v, c: rotations.rotate(m[:, None], v) + c[:, None])(matrices, vectors, added)
    expected = np.einsum("bjik,bnjk->bnji", matrices, vectors) + np.asarray(added)[:, None]
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_degenerate_numpy_input_of_any_precision_is_the_identity(dtype):
    np.testing.assert_array_equal(rotations.quaternion_to_matrix(np.zeros(4, dtype)), np.eye(3))
    np.testing.assert_array_equal(rotations.quaternion_to_axis_angle(np.zeros(4, dtype)), np.zeros(3))


def test_short_half_precision_quaternions_keep_their_direction():
    quarter = rotations.quaternion_to_matrix(jnp.array([0.02, 0.02, 0.0, 0.0], jnp.float16))
    np.testing.assert_allclose(quarter, [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=2e-3)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_the_skew_matrix_is_the_cross_product_whatever_the_batch(batch, rng):
    first, second = rng.normal(size=(2, *batch, 3)).astype(np.float32)
    found = rotations.skew(jnp.asarray(first))
    assert found.shape == (*batch, 3, 3)
    np.testing.assert_allclose((found @ second[..., None])[..., 0], np.cross(first, second), atol=1e-6)


def test_series_of_small_angles_have_every_digit_of_the_closed_forms():
    """About one axis the three functions stand alone in the matrix, and none of these forms cancels."""
    angle = np.linspace(0.05, 0.4999, 40)
    with jax.enable_x64(True):
        found = np.asarray(rotations.left_jacobian(jnp.asarray(angle[:, None] * [1.0, 0, 0])))
    np.testing.assert_allclose(found[:, 1, 1], np.sin(angle) / angle, rtol=4e-16)
    np.testing.assert_allclose(found[:, 2, 1], 2 * np.sin(angle / 2) ** 2 / angle, rtol=6e-16)
    np.testing.assert_allclose(found[:, 0, 0], 1, rtol=4e-16)


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_of_half_a_circle_the_first_component_that_is_not_zero_is_positive(first, sign):
    axis = np.zeros(3, np.float32)
    axis[first] = 1
    matrix = 2 * np.outer(axis, axis) - np.eye(3, dtype=np.float32)
    quaternion = np.concatenate([[0], axis]).astype(np.float32)
    np.testing.assert_allclose(rotations.matrix_to_quaternion(jnp.asarray(matrix)), quaternion, atol=1e-7)
    np.testing.assert_allclose(
        rotations.quaternion_to_axis_angle(sign * jnp.asarray(quaternion)), np.pi * axis, atol=1e-6
    )
