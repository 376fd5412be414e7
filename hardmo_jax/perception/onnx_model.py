"""ONNX files of others: opened within bounds, asked for what they take and give, run with a warm session."""

import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from hardmo_jax.missing_packages import MissingPackageError

#: The largest whole-body models have 1.3 GB.
MAX_BYTES = 2 << 30
#: Numbers of one call's pictures that a file may fix.
_MAX_NUMBERS = 1 << 28


class OnnxModelError(ValueError):
    """A file is no model that can be used here; the message says why."""


class OnnxModel:
    """A model with one picture batch as its input. Not safe to call from two threads at once."""

    def __init__(self, path: str | os.PathLike[str], *, num_threads: int = 2) -> None:
        """Load a model, on the GPU where onnxruntime has one.

        Args:
            path: The `.onnx` file.
            num_threads: Threads of one call.

        Raises:
            MissingPackageError: If onnxruntime is not installed.
            FileNotFoundError: If there is no such file.
            OnnxModelError: If it is too large, no ONNX model, or takes anything else than pictures.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingPackageError("ONNX models need onnxruntime; `pip install hardmo_jax[perception]`") from error
        self.path = pathlib.Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such ONNX file")
        if self.path.stat().st_size > MAX_BYTES:
            raise OnnxModelError(f"{self.path}: larger than {MAX_BYTES >> 30} GiB, the most that is read")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3
        wanted = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self._session: Any = onnxruntime.InferenceSession(os.fspath(self.path), options, providers=providers)
        except Exception as error:  # onnxruntime raises many kinds of its own
            raise OnnxModelError(
                f"{self.path}: not an ONNX model that can be run ({' '.join(str(error).split())[:200]})"
            ) from error
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape) if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, "channels") or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise OnnxModelError(f"{self.path}: expected one float input (batch, 3, height, width), found {found}")
        fixed = [one for one in shape if isinstance(one, int)]
        if min(fixed, default=1) < 1 or math.prod(fixed) > _MAX_NUMBERS:
            raise OnnxModelError(f"{self.path}: takes pictures of the shape {shape}, which are none or too large")
        self._input_name = inputs[0].name
        self.input_size: tuple[int, int] | None = None
        """(width, height) if the model fixes it."""
        if isinstance(shape[2], int) and isinstance(shape[3], int):
            self.input_size = (shape[3], shape[2])
        self.batch_size = shape[0] if isinstance(shape[0], int) else None
        """Pictures of one call, if the model fixes them."""
        self.outputs: Mapping[str, tuple[int | str | None, ...]] = {
            one.name: tuple(one.shape) for one in self._session.get_outputs()
        }
        """Shapes as the file tells them, by name; text or None where they are free."""
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        """What the file says of itself: of ultralytics' files `task` and `names` of the classes."""

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Run the model.

        Args:
            batch: float32, (B, 3, height, width).

        Returns:
            Outputs by name.

        Raises:
            OnnxModelError: If the model does not take such a batch, or fails.
        """
        names = list(self.outputs)
        try:
            found = self._session.run(names, {self._input_name: np.ascontiguousarray(batch, np.float32)})
        except Exception as error:  # onnxruntime raises many kinds of its own
            raise OnnxModelError(
                f"{self.path}: fails at pictures of the shape {batch.shape} ({' '.join(str(error).split())[:200]})"
            ) from error
        return dict(zip(names, map(np.asarray, found), strict=True))
