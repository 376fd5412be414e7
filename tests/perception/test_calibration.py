import json

import numpy as np
import pytest

from hardmo_jax.perception import calibration
from hardmo_jax.perception.calibration import CalibrationError, PartCalibration
from hardmo_jax.skeleton import layouts

LAYOUT = layouts.get_layout("openpose67")


def test_expected_error_falls_with_confidence_and_is_inverted():
    part = PartCalibration(confidence=(0.1, 0.5, 0.9), error=(0.1, 0.02, 0.005))
    confidence = np.array([0.05, 0.1, 0.3, 0.9, 1.0])
    np.testing.assert_allclose(part.expected_error(confidence), [0.1, 0.1, 0.06, 0.005, 0.005])
    inside = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(part.confidence_for(part.expected_error(inside)), inside)
    assert part.expected_error(np.zeros(1))[0] == np.inf
    assert part.confidence_for(np.array([np.inf]))[0] == 0


def test_level_stretches_are_inverted_to_their_lowest_confidence():
    part = PartCalibration(confidence=(0.1, 0.5, 0.9), error=(0.1, 0.02, 0.02))
    np.testing.assert_allclose(part.confidence_for(np.array([0.02, 0.001, 0.5])), [0.5, 0.5, 0.1])


def test_what_is_measured_is_what_was_put_in(rng):
    """Points whose error is a known function of their confidence, other for feet and hands."""
    scales = {"body": 0.01, "foot": 0.03, "hand": 0.06}
    confidence = rng.uniform(0.05, 1, (2000, len(LAYOUT)))
    kinds = [calibration.kind_of(point) for point in LAYOUT.points]
    scale = np.array([scales.get(kind, np.nan) if kind else np.nan for kind in kinds])
    error = scale / (0.5 + confidence) * np.abs(rng.normal(size=confidence.shape))
    error[:, LAYOUT.index("nose")] = np.nan
    found = calibration.measured(confidence, error, LAYOUT)
    assert set(found) == set(calibration.KINDS)
    for kind, part in found.items():
        at = np.array([0.2, 0.5, 0.8])
        # The median of the absolute value of a normal variable is 0.674 standard deviations.
        np.testing.assert_allclose(part.expected_error(at), 0.674 * scales[kind] / (0.5 + at), rtol=0.12)


def test_kinds_without_points_are_left_out(rng):
    confidence = np.where([calibration.kind_of(point) == "hand" for point in LAYOUT.points], 0, 0.7)[None].repeat(50, 0)
    found = calibration.measured(confidence, np.full(confidence.shape, 0.01), LAYOUT)
    assert set(found) == {"body", "foot"}
    assert found["body"].confidence == (0.7,), "one confidence is one knot"


def test_files_come_back_as_they_were_written(tmp_path):
    made = {"blazepose": {"hand": PartCalibration(confidence=(0.1, 0.9), error=(0.2, 0.01))}}
    calibration.write_calibrations(tmp_path / "c.json", made)
    assert calibration.read_calibrations(tmp_path / "c.json") == made


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"a": 3}', '{"a": {"elbow": {}}}', '{"a": {"hand": {"confidence": [1], "error": []}}}',
     '{"a": {"hand": {"confidence": [0.5, 0.4], "error": [2, 1]}}}',
     '{"a": {"hand": {"confidence": [1], "error": [NaN]}}}',
     '{"a": {"hand": {"confidence": [1], "error": [true]}}}', '{"a": {"hand": {"confidence": [1], "error": [0]}}}',
     json.dumps({"a": {"hand": {"confidence": [10**400], "error": [1]}}}), "[" * 10000],
)  # fmt: skip
def test_other_files_end_in_one_error(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(CalibrationError, match=r"c\.json"):
        calibration.read_calibrations(path)
