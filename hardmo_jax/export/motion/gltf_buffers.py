"""The binary half of a glTF 2.0 file: arrays as accessors into one buffer, and the container that holds both halves.

Khronos Group, "glTF 2.0 Specification", sections 3.6 (binary data storage) and 4 (GLB file format).
"""

import json
import struct
from typing import Any, Literal

import numpy as np

from hardmo_jax.export.source_names import ExportError

#: What an accessor is for: `indices` of triangles, an `attribute` of vertices, or `values` of animations and skins.
Usage = Literal["indices", "attribute", "values"]

_COMPONENTS = {np.dtype(np.uint8): 5121, np.dtype(np.uint16): 5123, np.dtype(np.uint32): 5125, np.dtype("<f4"): 5126}
_KINDS = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
_TARGETS = {"indices": 34963, "attribute": 34962, "values": None}
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_HEADER = struct.Struct("<4sII")
_CHUNK_HEADER = struct.Struct("<II")


class GltfBuffer:
    """Arrays of one file, each stored once however often it is asked for."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._places: dict[tuple[Usage, str, tuple[int, ...], bytes], int] = {}

    def add(self, array: np.ndarray, usage: Usage, *, bounds: bool = False) -> int:
        """Store an array, unless the same one is there.

        Args:
            array: Elements along the first axis: numbers, vectors of three or four, or matrices of 4 x 4. Real numbers
                are stored as float32; integers must be unsigned, of at most 32 bits.
            usage: Arrays are shared among equal usages only.
            bounds: Whether the least and greatest element are stated, as the format demands of positions and times.

        Returns:
            Index of the accessor.
        """
        array = np.asarray(array)
        if array.dtype.kind == "f":
            array = array.astype("<f4")
        # Matrices lie column by column.
        stored = np.ascontiguousarray(np.swapaxes(array, 1, 2) if array.ndim == 3 else array)
        data = stored.tobytes()
        key = (usage, stored.dtype.str, stored.shape, data)
        if key not in self._places:
            self._places[key] = len(self._accessors)
            accessor = {
                "bufferView": self._view(data, usage),
                "componentType": _COMPONENTS[stored.dtype],
                "count": len(stored),
                "type": _KINDS[stored.shape[1:]],
            }
            if bounds:
                # As Python's floats these are the float32 exactly, which is what a reader compares them with.
                accessor["min"] = np.atleast_1d(stored.min(axis=0)).tolist()
                accessor["max"] = np.atleast_1d(stored.max(axis=0)).tolist()
            self._accessors.append(accessor)
        return self._places[key]

    def _view(self, data: bytes, usage: Usage) -> int:
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        if (target := _TARGETS[usage]) is not None:
            view["target"] = target
        self._views.append(view)
        # Every view begins at a multiple of four, which is enough for every component.
        data += b"\0" * (-len(data) % 4)
        self._pieces.append(data)
        self._length += len(data)
        return len(self._views) - 1

    def as_glb(self, document: dict[str, Any]) -> bytes:
        """A whole file.

        Args:
            document: The JSON half without its accessors and buffers.

        Raises:
            ExportError: If the file would be larger than the format can say.
        """
        whole = {
            **document,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": self._length}],
        }
        text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        total = _HEADER.size + 2 * _CHUNK_HEADER.size + len(text) + self._length
        if total >= 2**32:
            raise ExportError(
                f"the scene needs a GLB of {total / 2**30:.1f} GiB, and the format ends at 4; export it in parts with "
                "fewer frames or people"
            )
        return b"".join(
            [
                _HEADER.pack(b"glTF", 2, total),
                _CHUNK_HEADER.pack(len(text), _JSON_CHUNK),
                text,
                _CHUNK_HEADER.pack(self._length, _BINARY_CHUNK),
                *self._pieces,
            ]
        )
