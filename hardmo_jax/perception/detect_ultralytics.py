"""Finding people with YOLO weights of ultralytics (`.pt`), boxes and points; needs the extra `yolo`.

ultralytics gives the layers, torch runs them. Pictures are prepared and boxes chosen as for every other detector
(`person_boxes`), so that the same weights written as ONNX find the same people, and torchvision is never imported:
beside a torch for the CPU its usual wheel fails at import.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.perception import yolo_checkpoint
from hardmo_jax.perception.person_boxes import PersonBox, best_boxes, fit_letterbox, person_class
from hardmo_jax.torch_file import TorchFileError

Kind = Literal["boxes", "pose"]
_COCO_POINTS = [17, 3]


class UltralyticsDetector:
    """Boxes of people, with points where the weights give them. Not safe to call from two threads at once."""

    def __init__(self, path: str | os.PathLike[str], *, num_threads: int = 2) -> None:
        """Load weights, onto the GPU where torch has one.

        Args:
            path: The `.pt` file, see `yolo_weights.find_weights`.
            num_threads: Threads of one call on the CPU.

        Raises:
            MissingPackageError: If ultralytics is not installed.
            FileNotFoundError: If there is no such file.
            TorchFileError: If it is no YOLO that finds people, or asks for more than YOLO needs.
        """
        if num_threads < 1:
            raise ValueError(f"`num_threads` must be at least 1, got {num_threads}")
        checkpoint = yolo_checkpoint.read_checkpoint(path)
        self._model: Any = yolo_checkpoint.build_model(checkpoint)
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device)
        self._num_threads = num_threads
        self._num_classes = int(self._model.model[-1].nc)
        self._person = _person_class(checkpoint.classes, str(path))
        self._stride = int(self._model.stride.max())
        self._side = max(checkpoint.image_side // self._stride, 1) * self._stride
        has_points = checkpoint.task == "pose" and list(self._model.kpt_shape) == _COCO_POINTS
        self.kind: Kind = "pose" if has_points else "boxes"
        """Whether people come with COCO's points; not from outlines, nor from weights for other points."""

    @property
    def gives_points(self) -> bool:
        """Whether people come with COCO's points."""
        return self.kind == "pose"

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], *, min_score: float) -> list[PersonBox]:
        """People of a picture, best first.

        Args:
            image: RGB.
            min_score: Least score.
        """
        import torch

        letterbox = fit_letterbox(image, self._size_for(image), is_centred=True)
        batch = torch.from_numpy(letterbox.image).to(self._device).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode(), _threads_of_torch(self._num_threads):
            found = self._model(batch)
            while isinstance(found, tuple | list):
                found = found[0]  # behind it come outlines and what the loss would need
            values = found[0].float().cpu().numpy()
        boxes, scores, points = self._people(values)
        return best_boxes(letterbox, boxes, scores, min_score=min_score, keypoints=points)

    def _size_for(self, image: np.ndarray) -> tuple[int, int]:
        """(width, height) that leaves the least border: the layers take any multiple of their stride."""
        height, width = image.shape[:2]
        scale = self._side / max(width, height)
        across, down = (max(-(-round(side * scale) // self._stride), 1) * self._stride for side in (width, height))
        return across, down

    def _people(
        self, values: Float[np.ndarray, "A B"]
    ) -> tuple[Float[np.ndarray, "N 4"], Float[np.ndarray, "N"], Float[np.ndarray, "N 17 3"] | None]:
        """Boxes, scores and points of people in pixels of the model's picture."""
        if self._model.end2end:
            rows = values[np.round(values[:, 5]) == self._person]
            boxes, scores, points = rows[:, :4], rows[:, 4], rows[:, 6:]
        else:
            classes = values[4 : 4 + self._num_classes]
            # A box is that of its best class.
            rows = values.T[classes.argmax(0) == self._person]
            centre, half = rows[:, :2], rows[:, 2:4] / 2
            boxes = np.concatenate([centre - half, centre + half], axis=1)
            scores, points = rows[:, 4 + self._person], rows[:, 4 + self._num_classes :]
        return boxes, scores, points.reshape(-1, *_COCO_POINTS) if self.kind == "pose" else None


def _person_class(names: Mapping[int, str], path: str) -> int:
    """Number of the class of people: the one of that name, or the only one.

    Raises:
        TorchFileError: If there are several and none is called so.
    """
    found = person_class(names)
    if found is None:
        raise TorchFileError(f"{path}: none of its classes is `person`: {', '.join(list(names.values())[:10])}")
    return found


@contextlib.contextmanager
def _threads_of_torch(count: int) -> Iterator[None]:
    """Set the threads of torch, which it counts for the whole process, and put them back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
