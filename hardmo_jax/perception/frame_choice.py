"""Which frames of a video are looked at, or which photos of a folder."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameChoice:
    """Which frames of a video are looked at, or which photos of a folder."""

    start_seconds: float = 0.0
    """Frames of a video before this time are passed over."""
    end_seconds: float | None = None
    """And those from this time on."""
    stride: int = 1
    """Of those that are left every second, third, ... is looked at."""

    def __post_init__(self) -> None:
        if not (0 <= self.start_seconds < math.inf) or self.stride < 1:
            raise ValueError(
                f"a choice of frames needs `start_seconds` of 0 or more and `stride` of 1 or more, got {self}"
            )
        if self.end_seconds is not None and not self.end_seconds > self.start_seconds:
            raise ValueError(
                f"the end (`end_seconds`, --end) must be later than the start (`start_seconds`, --start), got "
                f"{self.end_seconds:g} s and {self.start_seconds:g} s"
            )
