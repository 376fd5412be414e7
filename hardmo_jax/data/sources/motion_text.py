"""Text of motion capture files under caps: what every reader of such a format refuses in the same words."""

import math
import pathlib
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.data.sources.clip import MotionFileError

MAX_FILE_BYTES = 1 << 28
"""Largest file that is read; an hour of 120 Hz capture is about 0.2 GB of text."""
MAX_JOINTS = 1000
"""Most joints of a skeleton; one with every finger has about 80."""
MAX_POSES = 20_000_000
"""Most rotations of a clip, frames times joints: 2 GB in memory, and two hours of 120 Hz capture."""


MAX_LINES = 24_000_000
"""Most lines of a file; each costs sixty bytes of memory, however short it is."""
MAX_LINE_LETTERS = 1 << 20
"""Longest line: a frame of the largest skeleton has 0.1 MB."""
#: What `str.splitlines` divides at.
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def read_motion_lines(path: pathlib.Path) -> list[str]:
    """Lines of a text, neither too many nor too long to be divided into words.

    Raises:
        MotionFileError: If they are, or as `read_motion_text`.
    """
    text = read_motion_text(path)
    num_lines = sum(text.count(end) for end in _LINE_ENDS)
    if num_lines > MAX_LINES:
        raise MotionFileError(
            f"{path}: {num_lines} lines, more than the cap of {MAX_LINES}; split the capture into takes"
        )
    lines = text.splitlines()
    if max(map(len, lines), default=0) > MAX_LINE_LETTERS:
        raise MotionFileError(f"{path}: a line of more than {MAX_LINE_LETTERS} letters; not a motion capture file")
    return lines


def read_motion_text(path: pathlib.Path) -> str:
    """Text of a file that is not larger than the cap, without a byte order mark.

    Bytes that are no UTF-8 are kept as Latin-1: old exporters write joint names in the code page of their machine.

    Raises:
        MotionFileError: If there is no such file, or it is too large or binary.
    """
    if not path.is_file():
        raise MotionFileError(f"{path}: no such file")
    with path.open("rb") as file:  # Python takes memory for as much as it is asked to read
        data = file.read(min(path.stat().st_size, MAX_FILE_BYTES) + 1)
    if len(data) > MAX_FILE_BYTES:
        raise MotionFileError(f"{path}: more than {MAX_FILE_BYTES >> 20} MB of text; split the capture into takes")
    if b"\0" in data[:4096]:
        raise MotionFileError(f"{path}: a binary file, expected the text of a motion capture file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def finite_numbers(words: Sequence[str], where: str) -> Float[np.ndarray, "N"]:
    """Words of a line as numbers.

    Args:
        words: The words.
        where: File and line for the message.

    Raises:
        MotionFileError: If a word is not a finite number.
    """
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.array([math.nan])
    if not np.isfinite(numbers).all():
        wrong = next(word for word in words if not _is_finite(word))
        raise MotionFileError(f"{where}: expected a finite number, got {wrong[:40]!r}")
    return numbers


def check_size(num_frames: int, num_joints: int, where: str) -> None:
    """Refuse a clip that would not fit in memory before anything of it is allocated.

    Raises:
        MotionFileError: If it is larger than the caps.
    """
    if num_joints > MAX_JOINTS:
        raise MotionFileError(f"{where}: {num_joints} joints, more than the cap of {MAX_JOINTS}; not a person")
    if num_frames * num_joints > MAX_POSES:
        raise MotionFileError(
            f"{where}: {num_frames} frames of {num_joints} joints, more than the cap of {MAX_POSES} rotations; "
            "split the capture into takes"
        )


def positive_rate(frames_per_second: float) -> float:
    """A rate that a user gives.

    Raises:
        ValueError: If it is not a positive number.
    """
    if not (frames_per_second > 0 and math.isfinite(frames_per_second)):
        raise ValueError(f"`frames_per_second` must be positive, got {frames_per_second}")
    return float(frames_per_second)


def _is_finite(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
