"""What goes on while somebody looks at labels: which one is shown, what was said of it, and its correction.

One thread does everything, in the order in which it was asked for; of moves of a point that is still being dragged only
the last one counts.
"""

import collections
import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase.correct import CorrectionError
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.correct_labels import correct_label, parts_moved
from hardmo_jax.pipelines.correction_session import CorrectionSession
from hardmo_jax.pipelines.label_edits import EditOutcome, LabelEdit, LabelEditError, with_edits
from hardmo_jax.pipelines.label_scene import (
    facts_of,
    shown_handles,
    shown_person,
    shown_scene,
    shown_timeline,
    table_of_parts,
    with_row,
)
from hardmo_jax.pipelines.viewed_labels import CASE_KINDS, Case, CaseKind, ViewedLabels, ViewedPicture
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz.shown import ShownHandle, ShownPanel, ShownPerson, ShownScene, ShownTimeline

#: A point that is farther than this from where it was put is out of reach, pixels and metres.
_OUT_OF_REACH_PIXELS, _OUT_OF_REACH_METRES = 4.0, 0.02
_ENDING_SECONDS = 60.0
_LOG = logging.getLogger(__name__)
#: Of what is gone through, what says what a person said.
_STATES = ("not looked at", "marked wrong", "corrected", "rejected")


@runtime_checkable
class Stage(Protocol):
    """Where a session is shown."""

    def show_scene(self, scene: ShownScene) -> None:
        """A picture and its people."""

    def show_panel(self, panel: ShownPanel) -> None:
        """Words beside it."""

    def show_handles(self, handles: dict[str, ShownHandle]) -> None:
        """Points that can be dragged."""


class ViewSessionError(ValueError):
    """Work of a person that could not be kept; the message says which."""


