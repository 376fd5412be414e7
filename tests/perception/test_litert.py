import numpy as np
import pytest

from hardmo_jax.perception import litert, model_files

OUTPUTS = {"logits": litert.OutputTensor(tensor="Identity_1", shape=(2254, 1))}


def test_model_gives_named_outputs_and_checks_its_input(perception_models):
    path = model_files.model_path(perception_models, "pose_detection")
    model = litert.LiteRtModel(path, input_shape=(224, 224, 3), outputs=OUTPUTS)
    outputs = model(np.zeros((224, 224, 3), np.float32))
    assert {role: (array.shape, array.dtype.name) for role, array in outputs.items()} == {
        "logits": ((2254, 1), "float32")
    }
    before = outputs["logits"].copy()
    model(np.ones((224, 224, 3), np.float32))
    np.testing.assert_array_equal(outputs["logits"], before)
    with pytest.raises(ValueError, match="must be"):
        model(np.zeros((10, 10, 3), np.float32))


def test_a_model_with_other_tensors_is_refused(perception_models):
    path = model_files.model_path(perception_models, "pose_detection")
    with pytest.raises(ValueError, match="input is"):
        litert.LiteRtModel(path, input_shape=(192, 192, 3), outputs=OUTPUTS)
    wrong = {"x": litert.OutputTensor(tensor="Identity", shape=(1,))}
    with pytest.raises(ValueError, match=r"expected .* for 'x'"):
        litert.LiteRtModel(path, input_shape=(224, 224, 3), outputs=wrong)
