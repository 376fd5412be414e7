"""Which frame of a video a name speaks of: the number at its end."""

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})", re.DOTALL)
#: OpenPose writes twelve digits, and counts from 0.
_OPENPOSE_DIGITS = 12


class FrameNumberError(ValueError):
    """Names that speak of several videos."""


def frames_by_number(
    names: Iterable[str], stem: str, first_frame: int | None = None
) -> tuple[dict[int, list[str]], int]:
    """Names of the frames of a video by their number.

    Names that begin with that of the video count alone, where there are any; others must be alike up to their number.

    Args:
        names: Without suffix, such as `clip_000000000012` or `frame_0013`.
        stem: Name of the video without suffix.
        first_frame: Number of the first frame; None tells by the names, see `first_number`.

    Returns:
        Names by number of the frame from 0, and what was taken for the number of the first.

    Raises:
        FrameNumberError: If names are those of several videos.
    """
    found: dict[str, dict[int, list[str]]] = {}
    widths: set[int] = set()
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match is None:
            continue
        found.setdefault(match[1], {}).setdefault(int(match[2]), []).append(name)
        widths.add(len(match[2]))
    own = {prefix: numbers for prefix, numbers in found.items() if prefix.rstrip("_-. ") == stem}
    if not own and len(found) > 1:
        told = ", ".join(f"{prefix[-40:]!r}" for prefix in sorted(found)[:4])
        raise FrameNumberError(
            f"names of frames that begin with {told}: give the files of one video, or call them after it "
            f"({stem}_0000...)"
        )
    merged: dict[int, list[str]] = {}
    for numbers in (own or found).values():
        for number, several in numbers.items():
            merged.setdefault(number, []).extend(several)
    first = first_number(merged, widths, first_frame)
    return {number - first: several for number, several in merged.items() if number >= first}, first


def first_number(numbers: Iterable[int], widths: Iterable[int] = (), first_frame: int | None = None) -> int:
    """Number of the first frame of a video.

    It is 0, as most programs count, unless all numbers from 1 to the last are there and 0 is not, as ffmpeg and
    MMPose's demos count. OpenPose's twelve digits are never counted so.

    Args:
        numbers: Of frames.
        widths: Digits that they were written with.
        first_frame: What the user says.
    """
    if first_frame is not None:
        return first_frame
    known = set(numbers)
    if not known or set(widths) == {_OPENPOSE_DIGITS}:
        return 0
    return 1 if min(known) == 1 and len(known) == max(known) and len(known) > 1 else 0
