"""Rotations of poses for files, in NumPy and float64: for a clip of another length nothing is compiled anew."""

import numpy as np

from hardmo_jax.array_types import Float


def pose_matrices(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Rotation matrices of axis-angle vectors, radians, by Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vectors.shape, 3)
    # `np.sinc` is sin(pi x) / (pi x), and one at zero.
    half = np.sinc(angle / (2 * np.pi))
    return np.eye(3) + np.sinc(angle / np.pi) * skew + 0.5 * half**2 * (skew @ skew)


def pose_quaternions(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 4"]:
    """Unit quaternions (w, x, y, z) of axis-angle vectors, radians."""
    half = 0.5 * np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.concatenate([np.cos(half), 0.5 * np.sinc(half / np.pi) * vectors], axis=-1)


def matrices_of_quaternions(quaternions: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Rotation matrices of unit quaternions (w, x, y, z)."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def product_of_quaternions(
    outer: Float[np.ndarray, "*#batch 4"], inner: Float[np.ndarray, "*#batch 4"]
) -> Float[np.ndarray, "..."]:
    """Hamilton's product of quaternions (w, x, y, z): the turn of `outer` after that of `inner`."""
    scalar = outer[..., :1] * inner[..., :1] - np.sum(outer[..., 1:] * inner[..., 1:], axis=-1, keepdims=True)
    vector = (
        outer[..., :1] * inner[..., 1:] + inner[..., :1] * outer[..., 1:] + np.cross(outer[..., 1:], inner[..., 1:])
    )
    return np.concatenate([scalar, vector], axis=-1)


def continuous_quaternions(quaternions: Float[np.ndarray, "T *rest 4"]) -> Float[np.ndarray, "T *rest 4"]:
    """The same rotations as unit quaternions, each of the sign nearer to the one before: of a path no way round.

    Args:
        quaternions: Frames along the first axis, of any length other than zero, in any order of components.
    """
    unit = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    is_opposite = np.sum(unit[1:] * unit[:-1], axis=-1, keepdims=True) < 0
    unit[1:] *= np.cumprod(np.where(is_opposite, -1.0, 1.0), axis=0)
    return unit
