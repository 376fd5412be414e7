"""ONNX models made by hand, whose answers are known: the brightest pixel is where every point is."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(path, nodes, inputs, outputs, constants=(), metadata=None):
    """Write a graph; shapes are (name, shape) pairs of floats. `metadata` are texts by name."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs]
    found = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, shape, kind in (one if len(one) == 3 else (*one, TensorProto.FLOAT) for one in outputs)
    ]
    kept = [numpy_helper.from_array(array, name) for name, array in constants]
    graph = helper.make_graph(nodes, "handmade", values, found, kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


def simcc(path, *, count=17, size=(192, 256), batch="batch", second_channel=None):
    """Every point at the brightest column and row of the first channel; one of another channel if that is asked for."""
    width, height = size
    nodes = []
    for name, axis in (("x", 2), ("y", 3)):
        nodes += [
            helper.make_node("ReduceMax", ["input"], [f"{name}_all"], axes=[axis], keepdims=0),  # (B, 3, length)
            helper.make_node("Gather", [f"{name}_all", "channels"], [f"{name}_points"], axis=1),  # (B, K, length)
            helper.make_node("Unsqueeze", [f"{name}_points", "last"], [f"{name}_thin"]),
            helper.make_node("Mul", [f"{name}_thin", "halves"], [f"{name}_wide"]),  # (B, K, length, 2)
            helper.make_node("Reshape", [f"{name}_wide", f"{name}_shape"], [f"simcc_{name}"]),
        ]
    channels = np.zeros(count, np.int64)
    for point, channel in (second_channel or {}).items():
        channels[point] = channel
    constants = [
        ("channels", channels),
        ("last", np.array([3], np.int64)),
        # The first of the two bins of a pixel is the higher one.
        ("halves", np.array([1.0, 0.9], np.float32).reshape(1, 1, 1, 2)),
        ("x_shape", np.array([-1, count, 2 * width], np.int64)),
        ("y_shape", np.array([-1, count, 2 * height], np.int64)),
    ]
    outputs = [("simcc_x", [batch, count, 2 * width]), ("simcc_y", [batch, count, 2 * height])]
    return save(path, nodes, [("input", [batch, 3, height, width])], outputs, constants)


def heatmaps(path, *, count=17, size=(192, 256)):
    """Every point at the brightest cell of four pixels, of the first channel."""
    width, height = size
    nodes = [
        helper.make_node("Gather", ["input", "channels"], ["points"], axis=1),
        helper.make_node("AveragePool", ["points"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Relu", ["cells"], ["heatmaps"]),
    ]
    return save(
        path, nodes, [("input", ["batch", 3, height, width])],
        [("heatmaps", ["batch", count, height // 4, width // 4])], [("channels", np.zeros(count, np.int64))],
    )  # fmt: skip


def constant(path, outputs, *, size=(640, 640), batch=1, metadata=None):
    """Gives the same whatever the picture; `outputs` are arrays by name."""
    nodes = [helper.make_node("Identity", [f"{name}_value"], [name]) for name in outputs]
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    told = [(name, list(array.shape), kinds[array.dtype]) for name, array in outputs.items()]
    constants = [(f"{name}_value", array) for name, array in outputs.items()]
    return save(path, nodes, [("input", [batch, 3, size[1], size[0]])], told, constants, metadata)
