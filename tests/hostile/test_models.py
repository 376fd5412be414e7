"""Model files: an ONNX file of a stranger reads no other file and names nothing of its own; tflite files are pinned."""

import ast
import os

import numpy as np
import pytest

from hardmo_jax.perception import model_files
from hardmo_jax.perception.onnx_model import OnnxModel, OnnxModelError
from tests.conftest import ROOT

onnx = pytest.importorskip("onnx", reason="makes the models; the `dev` extra")
pytest.importorskip("onnxruntime", reason="runs them; the `perception` extra")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SHAPE = (1, 3, 4, 4)
PICTURE = np.zeros(SHAPE, np.float32)
ADD = [helper.make_node("Add", ["input", "w"], ["output"])]
ONES = numpy_helper.from_array(np.ones(SHAPE, np.float32), "w")


def model(nodes, constants=(), *, domain=None, shape=SHAPE, output=SHAPE):
    pictures = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, output)
    graph = helper.make_graph(nodes, "made", [pictures], [answer], list(constants))
    domains = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=domains, ir_version=9).SerializeToString()


def elsewhere(location, offset=0):
    """A constant whose numbers lie in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=SHAPE, data_location=TensorProto.EXTERNAL)
    for key, told in (("location", location), ("offset", str(offset)), ("length", str(4 * PICTURE.size))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, told
    return tensor


def of_dims(*dims):
    tensor = TensorProto()
    tensor.CopyFrom(ONES)
    del tensor.dims[:]
    tensor.dims.extend(dims)
    return tensor


def filled(*dims):
    """An answer that is made of so many numbers when it is asked for."""
    sizes = numpy_helper.from_array(np.array(dims, np.int64), "s")
    return model([helper.make_node("ConstantOfShape", ["s"], ["output"])], [sizes], output=None)


WHOLE = model(ADD, [ONES])
HOSTILE = {
    "nothing": lambda: b"",
    "zeros": lambda: bytes(1000),
    "a pickle": lambda: b"\x80\x04cos\nsystem\n.",
    "a JSON text": lambda: b'{"a": 1}',
    "noise": lambda: np.random.default_rng(0).bytes(10_000),
    "cut off": lambda: WHOLE[: len(WHOLE) // 2],
    "an operator of its own": lambda: model(
        [helper.make_node("Evil", ["input"], ["output"], domain="evil")], domain="evil"
    ),
    "an operator that nobody knows": lambda: model([helper.make_node("Evil", ["input"], ["output"])]),
    "a constant of 2^60 numbers": lambda: model(ADD, [of_dims(1 << 60)]),
    "a constant whose size overflows": lambda: model(ADD, [of_dims(1 << 32, 1 << 32, 48)]),
    "a constant of negative size": lambda: model(ADD, [of_dims(-1, 3, 4, 4)]),
    "an answer of petabytes": lambda: filled(1 << 20, 1 << 20, 1 << 10),
    "an answer of negative size": lambda: filled(-5),
    "pictures of gigabytes": lambda: model(ADD, [ONES], shape=(1, 3, 1 << 16, 1 << 16)),
    "a graph that runs in a circle": lambda: model(
        [helper.make_node("Add", ["input", "b"], ["a"]), helper.make_node("Add", ["a", "a"], ["b"]), *ADD], [ONES]
    ),
    "an input that is not there": lambda: model(ADD),
    "a file above its folder": lambda: model(ADD, [elsewhere("../secret.bin")]),
    "a file of the machine": lambda: model(ADD, [elsewhere("/etc/passwd")]),
    "a link out of its folder": lambda: model(ADD, [elsewhere("link.bin")]),
    "a file that is not there": lambda: model(ADD, [elsewhere("none.bin")]),
    "a place beyond the file beside it": lambda: model(ADD, [elsewhere("beside.bin", 1 << 40)]),
}


@pytest.mark.parametrize("attack", list(HOSTILE))
def test_hostile_onnx_file_is_refused_in_one_line(attack, tmp_path):
    (tmp_path / "models").mkdir()
    for place in ("secret.bin", "models/beside.bin"):
        (tmp_path / place).write_bytes(np.arange(PICTURE.size, dtype="<f4").tobytes())
    os.symlink(tmp_path / "secret.bin", tmp_path / "models/link.bin")
    file = tmp_path / "models/m.onnx"
    file.write_bytes(HOSTILE[attack]())
    with pytest.raises(OnnxModelError, match=r"m\.onnx") as told:
        OnnxModel(file)(PICTURE)
    assert "\n" not in str(told.value)


def test_honest_onnx_file_is_run(tmp_path):
    (tmp_path / "m.onnx").write_bytes(WHOLE)
    np.testing.assert_array_equal(OnnxModel(tmp_path / "m.onnx")(PICTURE)["output"], np.ones(SHAPE))


def test_no_library_of_operators_is_ever_loaded():
    """It would be a program of the file's choice."""
    for path in (ROOT / "hardmo_jax").rglob("*.py"):
        assert "register_custom_ops_library" not in path.read_text(), path


@pytest.mark.parametrize("key", list(model_files.MODEL_FILES))
@pytest.mark.parametrize("damage", ["cut off", "a byte of it", "longer", "offsets beyond it", "nothing"])
def test_damaged_tflite_file_never_reaches_its_interpreter(key, damage, perception_models, tmp_path):
    """The interpreter is a program in C++ that trusts offsets: only files whose every byte is known are given to it."""
    pinned = model_files.MODEL_FILES[key]
    whole = model_files.model_path(perception_models, key).read_bytes()
    data = {
        "cut off": whole[: len(whole) // 2],
        "a byte of it": whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:],
        "longer": whole + b"\0",
        "offsets beyond it": b"\xff\xff\xff\x7f" + whole[4:],
        "nothing": b"",
    }[damage]
    (tmp_path / pinned.name).write_bytes(data)
    with pytest.raises(model_files.ModelFileError, match="differs from the pinned file"):
        model_files.model_path(tmp_path, key)


def test_every_tflite_file_comes_from_where_it_is_checked():
    """Whoever makes an interpreter asks `model_path` for its file, in the same call."""
    users = []
    texts = {path: path.read_text() for path in (ROOT / "hardmo_jax").rglob("*.py")}
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text)) if "LiteRtModel(" in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("LiteRtModel"):
                users.append(path.name)
                assert "model_path(" in ast.unparse(node.args[0]), path
    assert len(users) >= 4
