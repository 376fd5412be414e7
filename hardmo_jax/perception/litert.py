"""Running a tflite model: float32 image in, named float32 arrays out.

Nothing here knows what a model is for. `ai_edge_litert` is imported when a model is loaded.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.missing_packages import MissingPackageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputTensor:
    """One output of a model file."""

    tensor: str
    """Name of the tensor in the file."""
    shape: tuple[int, ...]
    """Its shape without the leading axis of one."""


class LiteRtModel:
    """A tflite model with one image input. Not safe to call from two threads at once."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        input_shape: tuple[int, int, int],
        outputs: Mapping[str, OutputTensor],
        num_threads: int = 1,
    ) -> None:
        """Load a model and check that it is what the caller expects.

        Args:
            path: The tflite file.
            input_shape: Height, width and channels of the input image.
            outputs: Meaning of each output tensor that is wanted.
            num_threads: Threads of one call.

        Raises:
            MissingPackageError: If `ai-edge-litert` is not installed.
            ValueError: If the model's tensors are not as expected.
        """
        try:
            from ai_edge_litert import interpreter as litert
        except ImportError as error:
            raise MissingPackageError(
                "the default perception needs ai-edge-litert; `pip install hardmo_jax[perception]`"
            ) from error
        if num_threads < 1:
            raise ValueError(f"`num_threads` must be at least 1, got {num_threads}")
        self._interpreter: Any = litert.Interpreter(model_path=os.fspath(path), num_threads=num_threads)
        self._interpreter.allocate_tensors()
        (input_details,) = self._interpreter.get_input_details()
        if tuple(input_details["shape"]) != (1, *input_shape):
            raise ValueError(f"{path}: input is {tuple(input_details['shape'])}, expected {(1, *input_shape)}")
        self.input_shape = input_shape
        self._input_index = int(input_details["index"])
        details = {entry["name"]: entry for entry in self._interpreter.get_output_details()}
        self._output_indices: dict[str, int] = {}
        self._output_shapes: dict[str, tuple[int, ...]] = {}
        for role, output in outputs.items():
            found = tuple(details[output.tensor]["shape"]) if output.tensor in details else None
            if found != (1, *output.shape):
                raise ValueError(
                    f"{path}: output {output.tensor!r} is {found}, expected {(1, *output.shape)} for {role!r}"
                )
            self._output_indices[role] = int(details[output.tensor]["index"])
            self._output_shapes[role] = output.shape

    def __call__(self, image: Float[np.ndarray, "H W C"]) -> dict[str, np.ndarray]:
        """Run the model.

        Args:
            image: Input in the value range that the model was trained with.

        Returns:
            Copy of each named output, without the leading axis of one.

        Raises:
            ValueError: If the image has another shape than the input.
        """
        if image.shape != self.input_shape:
            raise ValueError(f"`image` must be {self.input_shape}, got {image.shape}")
        self._interpreter.set_tensor(self._input_index, np.ascontiguousarray(image, np.float32)[None])
        self._interpreter.invoke()
        return {
            role: np.array(self._interpreter.get_tensor(index)[0], np.float32)
            for role, index in self._output_indices.items()
        }