class ViewSession:
    """One person at work on the labels of one body; the actions of `viz.shown.ViewerActions`."""

    def __init__(
        self,
        rows: Sequence[LabelRow],
        body: BodyModel,
        *,
        picture: Callable[[ViewedPicture], tuple[UInt8[np.ndarray, "H W 3"] | None, str]],
        keep: Callable[[LabelEdit], None],
    ) -> None:
        """Begin with the first picture.

        Args:
            rows: All versions of labels of the body, one label at least.
            body: Theirs.
            picture: Gives pictures, or None and why there is none.
            keep: Puts what was said into the store.
        """
        self._labels = ViewedLabels(rows)
        self._body = body
        self._picture = picture
        self._keep = keep
        self._stage: Stage | None = None
        self._kind: CaseKind = "in order"
        self._cases: tuple[Case, ...] = self._labels.cases("in order")
        self._at = 0
        self._case = self._cases[0]
        self._correction: CorrectionSession | None = None
        self._with_fingers = False
        self._is_correcting = False
        self._dragged = ""
        self._people: tuple[ShownPerson, ...] = ()
        self._image: UInt8[np.ndarray, "H W 3"] | None = None
        self._message, self._is_wrong = "", False
        self._timeline: ShownTimeline | None = None
        self._timeline_of: tuple[str, str, int] | None = None
        self._waiting: collections.deque[tuple[str, Callable[[], None]]] = collections.deque()
        self._is_there = threading.Condition()
        self._is_idle = True
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="view", daemon=True)
        self._warming = threading.Thread(target=self._warm_up, name="warm-up", daemon=True)

    @property
    def num_pictures(self) -> int:
        """How many pictures there are."""
        return len(self._labels.pictures)

    def next_picture(self) -> int:
        """Index of the picture behind the one that is shown; the first behind the last."""
        return (self._labels.place_of(self._case.label_id) + 1) % self.num_pictures

    @property
    def placed(self) -> frozenset[str]:
        """Points that are placed in the correction that is going on."""
        return frozenset() if self._correction is None else self._correction.placed

    def begin(self, stage: Stage) -> None:
        """Show the first picture, and do what is asked for from now on."""
        self._stage = stage
        self._thread.start()
        self._do(self._show_all)
        self._warming.start()

    def close(self) -> None:
        """Keep what is not kept yet, do what was asked for, and end.

        Raises:
            ViewSessionError: If that could not be done.
        """
        self._do(self._end)
        with self._is_there:
            self._is_closed = True
            self._is_there.notify_all()
        # A program that ends while a thread of it compiles is aborted.
        for thread in (self._thread, self._warming):
            if thread.is_alive():
                thread.join(timeout=_ENDING_SECONDS)
        is_left = self._correction is not None and self._correction.is_changed
        if self._thread.is_alive() or self._waiting or is_left:
            row = self._row()
            raise ViewSessionError(
                f"what was done last could not be kept: look at {row.source_path}, frame {row.frame_index}, person "
                f"{row.track_id} again ({len(self._waiting)} things that were asked for were not done)"
            )

    def wait(self, timeout_seconds: float = 60.0) -> bool:
        """Wait until all that was asked for is done; False if it was not in time."""
        with self._is_there:
            return self._is_there.wait_for(lambda: self._is_idle and not self._waiting, timeout_seconds)

    # The thread ------------------------------------------------------------------------------------------

    def _do(self, action: Callable[[], None], *, name: str = "") -> None:
        with self._is_there:
            if self._is_closed:
                return
            if name and self._waiting and self._waiting[-1][0] == name:
                self._waiting.pop()
            self._waiting.append((name, action))
            self._is_there.notify_all()

    def _work(self) -> None:
        while True:
            with self._is_there:
                self._is_idle = not self._waiting
                self._is_there.notify_all()
                self._is_there.wait_for(lambda: bool(self._waiting) or self._is_closed)
                if not self._waiting:
                    return
                self._is_idle = False
                _, action = self._waiting.popleft()
            try:
                action()
            except (CorrectionError, LabelEditError) as error:
                self._tell_mishap(str(error))
            except Exception as error:  # whoever is at work must hear of it, and keep what they have
                _LOG.exception("the viewer could not do what was asked for")
                self._tell_mishap(f"this did not work: {type(error).__name__}: {error}")

    def _tell_mishap(self, message: str) -> None:
        """Say what went wrong, whatever else does: the thread must not end."""
        try:
            self._tell(message, is_wrong=True)
        except Exception:  # of what shows it
            _LOG.exception("the viewer could not say: %s", message)

    def _warm_up(self) -> None:
        """Compile what a correction needs before somebody waits for it."""
        row = self._labels.first_usable()
        if row is None:
            return
        names = layouts.get_layout(row.keypoint_layout).points
        for point in ("left_heel", "left_wrist"):
            if self._is_closed:
                return
            with contextlib.suppress(CorrectionError):
                correct_label(row, self._body, points={point: row.keypoints_2d[names.index(point)]})

    # What is asked for -----------------------------------------------------------------------------------

    def go_through(self, kind: str) -> None:
        """Choose what is gone through, and show the first of it."""
        known: CaseKind | None = next((one for one in CASE_KINDS if one == kind), None)
        if known is not None:
            self._do(lambda: self._go_through(known))

    def step(self, count: int) -> None:
        """Go on or back."""
        self._do(lambda: self._show_case(self._at + count))

    def show_picture(self, index: int) -> None:
        """Show a picture, with the person of the same track selected if there is one."""
        self._do(lambda: self._go_to_picture(index), name="picture")

    def select(self, name: str) -> None:
        """Select a person by the name in the panel."""
        self._do(lambda: self._select(dict(zip(self._names(), self._ids(), strict=True)).get(name)))

    def select_label(self, label_id: str) -> None:
        """Select a person by their label."""
        self._do(lambda: self._select(label_id))

    def look_at_part(self, part: str) -> None:
        """Look at another part of the same label, for what is zoomed to."""
        self._do(lambda: self._look_at_part(part))

    def review(self, word: str, label: tuple[str, int]) -> None:
        """Accept, reject, or take it back, of the label and version that was seen."""
        self._do(lambda: self._say(label, review=word))

    def mark(self, part: str, word: str | None, label: tuple[str, int]) -> None:
        """Say that a part of the label that was seen is wrong or right."""
        self._do(lambda: self._say(label, review_by_part={part: word}))

    def correct_by_hand(self, is_on: bool, with_fingers: bool) -> None:
        """Show handles, or hide them."""
        self._do(lambda: self._correct_by_hand(is_on, with_fingers))

    def drag(self, point: str, place: np.ndarray, phase: str, label_id: str) -> None:
        """Put a point of the label that was seen at pixels or in space."""
        name = f"drag {point} of {label_id}" if phase == "update" else ""
        self._do(lambda: self._drag(point, place, phase, label_id), name=name)

    def undo(self) -> None:
        """Take back the last drag."""
        self._do(self._undo)

    def save(self) -> None:
        """Keep the correction as a new version."""
        self._do(self._save)

    def discard(self) -> None:
        """Drop it."""
        self._do(self._discard)

    def replace(self, rows: Sequence[LabelRow]) -> None:
        """Go on with what somebody else left in the store, unless a correction is going on.

        Args:
            rows: All versions of all labels of the body.
        """
        self._do(lambda: self._replace(rows))

    def saved(self, outcomes: Sequence[EditOutcome], problem: str | None = None) -> None:
        """Hear what became of what was said."""
        self._do(lambda: self._saved(outcomes, problem))

    # How it is done --------------------------------------------------------------------------------------

    def _row(self) -> LabelRow:
        return self._labels.newest(self._case.label_id)

    def _viewed(self) -> ViewedPicture:
        return self._labels.pictures[self._labels.place_of(self._case.label_id)]

    def _ids(self) -> tuple[str, ...]:
        return self._viewed().people

    def _names(self) -> tuple[str, ...]:
        return tuple(f"person {self._labels.newest(label_id).track_id}" for label_id in self._ids())

    def _go_through(self, kind: CaseKind) -> None:
        self._keep_and_show()
        cases = self._labels.cases(kind)
        if not cases:
            self._tell(f"nothing is {kind}" if kind in _STATES else f"no {kind} are left to look at")
            return
        self._kind, self._cases = kind, cases
        self._show_case(0)

    def _show_case(self, at: int) -> None:
        self._keep_and_show()
        if not 0 <= at < len(self._cases):
            self._tell("this is the last one" if at > 0 else "this is the first one")
            return
        self._at, self._case = at, self._cases[at]
        self._message = ""
        self._show_all()

    def _go_to_picture(self, index: int) -> None:
        index = min(max(index, 0), len(self._labels.pictures) - 1)
        if index == self._labels.place_of(self._case.label_id):
            return
        self._keep_correction()
        track = self._row().track_id
        ids = self._labels.pictures[index].people
        same = [label_id for label_id in ids if self._labels.newest(label_id).track_id == track]
        self._case = Case(label_id=(same or list(ids))[0], part=self._case.part)
        found = [at for at, case in enumerate(self._cases) if case == self._case]
        self._at = found[0] if found else self._at
        self._message = ""
        self._show_all()

    def _select(self, label_id: str | None) -> None:
        if label_id is None or label_id == self._case.label_id or not self._labels.has(label_id):
            return
        self._keep_correction()
        self._case = dataclasses.replace(self._case, label_id=label_id)
        self._show_all()

    def _look_at_part(self, part: str) -> None:
        self._case = dataclasses.replace(self._case, part=part)
        self._show_correction()

    def _say(
        self,
        label: tuple[str, int],
        *,
        review: str | None = None,
        review_by_part: dict[str, str | None] | None = None,
    ) -> None:
        if label != (self._row().label_id, self._row().label_version):
            self._tell("that was about what was shown before; look at this one, and say it again", is_wrong=True)
            return
        self._keep_correction()
        row = self._row()
        if review == "accepted" and not row.is_usable:
            self._tell(f"there is nothing to accept: the fit of this label ended as {row.status}", is_wrong=True)
            return
        edit = LabelEdit(
            label_id=row.label_id,
            label_version=row.label_version,
            review=review,
            review_by_part=review_by_part,
            seen=row,
        )
        self._take(edit)
        self._show_all()

    def _take(self, edit: LabelEdit) -> None:
        """Into the store, and into what is shown, which hears of the store's own word later."""
        edit.check()
        self._keep(edit)
        self._labels.put(with_edits(self._labels.versions(edit.label_id), [edit]).rows)
        self._timeline_of = None
        self._message, self._is_wrong = "saving ...", False

    def _replace(self, rows: Sequence[LabelRow]) -> None:
        labels = ViewedLabels(rows)
        if self._correction is not None or not labels.has(self._case.label_id):
            self._tell("somebody else wrote to the labels; start the viewer again to see it", is_wrong=True)
            return
        before, self._labels, self._timeline_of = self._row(), labels, None
        self._cases = labels.cases(self._kind) if self._kind == "in order" else self._cases
        self._cases = tuple(case for case in self._cases if labels.has(case.label_id))
        self._at = min(self._at, max(len(self._cases) - 1, 0))
        self._show_all()
        if not before.same_as(self._row()):
            self._tell("somebody else changed this label: this is how it is now", is_wrong=True)

    def _saved(self, outcomes: Sequence[EditOutcome], problem: str | None) -> None:
        notes, is_other = [], False
        for outcome in outcomes:
            if outcome.row is None or outcome.note:
                row = outcome.row or outcome.before
                where = "" if row is None else f"{row.source_path}, frame {row.frame_index}: "
                notes.append(f"{where}{outcome.note}")
            newest = outcome.row or outcome.before
            if newest is not None and self._labels.has(newest.label_id):
                own = self._labels.versions(newest.label_id)
                is_other = is_other or own[-1].label_version != newest.label_version or bool(outcome.note)
                # The version that was expected may have got another number.
                older = [row for row in own if row.label_version < newest.label_version]
                older = [row for row in older if row.created_utc != newest.created_utc]
                self._labels.put([*older, newest])
        said = f"saved {len(outcomes)}" if outcomes else ""
        if is_other:
            # What is shown is not what the store holds: nobody is to judge it.
            self._timeline_of = None
            if self._correction is None:
                self._show_all()
        self._tell(problem or "; ".join(notes) or said, is_wrong=bool(problem or notes))

    def _correct_by_hand(self, is_on: bool, with_fingers: bool) -> None:
        if not is_on:
            self._keep_and_show()
        self._is_correcting, self._with_fingers = is_on, with_fingers
        if is_on and not self._row().is_usable:
            self._tell(f"this label has no pose to correct: its fit ended as {self._row().status}", is_wrong=True)
        if is_on and with_fingers and not any("index" in name for name in self._body.joint_names):
            self._tell(f"{self._body.name} ({self._body.family}) has no fingers to correct", is_wrong=True)
        self._show_correction()

    def _drag(self, point: str, place: np.ndarray, phase: str, label_id: str) -> None:
        if not self._is_correcting or label_id != self._case.label_id or not self._row().is_usable:
            return
        if phase == "start":
            if self._correction is None:
                self._correction = CorrectionSession(self._row(), self._body)
            self._correction.begin_move()
            self._dragged = point
        elif self._correction is None or self._dragged != point:
            return  # the rest of a drag of what was saved or left meanwhile
        try:
            self._correction.place(point, place)
        except CorrectionError:
            if phase == "start":
                self._correction.forget_move()
            raise
        self._message = ""
        self._show_correction()

    def _undo(self) -> None:
        if self._correction is None or not self._correction.undo():
            self._tell("there is nothing to take back")
            return
        self._show_correction()

    def _discard(self) -> None:
        self._correction = None
        self._show_all()

    def _save(self) -> None:
        if self._correction is None or not self._correction.is_changed:
            self._tell("there is nothing to keep: drag a point first")
            return
        self._keep_correction(is_said=True)
        self._show_all()

    def _keep_correction(self, *, is_said: bool = False) -> bool:
        """What was corrected is kept before anything else is looked at: nobody loses work by going on.

        Args:
            is_said: Whether the person says that the parts are right now; of the rest of the label nothing is said.

        Returns:
            Whether there was something. It stays where it is if it cannot be kept.
        """
        session, self._dragged = self._correction, ""
        made = None if session is None or not session.is_changed else session.corrected
        if session is not None and made is not None:
            row = session.row
            version = row.label_version
            words = dict.fromkeys(parts_moved(made.correction.joints), "right") if is_said else None
            edit = LabelEdit(
                label_id=row.label_id, label_version=version, review_by_part=words, corrected=made.row, seen=row
            )
            self._take(edit)
        self._correction = None
        return made is not None

    def _end(self) -> None:
        self._keep_correction()

    def _keep_and_show(self) -> None:
        """The same where the label stays in sight: as it is now."""
        if self._keep_correction():
            self._show_all()

    # What is shown ---------------------------------------------------------------------------------------

    def _show_all(self) -> None:
        rows = [self._labels.newest(label_id) for label_id in self._ids()]
        self._image, why = self._picture(self._viewed())
        if why and not self._message:
            self._message, self._is_wrong = why, True
        self._people = tuple(
            shown_person(row, self._body, former=self._labels.former(row.label_id)) for row in rows if row.is_usable
        )
        self._show_correction()

    def _show_correction(self) -> None:
        if self._stage is None:
            return
        rows = [self._labels.newest(label_id) for label_id in self._ids()]
        row = self._row() if self._correction is None else self._correction.current
        people = self._people
        if self._correction is not None and row.is_usable:
            people = with_row(people, row, self._body)
        self._stage.show_scene(shown_scene(rows, people, row, self._case.part, self._image))
        handles = {}
        if self._is_correcting and row.is_usable:
            handles = shown_handles(
                row, self._body, part=self._case.part, placed=self.placed, with_fingers=self._with_fingers
            )
        self._stage.show_handles(handles)
        self._show_panel(row)

    def _tell(self, message: str, *, is_wrong: bool = False) -> None:
        self._message, self._is_wrong = message, is_wrong
        self._show_panel(self._row() if self._correction is None else self._correction.current)

    def _show_panel(self, row: LabelRow) -> None:
        if self._stage is None:
            return
        ids = self._ids()
        is_changed = self._correction is not None and self._correction.is_changed
        self._stage.show_panel(
            ShownPanel(
                label=(row.label_id, self._row().label_version),
                case=f"{self._kind}, {self._at + 1} of {len(self._cases)}: {self._case.part.replace('_', ' ')}",
                picture=self._labels.place_of(self._case.label_id),
                people=self._names(),
                person=self._names()[ids.index(self._case.label_id)],
                facts=facts_of(row),
                parts=table_of_parts(row),
                correction=self._told_correction(),
                timeline=self._told_timeline(),
                message=self._message,
                is_wrong=self._is_wrong,
                can_undo=self._correction is not None and self._correction.can_undo,
                can_save=is_changed,
            )
        )

    def _told_timeline(self) -> ShownTimeline | None:
        """Of the person, made anew when another person, or another version of a label, is looked at."""
        row = self._row()
        if self._timeline_of != (row.source_path, row.source_sha256, row.track_id):
            self._timeline = shown_timeline(self._labels, row.label_id)
            self._timeline_of = (row.source_path, row.source_sha256, row.track_id)
        return self._timeline

    def _told_correction(self) -> tuple[str, ...]:
        if not self._is_correcting:
            return ()
        if self._correction is None or self._correction.corrected is None:
            return (
                "Drag a point of a foot, hand, arm or leg to where it is: on the picture from its camera (V, X), in "
                "space from elsewhere.",
            )
        found = self._correction.corrected.correction
        lines = []
        for name, error in found.pixel_errors.items():
            far = f"  (out of reach: {_why_out_of_reach(name)})" if error > _OUT_OF_REACH_PIXELS else ""
            lines.append(f"{name.replace('_', ' ')}: {error:.1f} px off{far}")
        for name, error in found.metre_errors.items():
            far = "  (out of reach)" if error > _OUT_OF_REACH_METRES else ""
            lines.append(f"{name.replace('_', ' ')}: {1000 * error:.0f} mm off{far}")
        return (*lines, "Not saved yet; going on saves it.")


def _why_out_of_reach(point: str) -> str:
    """What would have to move for a point to be met."""
    if point.endswith(("_knee", "_ankle")):
        return "the hip lies elsewhere, or the body is of another size, which is not changed here"
    if point.endswith(("_elbow", "_wrist", "_hand_root")):
        return "the shoulder lies elsewhere, or the body is of another size, which is not changed here"
    return "move the joint above it too"
