"""Labels looked at, judged and corrected in a browser on this machine."""

import contextlib
import dataclasses
import os
import pathlib
import threading
import time
from collections.abc import Callable

from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelError, LabelRow
from hardmo_jax.pipelines.annotate_options import load_body_option
from hardmo_jax.pipelines.body_of_labels import body_option_of_labels
from hardmo_jax.pipelines.label_editor import LabelEditor, SaveReport
from hardmo_jax.pipelines.label_rows import split_by_body
from hardmo_jax.pipelines.labelled_pictures import picture_root
from hardmo_jax.pipelines.shared_store import labels_file
from hardmo_jax.pipelines.view_pictures import PictureSource
from hardmo_jax.pipelines.view_session import ViewSession
from hardmo_jax.pipelines.viewed_labels import CASE_KINDS
from hardmo_jax.viz.mesh_parts import mesh_parts
from hardmo_jax.viz.viewer import Viewer

#: Pictures a second while they follow each other; slower where a picture takes longer.
_PLAYED_PER_SECOND = 12.0
_LOOK_AGAIN_SECONDS = 2.0


class ViewError(LabelError):
    """Labels that cannot be looked at; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenView:
    """A viewer that is at work."""

    address: str
    """To open in a browser."""
    num_labels: int
    num_pictures: int
    warnings: tuple[str, ...]
    session: ViewSession
    viewer: Viewer
    wait: Callable[[], None]
    """Blocks until it is interrupted."""
    close: Callable[[], None]
    """Writes what waits, and stops to serve; raises what could not be written."""


def open_view(
    labels: str | os.PathLike[str],
    *,
    pictures: str | os.PathLike[str] | None = None,
    body: str | os.PathLike[str] | None = None,
    port: int = 8080,
    is_dark: bool = True,
) -> OpenView:
    """Open labels in a viewer.

    Args:
        labels: File of labels, or folder with a `labels.parquet`; what is said of them is written there.
        pictures: Folder or video that was labelled; None takes what `run.json` beside the labels says.
        body: File of the body of the labels; None takes what `run.json` says, else the open body.
        port: On this machine; the next free one if it is taken.
        is_dark: Dark or light page.

    Raises:
        FileNotFoundError: If there are no labels, or the given pictures are not there.
        hardmo_jax.labels.schema.LabelError: If the labels are damaged or of a newer version.
        hardmo_jax.body.array_files.BodyFileError: If the body's file is not one.
        ViewError: If there is no label of the body.
        hardmo_jax.missing_packages.MissingPackageError: If viser is not installed.
    """
    path = labels_file(labels)
    rows = store.read_labels(path).rows
    if not rows:
        raise ViewError(f"{path}: no label is in it; `tools.annotate` makes some")
    option = body_option_of_labels(rows, provenance.read_run(path), body)
    model = load_body_option(option)
    own, others = split_by_body(rows, model)
    if not own:
        first: LabelRow = rows[0]
        raise ViewError(
            f"{path}: labels are of the body {first.body_model} ({first.body_model_sha256[:12]}), which is not the one "
            "that was loaded; give the file that they were made with as --body"
        )
    warnings = [f"{len(others)} labels of other bodies are not shown"] if others else []
    root = picture_root(path, pictures)

    def report(told: SaveReport) -> None:
        problem = None if told.trouble is None else f"not saved yet, it is tried again: {told.trouble}"
        session.saved(told.outcomes, problem)
        if problem is None:
            known[:] = [_signature(path)]

    known = [_signature(path)]
    editor = LabelEditor(path, report=report)
    session = ViewSession(own, model, picture=PictureSource(root, beside=path.parent), keep=editor.put)
    num_pictures = session.num_pictures
    try:
        viewer = Viewer(
            session, mesh_parts(model), title=str(labels), kinds=CASE_KINDS, num_pictures=num_pictures, port=port,
            is_dark=is_dark,
        )  # fmt: skip
    except BaseException:
        editor.close()
        raise
    session.begin(viewer)
    ended = threading.Event()
    player = threading.Thread(target=_play, args=(viewer, session, ended), name="play", daemon=True)
    player.start()

    def look_again() -> None:
        """Show what others write to the labels."""
        while not ended.wait(_LOOK_AGAIN_SECONDS):
            now = _signature(path)
            if now == known[0] or now is None or editor.num_waiting:
                continue
            try:
                rows = split_by_body(store.read_labels(path).rows, model)[0]
            except (LabelError, OSError):
                continue  # being written; it is looked at again
            if _signature(path) == now:
                known[:] = [now]
                session.replace(rows)

    threading.Thread(target=look_again, name="look again", daemon=True).start()

    def close() -> None:
        ended.set()
        # Whatever fails, all of it is done; the first failure is told.
        with contextlib.ExitStack() as stack:
            stack.callback(editor.close)
            stack.callback(viewer.close)
            stack.callback(session.close)

    def wait() -> None:
        while not ended.wait(0.5):
            pass

    return OpenView(
        address=f"http://127.0.0.1:{viewer.port}",
        num_labels=len({row.label_id for row in own}),
        num_pictures=num_pictures,
        warnings=tuple(warnings),
        session=session,
        viewer=viewer,
        wait=wait,
        close=close,
    )


def _signature(path: pathlib.Path) -> tuple[int, int, int] | None:
    """What changes when a file is written; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _play(viewer: Viewer, session: ViewSession, ended: threading.Event) -> None:
    """Show one picture after the other while the viewer is to play."""
    while not ended.wait(1 / _PLAYED_PER_SECOND):
        if viewer.is_playing:
            start = time.monotonic()
            session.show_picture(session.next_picture())
            session.wait()
            ended.wait(max(0.0, 1 / _PLAYED_PER_SECOND - (time.monotonic() - start)))
