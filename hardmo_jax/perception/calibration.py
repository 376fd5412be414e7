"""What a source's confidence is worth: the error to expect of a point, by source, part and confidence.

Confidences of different models are not comparable: 0.6 of one may be as good as 0.9 of another, and better at feet
than at hands. A calibration is measured where the truth is known (`measured`) and says how far, in box sides, a point
of so much confidence lies off (the median). Less confident points are never expected to be better (isotonic regression,
Barlow et al., 1972).
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import optimize

from hardmo_jax import whole_files
from hardmo_jax.array_types import Float
from hardmo_jax.skeleton import layouts

#: Parts that are calibrated; left and right are alike.
KINDS = ("body", "foot", "hand")
#: Bins of confidence, each with as many points.
_MOST_BINS = 8
#: Points below which a bin says nothing.
LEAST_POINTS = 40
#: Errors are cut here, box sides: a point that is off further is lost, however far.
_LARGEST_ERROR = 0.5
_MAX_BYTES = 1 << 20
_MAX_KNOTS = 1000


class CalibrationError(ValueError):
    """A calibration file does not hold what it should."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartCalibration:
    """Expected error of the points of a part by confidence; between knots linear, beyond them constant."""

    confidence: tuple[float, ...]
    """Rising."""
    error: tuple[float, ...]
    """Median distance from the truth, box sides; falling or level."""

    def __post_init__(self) -> None:
        if not self.confidence or len(self.confidence) != len(self.error) or len(self.error) > _MAX_KNOTS:
            raise CalibrationError(f"expected as many confidences as errors, 1 to {_MAX_KNOTS}, got {self}")
        if not all(math.isfinite(value) for value in (*self.confidence, *self.error)) or min(self.error) <= 0:
            raise CalibrationError(f"confidences must be finite and errors positive, got {self}")
        if (np.diff(self.confidence) <= 0).any() or (np.diff(self.error) > 0).any():
            raise CalibrationError(f"confidences must rise and errors fall, got {self}")

    def expected_error(self, confidence: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
        """Box sides; infinite where the confidence is 0, as nothing was seen."""
        found = np.interp(confidence, self.confidence, self.error)
        return np.where(confidence > 0, found, np.inf)

    def confidence_for(self, error: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
        """Confidence at which this error is expected: the lowest; the ends where it is beyond them, 0 if infinite."""
        # Where errors are level the first knot counts: `interp` wants rising values.
        keep = np.concatenate([[True], np.diff(self.error) < 0])
        errors, confidences = np.array(self.error)[keep][::-1], np.array(self.confidence)[keep][::-1]
        found = np.interp(np.where(np.isfinite(error), error, 0), errors, confidences)
        return np.where(np.isfinite(error), found, 0.0)


#: By source, then by kind of part.
Calibrations = Mapping[str, Mapping[str, PartCalibration]]


def kind_of(point: str) -> str | None:
    """Which of `KINDS` a keypoint belongs to, if any."""
    part = layouts.part_of(point)
    return None if part is None else part.rpartition("_")[2]


def measurer_of(source: str, kind: str) -> str:
    """What measured a kind of part, of a source with hands by another model (`onnx:rtmpose.onnx; hands: blazepose`)."""
    body, _, hands = source.partition("; hands: ")
    return hands if hands and kind == "hand" else body


def known_of(calibrations: Calibrations, source: str) -> dict[str, PartCalibration]:
    """What is known of a source, by kind of part."""
    found = {kind: calibrations.get(measurer_of(source, kind), {}).get(kind) for kind in KINDS}
    return {kind: one for kind, one in found.items() if one is not None}


def measured(
    confidence: Float[np.ndarray, "N K"], error: Float[np.ndarray, "N K"], layout: layouts.KeypointLayout
) -> dict[str, PartCalibration]:
    """Calibrate a source.

    Args:
        confidence: Of its points; 0 where it saw none.
        error: Distance from the truth, box sides; NaN where the truth is not known.
        layout: Of the points.

    Returns:
        By kind of part; without kinds of which too few points were seen.
    """
    found = {}
    kinds = [kind_of(point) for point in layout.points]
    for kind in KINDS:
        own = np.array([one == kind for one in kinds])
        is_known = (confidence[:, own] > 0) & np.isfinite(error[:, own])
        confidences, errors = confidence[:, own][is_known], np.minimum(error[:, own][is_known], _LARGEST_ERROR)
        if len(errors) < LEAST_POINTS:
            continue
        bins = np.array_split(np.argsort(confidences, kind="stable"), min(_MOST_BINS, len(errors) // LEAST_POINTS))
        centres = np.array([np.median(confidences[places]) for places in bins])
        medians = np.array([np.median(errors[places]) for places in bins])
        falling = optimize.isotonic_regression(medians, increasing=False).x
        # Sources that say 1 of most points have bins of one confidence.
        unique = np.unique(centres)
        joined = [float(falling[centres == centre].mean()) for centre in unique]
        found[kind] = PartCalibration(
            confidence=tuple(map(float, unique)), error=tuple(max(value, 1e-5) for value in joined)
        )
    return found


def write_calibrations(path: str | os.PathLike[str], calibrations: Calibrations) -> None:
    """Write calibrations as JSON."""
    content = {
        source: {kind: dataclasses.asdict(one) for kind, one in kinds.items()} for source, kinds in calibrations.items()
    }
    with whole_files.replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n")


def read_calibrations(path: str | os.PathLike[str]) -> dict[str, dict[str, PartCalibration]]:
    """Read what `write_calibrations` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        CalibrationError: If it holds something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of calibrations")
    if path.stat().st_size > _MAX_BYTES:
        raise CalibrationError(f"{path}: larger than {_MAX_BYTES >> 20} MiB, the most that is read")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{path}: expected JSON") from error
    if not isinstance(content, dict):
        raise CalibrationError(f"{path}: expected an object with a key for each source")
    return {source: _kinds(kinds, f"{path}: {source[:80]!r}") for source, kinds in content.items()}


def _kinds(content: Any, where: str) -> dict[str, PartCalibration]:
    if not isinstance(content, dict) or not set(content) <= set(KINDS):
        raise CalibrationError(f"{where}: expected an object with keys among {', '.join(KINDS)}")
    found = {}
    for kind, one in content.items():
        lists = [one.get(name) if isinstance(one, dict) else None for name in ("confidence", "error")]
        if not all(isinstance(values, list) and all(type(v) in (int, float) for v in values) for values in lists):
            raise CalibrationError(f"{where}.{kind}: expected lists of numbers `confidence` and `error`")
        try:
            confidence, error = (tuple(map(float, values or ())) for values in lists)
            found[kind] = PartCalibration(confidence=confidence, error=error)
        except (CalibrationError, OverflowError) as wrong:
            raise CalibrationError(f"{where}.{kind}: {wrong}") from wrong
    return found
