"""What every metric demands of its inputs: predictions and truth of one shape, and a mask of what has a truth."""

import numpy as np

from hardmo_jax.array_types import Bool, Float


def paired_arrays(
    predicted: Float[np.ndarray, "..."],
    truth: Float[np.ndarray, "..."],
    is_valid: Bool[np.ndarray, "..."] | None,
    item_shape: tuple[int, ...],
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"], Bool[np.ndarray, "*leading"]]:
    """Check predictions against truth, and make both double precision.

    Args:
        predicted: Predictions; may hold NaN or infinities, which stay.
        truth: What they are compared with.
        is_valid: Which items have a truth; None if all have. What is not valid becomes zero in both, whatever it was.
        item_shape: Last axes of one item: (3,) for points in space, (2,) in an image, (3, 3) for rotations.

    Returns:
        Predictions, truth, mask.

    Raises:
        ValueError: If the shapes do not fit, there is no item at all on the last leading axis, or the truth of a
            valid item is not finite.
    """
    wanted = ", ".join(["...", "K", *map(str, item_shape)])
    if predicted.shape != truth.shape:
        raise ValueError(
            f"predictions are {predicted.shape}, the truth is {truth.shape}; expected the same shape ({wanted}): "
            "take the same points of both, in the same order"
        )
    split = truth.ndim - len(item_shape)
    if split < 1 or truth.shape[split:] != item_shape:
        raise ValueError(f"expected arrays of shape ({wanted}), got {truth.shape}; confidence is an array of its own")
    leading = truth.shape[:split]
    if leading[-1] == 0:
        raise ValueError(f"expected at least one item in ({wanted}), got {truth.shape}; leave the metric out instead")
    mask = np.ones(leading, bool) if is_valid is None else is_valid
    if mask.shape != leading:
        raise ValueError(
            f"the mask is {mask.shape}, expected {leading}: one truth value for each item of {truth.shape}"
        )
    kept = mask.reshape(*leading, *([1] * len(item_shape)))
    truth = np.where(kept, truth, 0).astype(np.float64)
    num_bad = int(mask.sum() - (np.isfinite(truth).all(tuple(range(split, truth.ndim))) & mask).sum())
    if num_bad:
        raise ValueError(
            f"the truth of {num_bad} valid items of {mask.size} is not finite; expected numbers: a place without truth "
            "is said by the mask (`is_valid` False, or confidence 0)"
        )
    return np.where(kept, predicted, 0).astype(np.float64), truth, mask


def check_indices(indices: tuple[int, ...], num_points: int, name: str) -> None:
    """Raise `ValueError` unless there are indices, each of an existing point and none twice."""
    if not indices:
        raise ValueError(f"`{name}` names no point; expected indices from 0 to {num_points - 1}")
    if len(set(indices)) != len(indices):
        raise ValueError(f"`{name}` names a point twice: {indices}; it would count twice, name each once")
    wrong = [index for index in indices if not 0 <= index < num_points]
    if wrong:
        raise ValueError(
            f"`{name}` holds {wrong}; expected indices from 0 to {num_points - 1}: take them by name from the layout "
            "of these points (`layout.indices`)"
        )
