"""The two 6D layouts against NumPy transcriptions, and input that determines no rotation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hardmo_jax.geometry import rotation_formats, rotations

#: Entries after a few dozen roundings: 16 times the rounding of one.
TOLERANCE = {jnp.float32: 2e-6, jnp.float64: 4e-15}
#: Gram-Schmidt multiplies rounding by one over the sine of the angle between the two vectors; random ones reach 1e-2.
TOLERANCE_OF_RANDOM = {jnp.float32: 1e-4, jnp.float64: 1e-12}
#: Derivatives of random numbers as large as the vectors are short or parallel, relative.
TOLERANCE_OF_DERIVATIVES = {jnp.float32: 1e-3, jnp.float64: 1e-10}

DTYPES = [jnp.float32, jnp.float64]
#: Both types, and every rank in one of them.
BATCHES = [((), jnp.float64), ((1,), jnp.float64), ((3, 1, 2), jnp.float64), ((3, 1, 2), jnp.float32)]
KINDS = ["random", "near_identity", "near_pi", "identity", "pi"]
TO_MATRIX = {"spin": rotation_formats.rot6d_spin_to_matrix, "hmr2": rotation_formats.rot6d_hmr2_to_matrix}
TO_ROT6D = {"spin": rotation_formats.matrix_to_rot6d_spin, "hmr2": rotation_formats.matrix_to_rot6d_hmr2}
#: First vector, second vector, the matrix they count as; the docstring of `rot6d_spin_to_matrix` says why.
DEGENERATE = {
    "nothing": ([0, 0, 0], [0, 0, 0], np.eye(3)),
    "no first": ([0, 0, 0], [0, 0, 5], [[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "no first, second along x": ([0, 0, 0], [3, 0, 0], np.eye(3)),
    "no second": ([0, 2, 0], [0, 0, 0], [[0, 1, 0], [1, 0, 0], [0, 0, -1]]),
    "parallel": ([0, 0, 2], [0, 0, 7], [[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "opposite": ([-2, 0, 0], [7, 0, 0], [[-1, 0, 0], [0, 1, 0], [0, 0, -1]]),
    "shorter than any length": ([1e-110, 0, 0], [0, 1e-110, 1e-110], np.eye(3)),
}


@pytest.fixture(autouse=True)
def _both_types():
    """Float64 is available in every test here; float32 is asked for by name."""
    with jax.enable_x64(True):
        yield


def _rotations(rng, batch, kind):
    """Rotation matrices in float64."""
    axes = rng.normal(size=(*batch, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    angles = {
        "random": rng.uniform(0, np.pi, batch),
        "near_identity": 10.0 ** rng.integers(-12, 0, batch),
        "near_pi": np.pi - 10.0 ** rng.integers(-12, -1, batch),
        "identity": np.zeros(batch),
        "pi": np.full(batch, np.pi),
    }
    vectors = axes * np.asarray(angles[kind])[..., None]
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*batch, 3, 3)


def _is_rotation(matrices, atol):
    matrices = np.asarray(matrices, np.float64)
    identity = np.broadcast_to(np.eye(3), matrices.shape)
    np.testing.assert_allclose(np.swapaxes(matrices, -1, -2) @ matrices, identity, atol=atol)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=atol)


def _oracle(layout, numbers):
    """What the sources do with `x.view(-1, 3, 2)` and `x.reshape(-1, 2, 3).permute(0, 2, 1)`, in NumPy."""
    rows = np.asarray(numbers, np.float64).reshape(-1, 6)
    pairs = rows.reshape(-1, 3, 2) if layout == "spin" else rows.reshape(-1, 2, 3).transpose(0, 2, 1)
    matrices = []
    for a1, a2 in zip(pairs[:, :, 0], pairs[:, :, 1], strict=True):
        b1 = a1 / np.linalg.norm(a1)
        b2 = a2 - np.dot(b1, a2) * b1
        b2 /= np.linalg.norm(b2)
        matrices.append(np.stack([b1, b2, np.cross(b1, b2)], -1))
    return np.reshape(matrices, (*np.shape(numbers)[:-1], 3, 3))


def _pack(layout, first, second):
    """Six numbers in a layout of two vectors."""
    columns = np.stack([first, second], -1).astype(np.float64)
    return (columns if layout == "spin" else np.swapaxes(columns, -1, -2)).reshape(*columns.shape[:-2], 6)


@functools.cache
def _jitted(layout):
    return jax.jit(TO_MATRIX[layout])


@pytest.mark.parametrize(("batch", "dtype"), [*BATCHES, ((300,), jnp.float64), ((300,), jnp.float32)])
@pytest.mark.parametrize("layout", TO_MATRIX)
def test_layout_is_read_as_its_source_reads_it(rng, layout, batch, dtype):
    numbers = jnp.asarray(rng.normal(size=(*batch, 6)), dtype)
    matrices = _jitted(layout)(numbers)
    assert matrices.dtype == dtype
    np.testing.assert_allclose(matrices, _oracle(layout, numbers), atol=TOLERANCE_OF_RANDOM[dtype])
    _is_rotation(matrices, TOLERANCE[dtype])


def test_layouts_order_the_same_six_numbers_differently():
    matrix = Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix()
    spin, hmr2 = (np.asarray(to_rot6d(jnp.asarray(matrix))) for to_rot6d in TO_ROT6D.values())
    np.testing.assert_array_equal(spin, matrix[:, :2].reshape(6))
    np.testing.assert_array_equal(hmr2, np.concatenate([matrix[:, 0], matrix[:, 1]]))
    np.testing.assert_array_equal(spin.reshape(3, 2), hmr2.reshape(2, 3).T)
    # PyTorch3D writes the first two rows: read as columns, they are the inverse rotation.
    pytorch3d = jnp.asarray(np.concatenate([matrix[0], matrix[1]]))
    np.testing.assert_allclose(_jitted("hmr2")(pytorch3d), matrix.T, atol=TOLERANCE[jnp.float64])


@jax.jit
def _round_trips(matrices):
    """What is left of matrices after a way through a 6D layout, another representation and the layout again."""
    others = {
        "matrix": lambda m: m,
        "axis-angle": lambda m: rotations.axis_angle_to_matrix(rotations.matrix_to_axis_angle(m)),
        "quaternion": lambda m: rotations.quaternion_to_matrix(rotations.matrix_to_quaternion(m)),
    }
    found = {}
    for layout, write in TO_MATRIX.items():
        back = write(TO_ROT6D[layout](matrices))
        found |= {(layout, name): way(back) for name, way in others.items()}
    found["spin", "hmr2"] = TO_MATRIX["hmr2"](TO_ROT6D["hmr2"](found["spin", "matrix"]))
    return found


@pytest.mark.parametrize(("batch", "dtype"), BATCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_round_trips_through_every_other_representation(rng, kind, batch, dtype):
    matrices = jnp.asarray(_rotations(rng, batch, kind), dtype)
    for way, found in _round_trips(matrices).items():
        np.testing.assert_allclose(found, matrices, atol=TOLERANCE[dtype], err_msg=str(way))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", TO_MATRIX)
def test_lengths_and_the_part_of_the_second_vector_along_the_first_do_not_matter(rng, layout, dtype):
    first, second = rng.normal(size=(2, 50, 3))
    expected = _jitted(layout)(jnp.asarray(_pack(layout, first, second), dtype))
    for changed in [(1e-10 * first, 1e20 * second), (1e30 * first, 1e-10 * second), (first, second + 0.5 * first)]:
        found = _jitted(layout)(jnp.asarray(_pack(layout, *changed), dtype))
        np.testing.assert_allclose(found, expected, atol=TOLERANCE_OF_RANDOM[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", TO_MATRIX)
def test_degenerate_numbers_give_the_documented_rotation(layout, dtype):
    numbers = np.stack([_pack(layout, first, second) for first, second, _ in DEGENERATE.values()])
    matrices = _jitted(layout)(jnp.asarray(numbers, dtype))
    expected = [matrix for _, _, matrix in DEGENERATE.values()]
    np.testing.assert_allclose(matrices, expected, atol=float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", TO_MATRIX)
def test_vectors_almost_or_exactly_parallel_give_proper_rotations_that_keep_the_first(rng, layout, dtype):
    first = rng.normal(size=(400, 3))
    angles = np.repeat(
        [0, 1e-17, 1e-16, 3e-16, 1e-15, 1e-14, 1e-12, 1e-8, 1e-7, 3e-7, 1e-6, 2e-6, 3e-6, 1e-5, 1e-3, 0], 25
    )
    second = rng.uniform(-5, 5, (400, 1)) * first + rng.normal(size=(400, 3)) * angles[:, None]
    matrices = _jitted(layout)(jnp.asarray(_pack(layout, first, second), dtype))
    _is_rotation(matrices, TOLERANCE[dtype])
    matrices = np.asarray(matrices)
    unit = first / np.linalg.norm(first, axis=-1, keepdims=True)
    np.testing.assert_allclose(matrices[..., 0], unit, atol=TOLERANCE[dtype])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=6, max_size=6))
def test_any_six_finite_numbers_give_a_rotation(numbers):
    _is_rotation(_jitted("spin")(jnp.asarray(numbers, jnp.float32)), TOLERANCE[jnp.float32])


@pytest.mark.parametrize(("layout", "dtype"), [("spin", jnp.float64), ("hmr2", jnp.float32)])
def test_derivatives_are_finite_at_degenerate_numbers_and_other_rows_do_not_notice(rng, layout, dtype):
    convert = TO_MATRIX[layout]
    weights = jnp.asarray(rng.normal(size=(3, 3)), dtype)

    @jax.jit
    def differentiate(rows, changes):
        def total(x):
            return jnp.sum(weights * convert(x))

        value, tangent = jax.jvp(convert, (rows,), (changes,))
        gradient, second = jax.jvp(jax.grad(total), (rows,), (changes,))
        return value, tangent, gradient, second

    degenerate = np.stack([_pack(layout, first, second) for first, second, _ in DEGENERATE.values()])
    rows = np.zeros((2 * len(degenerate), 6))
    rows[0::2], rows[1::2] = degenerate, rng.normal(size=degenerate.shape)
    # Hardly a length, and squares beyond float32.
    rows[1], rows[3] = 1e-11 * rows[1], 1e30 * rows[3]
    changes, all_healthy = rng.normal(size=rows.shape), np.repeat(rows[1::2], 2, 0)
    together, healthy = (
        [np.asarray(x) for x in differentiate(jnp.asarray(r, dtype), jnp.asarray(changes, dtype))]
        for r in (rows, all_healthy)
    )
    for found, without in zip(together, healthy, strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found[1::2], without[1::2])
    for i in range(len(rows)) if dtype == jnp.float32 else ():
        alone = differentiate(jnp.asarray(rows[i], dtype), jnp.asarray(changes[i], dtype))
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_allclose(
                many[i], one, rtol=TOLERANCE_OF_DERIVATIVES[dtype], atol=TOLERANCE_OF_RANDOM[dtype]
            )
    # A vector that was replaced has no influence.
    gradient = together[2][0::2]
    of_first, of_second = (
        (gradient[:, 0::2], gradient[:, 1::2]) if layout == "spin" else (gradient[:, :3], gradient[:, 3:])
    )
    cases = list(DEGENERATE)
    np.testing.assert_array_equal(of_first[[name.startswith(("no first", "nothing", "shorter")) for name in cases]], 0)
    np.testing.assert_array_equal(of_second[[name != "no first" for name in cases]], 0)
    assert np.abs(of_second[cases.index("no first")]).max() > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_not_hidden(bad):
    matrices = _jitted("hmr2")(jnp.asarray([[1.0, 0, bad, 0, 1, 0], [1.0, 0, 0, 0, bad, 0], [1.0, 0, 0, 0, 1, 0]]))
    assert np.isnan(matrices[0]).any()
    assert np.isnan(matrices[1]).any()
    np.testing.assert_array_equal(matrices[2], np.eye(3))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_six_zeros_from_numpy_are_the_identity(dtype):
    for convert in (rotation_formats.rot6d_spin_to_matrix, rotation_formats.rot6d_hmr2_to_matrix):
        np.testing.assert_array_equal(convert(np.zeros((2, 6), dtype)), np.broadcast_to(np.eye(3), (2, 3, 3)))
