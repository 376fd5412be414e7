"""Values in JSON files by strangers: bounded before they are read, checked before they are used.

What does not fit ends in a `KeypointFileError` of one line that names the file, the place in it, what was expected
there and what was found. A number that is not finite is no mistake: dumps are full of NaN, and whoever takes the
numbers leaves the point out.
"""

import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Mapping, Sized
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float

#: Files larger than this are refused.
MAX_BYTES = 1 << 30
#: Of a file that holds one picture.
MAX_PICTURE_BYTES = 64 << 20
#: Lists, objects and values of a file, counted before it is parsed: Python keeps `[]` in 64 bytes, `{"":0}` in 184 and
#: 0.5 in 24. COCO-WholeBody's training set is the largest file that people have: 262 465 people of about 480 values and
#: 14 lists in 118 287 pictures. A file of MMPose for half an hour of one person has 7 million lists.
MAX_LISTS, MAX_OBJECTS, MAX_VALUES = 8_000_000, 4_000_000, 160_000_000
#: Pictures, or people, of a file: nine hours of video. Each is some hundred bytes here, whatever it is in the file.
MAX_ENTRIES = 1_000_000
#: Coordinates beyond this (pixels) are no coordinates.
MAX_COORDINATE = 1e6
#: Longest piece of a file that a message repeats, letters.
_MAX_TOLD = 60
#: Largest number that labels and frames are counted with.
MAX_COUNT = 2**31 - 1

#: Least and greatest score that a program gives. OpenPose's certainties overshoot 1 (its issue 615 has 1.41).
CERTAINTIES = (0.0, 1.5)
#: AlphaPose's documentation says "range [0,6] for COCO dataset".
ALPHAPOSE_SCORES = (0.0, 6.0)
#: Peaks of SimCC distributions (RTMPose, RTMW, DWPose) are not normalised: usually about 1, negative where nothing was
#: found (MMPose's issues 2755 and 3207).
PEAKS = (-20.0, 20.0)


class KeypointFileError(ValueError):
    """A keypoint file does not hold what it should, or cannot be written as asked."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, for messages."""

    path: pathlib.Path
    """The file."""
    steps: tuple[str | int, ...] = ()
    """Fields and positions that lead there."""

    def at(self, *steps: str | int) -> "Place":
        """A place further inside."""
        return Place(self.path, (*self.steps, *steps))

    def error(self, wrong: str) -> KeypointFileError:
        """What to raise: `wrong` says what is expected here, and what was found."""
        return KeypointFileError(f"{self.path}: {self} {wrong}")

    def __str__(self) -> str:
        # Names of fields are ours; names of pictures are the file's, and may be anything.
        texts = (f".{step}" if str(step).isidentifier() else f"[{short_text(step)}]" for step in self.steps)
        return "".join(texts).removeprefix(".") or "the file"


