"""Options that contradict each other are refused, with what to say instead."""

import pytest

from hardmo_jax.options import OptionsError, from_mapping
from hardmo_jax.perception import calibration, load_source
from hardmo_jax.perception.calibration import PartCalibration
from hardmo_jax.perception.source_options import PartSourceOptions, PerceptionOptions


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"detector": "same"}, "must be one of"),
        ({"keypoints": "onnx"}, "need a `keypoints_file`"),
        ({"keypoints": "blazepose", "keypoints_file": "a.onnx"}, "leave one of the two out"),
        ({"keypoints": "detector", "keypoints_file": "a.onnx"}, "leave one of the two out"),
        ({"keypoints": "files"}, "detector=files"),
        ({"detector": "files"}, "needs a `keypoints_file`"),
        ({"detector": "files", "keypoints_file": "a", "keypoints": "blazepose"}, "brings keypoints"),
        ({"keypoints_file": "a.json"}, "detector=files"),
        ({"detector": "blazepose", "allow_download": True}, "for weights"),
        ({"calibration": "a.json"}, "feet_from"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        PerceptionOptions(**fields)


@pytest.mark.parametrize("field", ["detector", "keypoints", "heatmaps", "tracker"])
def test_unknown_names_are_refused(field):
    with pytest.raises(OptionsError, match=f"{field}: 'rtm' is not one of"):
        from_mapping(PerceptionOptions, {field: "rtm"})


def test_parts_need_a_source_of_their_own():
    with pytest.raises(ValueError, match="need a `detector` of their own"):
        PartSourceOptions(keypoints="blazepose")
    with pytest.raises(ValueError, match="`keypoints_layout`"):
        PartSourceOptions(keypoints_layout="coco17")
    assert not PartSourceOptions().is_asked
    assert PartSourceOptions(keypoints_file="a.onnx").is_asked
    assert PartSourceOptions(detector="blazepose").is_asked
    assert PartSourceOptions(detector_file="a.onnx").is_asked


def test_hands_by_another_model_have_its_calibration():
    hand, body = (PartCalibration(confidence=(0.5,), error=(error,)) for error in (0.1, 0.2))
    table = {"blazepose": {"hand": hand}, "onnx:a.onnx": {"body": body}}
    assert calibration.known_of(table, "onnx:a.onnx; hands: blazepose") == {"body": body, "hand": hand}
    assert calibration.known_of(table, "onnx:a.onnx") == {"body": body}


def test_a_calibration_that_knows_nothing_of_a_source_is_refused(tmp_path, perception_models):
    path = tmp_path / "c.json"
    calibration.write_calibrations(path, {"nobody": {"hand": PartCalibration(confidence=(0.5,), error=(0.1,))}})
    options = PerceptionOptions(
        detector="blazepose", hands_from=PartSourceOptions(detector="blazepose"), calibration=str(path)
    )
    with pytest.raises(load_source.SourceError, match="says nothing of hands by blazepose"):
        load_source.load_source(perception_models, options)
