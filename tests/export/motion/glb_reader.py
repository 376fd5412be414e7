"""Reads GLB files and plays them, in NumPy and float64 by the text of the glTF 2.0 specification: nothing of ours."""

import json
import struct

import numpy as np

_COMPONENTS = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class GlbFile:
    """One file: its JSON as `tree`, and what is at a time."""

    def __init__(self, data):
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        chunks, at = [], 12
        while at < length:
            size, kind = struct.unpack_from("<II", data, at)
            assert size % 4 == 0
            chunks.append((kind, data[at + 8 : at + 8 + size]))
            at += 8 + size
        assert [kind for kind, _ in chunks] == [0x4E4F534A, 0x004E4942]
        self.tree = json.loads(chunks[0][1])
        self._binary = chunks[1][1]
        self._nodes = {node["name"]: index for index, node in enumerate(self.tree["nodes"])}

    def array(self, accessor):
        """Content of an accessor: rows of numbers, matrices as (N, 4, 4)."""
        entry = self.tree["accessors"][accessor]
        view = self.tree["bufferViews"][entry["bufferView"]]
        width = _SIZES[entry["type"]]
        start = view["byteOffset"] + entry.get("byteOffset", 0)
        flat = np.frombuffer(self._binary, _COMPONENTS[entry["componentType"]], entry["count"] * width, start)
        rows = flat.reshape(-1, width).astype(np.float64 if flat.dtype.kind == "f" else np.int64)
        return rows.reshape(-1, 4, 4).swapaxes(1, 2) if entry["type"] == "MAT4" else rows

    def world_matrices(self, time):
        """Of all nodes at a time, seconds."""
        poses = [
            {
                "translation": np.array(node.get("translation", (0, 0, 0)), float),
                "rotation": np.array(node.get("rotation", (0, 0, 0, 1)), float),
                "scale": np.array(node.get("scale", (1, 1, 1)), float),
            }
            for node in self.tree["nodes"]
        ]
        for animation in self.tree.get("animations", ()):
            for channel in animation["channels"]:
                target, sampler = channel["target"], animation["samplers"][channel["sampler"]]
                poses[target["node"]][target["path"]] = self._sampled(sampler, target["path"], time)
        world = [None] * len(poses)

        def visit(node, above):
            world[node] = above @ _matrix(**poses[node])
            for child in self.tree["nodes"][node].get("children", ()):
                visit(child, world[node])

        for root in self.tree["scenes"][self.tree["scene"]]["nodes"]:
            visit(root, np.eye(4))
        return np.array(world)

    def _sampled(self, sampler, path, time):
        times, values = self.array(sampler["input"])[:, 0], self.array(sampler["output"])
        time = min(max(time, times[0]), times[-1])
        after = min(np.searchsorted(times, time, side="right"), len(times) - 1)
        before = max(after - 1, 0)
        if time >= times[-1]:
            return values[-1]
        if sampler["interpolation"] == "STEP":
            return values[before]
        share = (time - times[before]) / (times[after] - times[before])
        if path != "rotation":
            return (1 - share) * values[before] + share * values[after]
        angle = np.arccos(min(abs(values[before] @ values[after]), 1.0))
        if angle < 1e-6:
            return values[before]
        sign = np.sign(values[before] @ values[after])
        return (np.sin((1 - share) * angle) * values[before] + sign * np.sin(share * angle) * values[after]) / np.sin(
            angle
        )

    def vertices(self, mesh_node, world):
        """Skinned vertices of a node, where a world of matrices puts them."""
        node = self.tree["nodes"][self._nodes[mesh_node]]
        skin = self.tree["skins"][node["skin"]]
        moved = world[skin["joints"]] @ self.array(skin["inverseBindMatrices"])
        attributes = self.attributes(mesh_node)
        rest = np.concatenate([attributes["POSITION"], np.ones((len(attributes["POSITION"]), 1))], axis=1)
        total = np.zeros((len(rest), 4))
        for four in range(sum(name.startswith("JOINTS") for name in attributes)):
            joints, weights = attributes[f"JOINTS_{four}"], attributes[f"WEIGHTS_{four}"]
            for slot in range(4):
                total += weights[:, slot, None] * np.einsum("vab,vb->va", moved[joints[:, slot]], rest)
        return total[:, :3]

    def attributes(self, mesh_node):
        """Arrays of the one primitive of a node."""
        mesh = self.tree["meshes"][self.tree["nodes"][self._nodes[mesh_node]]["mesh"]]
        (primitive,) = mesh["primitives"]
        arrays = {name: self.array(accessor) for name, accessor in primitive["attributes"].items()}
        return arrays | {"indices": self.array(primitive["indices"]).reshape(-1, 3)}

    def places(self, names, world):
        """Positions of nodes."""
        return world[[self._nodes[name] for name in names], :3, 3]

    def sizes(self, name, world):
        """How far a node stretches its axes."""
        return np.linalg.norm(world[self._nodes[name], :3, :3], axis=0)

    def project(self, points, world, image_size):
        """Pixels of points, the centre of the top-left pixel at (0, 0), by the file's camera."""
        index = self._nodes["camera"]
        lens = self.tree["cameras"][self.tree["nodes"][index]["camera"]]["perspective"]
        seen = (np.concatenate([points, np.ones((len(points), 1))], axis=1) @ np.linalg.inv(world[index]).T)[:, :3]
        scale = 1 / np.tan(lens["yfov"] / 2)
        x = scale / lens["aspectRatio"] * seen[:, 0] / -seen[:, 2]
        y = scale * seen[:, 1] / -seen[:, 2]
        width, height = image_size
        return np.stack([(x + 1) / 2 * width - 0.5, (1 - y) / 2 * height - 0.5], axis=1)


def _matrix(translation, rotation, scale):
    x, y, z, w = rotation
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * scale, translation
    return matrix
