"""Fields of labels by strangers: numbers of a known shape, or an error that names file, person and field."""

import dataclasses
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.data.training_records import TrainingDataError

#: Longest piece of a file that a message repeats, letters.
_MAX_TOLD = 80
#: No pixel, metre, angle or coefficient is beyond it.
_LARGEST = 1e7


@dataclasses.dataclass(frozen=True, slots=True)
class LabelPlace:
    """Where labels stand, for messages."""

    text: str
    """File, and person within it."""

    def error(self, field: str, expected: str, found: str) -> TrainingDataError:
        """What to raise."""
        return TrainingDataError(f"{self.text}: `{field}` must be {expected}, got {found}")


def shown_label(value: Any) -> str:
    """What a value of a file is, in a few words on one line."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if value is None:
        return "nothing"
    if isinstance(value, dict | list | tuple | set):
        return f"a {type(value).__name__} of {len(value)}"
    told = repr(value)
    told = told if len(told) <= _MAX_TOLD else f"{told[:_MAX_TOLD]}..."
    return f"{type(value).__name__} {told}"


def label_numbers(
    value: Any, field: str, shapes: tuple[tuple[int, ...], ...], place: LabelPlace
) -> Float[np.ndarray, "..."]:
    """A field as numbers of one of some shapes; some of them may not be finite.

    Args:
        value: Of the file; None where the field is missing.
        field: Its name.
        shapes: Allowed.
        place: For the message.

    Returns:
        A float array of its own; floats keep their precision.

    Raises:
        TrainingDataError: If it is missing, no numbers, or of another shape.
    """
    expected = f"numbers of shape {' or '.join(map(str, shapes))}"
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # lists of different lengths
        raise place.error(field, expected, shown_label(value)) from None
    if array.dtype.kind not in "fiub" or array.shape not in shapes:
        raise place.error(field, expected, shown_label(value))
    return array.astype(array.dtype if array.dtype.kind == "f" else np.float64)


def finite_label(
    value: Any, field: str, shapes: tuple[tuple[int, ...], ...], place: LabelPlace
) -> Float[np.ndarray, "..."]:
    """A field as finite numbers of one of some shapes; see `label_numbers`.

    Raises:
        TrainingDataError: Also if a number is not finite, or larger than any that is measured.
    """
    array = label_numbers(value, field, shapes, place)
    is_sound = np.abs(array) <= _LARGEST  # NaN is not
    if not is_sound.all():
        wrong = tuple(int(index) for index in np.argwhere(~is_sound)[0])
        raise place.error(field, f"finite and within {_LARGEST:g}", f"{array[wrong]:g} at {wrong}")
    return array


def label_flag(value: Any, field: str, place: LabelPlace) -> bool:
    """A field that says yes (above 0) or no, however it is stored.

    Raises:
        TrainingDataError: If it is missing or not one number.
    """
    return bool(finite_label(value, field, ((), (1,)), place).reshape(()) > 0)


def positive_label(value: Any, field: str, place: LabelPlace) -> float:
    """A field that is one number above 0.

    Raises:
        TrainingDataError: If it is missing, not one number, or not above 0.
    """
    number = float(finite_label(value, field, ((), (1,)), place).reshape(()))
    if not number > 0:
        raise place.error(field, "above 0", f"{number:g}")
    return number


def side_of_scale(value: Any, field: str, place: LabelPlace, *, pixels: float | int) -> float:
    """Longer side of a box, pixels, from its scale: a number, or width and height.

    Args:
        value: Of the file.
        field: Its name.
        place: For the message.
        pixels: That a scale of 1 stands for.

    Raises:
        TrainingDataError: If it is missing, of another shape, or not above 0.
    """
    sides = finite_label(value, field, ((), (1,), (2,)), place)
    return positive_label(sides.max(), field, place) * pixels


def split_confidence(
    value: Any, field: str, shape: tuple[int, int], place: LabelPlace
) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K"]]:
    """Coordinates and confidences of keypoints whose last column is the confidence.

    Args:
        value: Of the file.
        field: Its name.
        shape: Points, and coordinates with the confidence.
        place: For the message.

    Returns:
        Coordinates, zero where the confidence is; confidences, cut to [0, 1].

    Raises:
        TrainingDataError: If it is of another shape, or a confidence or a coordinate of a known point is not finite.
    """
    numbers = label_numbers(value, field, (shape,), place)
    points, confidence = numbers[:, :-1], numbers[:, -1]
    finite_label(confidence, f"{field}[:, {shape[1] - 1}]", ((shape[0],),), place)
    confidence = np.clip(confidence, 0, 1)
    points = np.where(confidence[:, None] > 0, points, 0)
    return finite_label(points, field, ((shape[0], shape[1] - 1),), place), confidence
