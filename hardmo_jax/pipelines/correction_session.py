"""The correction of one label while it goes on: points placed so far, what was solved for them, and the way back."""

from collections.abc import Mapping

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.correct_labels import CorrectedLabel, correct_label

_Placed = dict[str, np.ndarray]


class CorrectionSession:
    """One label that a person corrects. Not for several threads."""

    def __init__(self, row: LabelRow, body: BodyModel) -> None:
        """Begin with the label as it is.

        Args:
            row: A usable label.
            body: Its body.
        """
        self.row = row
        """The label before the correction."""
        self.corrected: CorrectedLabel | None = None
        """The label now; None if nothing is placed."""
        self._body = body
        self._points: _Placed = {}
        self._points_3d: _Placed = {}
        self._former: list[tuple[_Placed, _Placed]] = []

    @property
    def is_changed(self) -> bool:
        """Whether anything is placed."""
        return bool(self._points or self._points_3d)

    @property
    def can_undo(self) -> bool:
        """Whether there is a way back."""
        return bool(self._former)

    @property
    def placed(self) -> frozenset[str]:
        """Points that are placed now."""
        return frozenset(self._points) | frozenset(self._points_3d)

    @property
    def current(self) -> LabelRow:
        """The label as it is to be shown."""
        return self.row if self.corrected is None else self.corrected.row

    def begin_move(self) -> None:
        """Remember the state that `undo` comes back to: once for each drag, however many moves it is made of."""
        self._former.append((dict(self._points), dict(self._points_3d)))

    def forget_move(self) -> None:
        """Forget the last state that was remembered: the drag came to nothing."""
        self._former.pop()

    def place(self, point: str, place: Float[np.ndarray, "_"]) -> CorrectedLabel:
        """Put a point somewhere, and solve the part that it belongs to.

        Args:
            point: Name of a keypoint.
            place: Pixels of the full image (two numbers), or metres in the camera frame (three).

        Raises:
            hardmo_jax.hardcase.correct.CorrectionError: If it cannot be placed; the session stays as it was.
        """
        points, points_3d = dict(self._points), dict(self._points_3d)
        points.pop(point, None)
        points_3d.pop(point, None)
        (points if len(place) == 2 else points_3d)[point] = np.asarray(place, np.float32)
        self.corrected = self._solved(points, points_3d)
        self._points, self._points_3d = points, points_3d
        return self.corrected

    def undo(self) -> bool:
        """Go back to before the last drag; False if there was none."""
        if not self._former:
            return False
        self._points, self._points_3d = self._former.pop()
        self.corrected = self._solved(self._points, self._points_3d) if self.is_changed else None
        return True

    def _solved(self, points: Mapping[str, np.ndarray], points_3d: Mapping[str, np.ndarray]) -> CorrectedLabel:
        current = None if self.corrected is None else self.corrected.row
        return correct_label(self.row, self._body, points=points, points_3d=points_3d, current=current)