def describe_value(value: Any) -> str:
    """What a JSON value is, in a few words."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "an object"
    return {bool: "boolean ", str: "text ", int: "number ", float: "number "}.get(type(value), "") + short_text(value)


def short_text(value: Any) -> str:
    """A value as a message may repeat it: on one line, and not for pages."""
    text = repr(value)
    return text if len(text) <= _MAX_TOLD else f"{text[:_MAX_TOLD]}..."


def read_bounded_json(path: pathlib.Path, max_bytes: int) -> Any:
    """JSON of a file that is not read if it is too large, and not parsed if it holds too much for its size.

    Raises:
        FileNotFoundError: If there is no such file.
        KeypointFileError: If it is too large, holds too much, or is no JSON.
    """
    size = path.stat().st_size
    if size > max_bytes:
        raise KeypointFileError(f"{path}: {size} bytes are more than the {max_bytes} allowed; split the file")
    with open(path, "rb") as file:
        data = file.read(size + 1)
    if len(data) > size:
        raise KeypointFileError(f"{path}: grew while it was read; wait until it is written")
    # Marks within texts and bytes of UTF-16 are counted too: too many rather than too few.
    for what, count, most in (
        ("lists", data.count(b"["), MAX_LISTS),
        ("objects", data.count(b"{"), MAX_OBJECTS),
        ("values", data.count(b","), MAX_VALUES),
    ):
        if count > most:
            raise KeypointFileError(f"{path}: {count} {what} are more than the {most} allowed; split the file")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise KeypointFileError(f"{path}: expected JSON: {reason[:200]}") from error


def check_entries(entries: Sized, place: Place) -> None:
    """Refuse more pictures or people than any file has.

    Raises:
        KeypointFileError: If there are more.
    """
    if len(entries) > MAX_ENTRIES:
        raise place.error(f"must hold at most {MAX_ENTRIES} pictures or people, got {len(entries)}; split the file")


def head_of_file(path: str | os.PathLike[str], num_bytes: int = 4096) -> bytes:
    """The first bytes of a file."""
    with open(path, "rb") as file:
        return file.read(num_bytes)


def expect_object(value: Any, place: Place) -> Mapping[str, Any]:
    """The value, if it is an object."""
    if not isinstance(value, Mapping):
        raise place.error(f"must be an object, got {describe_value(value)}")
    return value


def expect_list(value: Any, place: Place) -> list[Any]:
    """The value, if it is a list."""
    if not isinstance(value, list):
        raise place.error(f"must be a list, got {describe_value(value)}")
    return value


def list_field(content: Any, field: str, place: Place) -> list[Any]:
    """A field of an object, if it is a list."""
    value = content.get(field) if isinstance(content, Mapping) else None
    if not isinstance(value, list):
        raise place.error(f"must be an object with a list `{field}`, got {describe_value(content)}")
    return value


def parse_numbers(values: Any, place: Place) -> Float[np.ndarray, "N"]:
    """A flat list of numbers; NaN and infinity among them stay.

    Raises:
        KeypointFileError: If it is no list, or something in it is no number.
    """
    for position, value in enumerate(expect_list(values, place)):
        # `bool` is an `int` to `isinstance`, and not a number to anybody.
        if type(value) is not float and type(value) is not int:
            raise place.at(position).error(f"must be a number, got {describe_value(value)}")
    try:
        return np.array(values, np.float64)
    except OverflowError:
        raise place.error("must hold numbers, got one of hundreds of digits") from None


def parse_triples(value: Any, place: Place) -> Float[np.ndarray, "K 3"] | None:
    """A flat list of x, y and a third number for each point; None if it is absent or empty.

    Raises:
        KeypointFileError: If it is no such list, or a coordinate is none.
    """
    if value is None or value == []:
        return None
    numbers = parse_numbers(value, place)
    if len(numbers) % 3:
        raise place.error(f"must hold x, y and confidence of each point, got {len(numbers)} numbers")
    triples = numbers.reshape(-1, 3)
    check_coordinates(triples[:, :2], place)
    return triples


def parse_rows(value: Any, length: int, place: Place) -> Float[np.ndarray, "K D"]:
    """A list of lists of so many numbers.

    Raises:
        KeypointFileError: If it is no such list, or a coordinate is none.
    """
    rows = expect_list(value, place)
    for position, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != length:
            raise place.at(position).error(f"must be a list of {length} numbers, got {describe_value(row)}")
    numbers = parse_numbers(list(itertools.chain.from_iterable(rows)), place)
    check_coordinates(numbers, place)
    return numbers.reshape(-1, length)


def check_coordinates(values: Float[np.ndarray, "*shape"], place: Place) -> None:
    """Refuse finite coordinates that no picture has.

    Raises:
        KeypointFileError: If there is one.
    """
    with np.errstate(invalid="ignore"):
        is_wild = np.isfinite(values) & (np.abs(values) >= MAX_COORDINATE)
    if is_wild.any():
        raise place.error(f"must hold coordinates below {MAX_COORDINATE:g}, got {values[is_wild][0]:g}")


def check_scores(values: Float[np.ndarray, "*shape"], tolerated: tuple[float, float], place: Place) -> None:
    """Refuse finite scores outside of the range that the program gives; see `CERTAINTIES`.

    Raises:
        KeypointFileError: If there is one.
    """
    least, most = tolerated
    is_wild = np.isfinite(values) & ((values < least) | (values > most))
    if is_wild.any():
        raise place.error(
            f"must have confidences in [0, 1] (tolerated: {least:g} to {most:g}), got {values[is_wild][0]:g}"
        )


def parse_score(value: Any, place: Place, *, most: float = 1.0) -> float | None:
    """A person's score as share of the greatest one, cut to [0, 1]; None if there is none or it is NaN.

    Raises:
        KeypointFileError: If it is something else than a number, or a list of one.
    """
    if value is None:
        return None
    numbers = parse_numbers(value if isinstance(value, list) else [value], place)
    if len(numbers) != 1:
        raise place.error(f"must be a number, got {describe_value(value)}")
    return None if np.isnan(numbers[0]) else float(np.clip(numbers[0] / most, 0, 1))


def parse_corners(value: Any, place: Place, *, has_size: bool) -> Float[np.ndarray, "4"] | None:
    """A box as corners (x_min, y_min, x_max, y_max); None if there is none or a number of it is not finite.

    Args:
        value: Four numbers.
        place: Where they stand.
        has_size: Whether they are (x, y, width, height) instead of the corners.

    Raises:
        KeypointFileError: If they are no box.
    """
    if value is None:
        return None
    form = "[x, y, width, height]" if has_size else "[x_min, y_min, x_max, y_max]"
    if not isinstance(value, list) or len(value) != 4:
        raise place.error(f"must be {form} in pixels, got {describe_value(value)}")
    box = parse_numbers(value, place)
    if not np.isfinite(box).all():
        return None
    if has_size:
        box[2:] += box[:2]
    check_coordinates(box, place)
    if (box[2:] < box[:2]).any():
        raise place.error(f"must be {form}, got one of negative size")
    return box.astype(np.float32)


def parse_count(value: Any, place: Place, *, least: int = 0) -> int | None:
    """A whole number, also written as 3.0; None if there is none, or below `least`, as programs write for unknown.

    Raises:
        KeypointFileError: If it is something else.
    """
    if value is None:
        return None
    is_number = type(value) is int or (type(value) is float and value.is_integer())
    if not is_number or abs(value) > MAX_COUNT:
        raise place.error(f"must be a whole number below {MAX_COUNT}, got {describe_value(value)}")
    return int(value) if value >= least else None
