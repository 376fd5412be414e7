"""Edits of a label file while a person looks at it: taken at once, written behind, and kept until they are on disk."""

import atexit
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from hardmo_jax.labels.label_table import LabelTable
from hardmo_jax.pipelines.label_edits import EditOutcome, LabelEdit, LabelEditError, with_edits
from hardmo_jax.pipelines.label_rows import code_version
from hardmo_jax.pipelines.shared_store import held_store, labels_file

#: How long another writer is waited for before that is told; what waits is tried again.
_LOCK_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_LOG = logging.getLogger(__name__)


class UnsavedEditsError(ValueError):
    """Edits that could not be written although it was tried to the end; `edits` holds them."""

    def __init__(self, message: str, edits: Sequence[LabelEdit]) -> None:
        super().__init__(message)
        self.edits = tuple(edits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SaveReport:
    """What a writer tells after each try."""

    outcomes: tuple[EditOutcome, ...]
    """What became of the edits that were written; those that could not be put anywhere say why."""
    num_waiting: int
    """Edits that are not written yet."""
    trouble: str | None = None
    """Why nothing was written; it is tried again."""
    seconds: float
    """How long it took."""


class LabelEditor:
    """Writes what a person says of labels into their file, in a thread of its own; a context manager.

    Other programs may write to the file too: it is read anew each time, while it is held. Edits are written in the
    order in which they were given, those that wait together at once, and what cannot be written is tried again.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        report: Callable[[SaveReport], None] | None = None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """Open a label file.

        Args:
            path: The file, or a folder with a `labels.parquet`.
            report: Told of each try, in the thread that writes; must not wait for the editor, and what it raises is
                logged.
            retry_seconds: Pause between two tries.

        Raises:
            FileNotFoundError: If there is none.
            hardmo_jax.pipelines.shared_store.ShardedStoreError: If the folder holds shards.
            hardmo_jax.labels.table_files.LabelFormatError: If it is damaged or of a newer version.
        """
        self.path = labels_file(path)
        LabelTable.read(self.path)
        self._report = report or (lambda _: None)
        self._retry_seconds = retry_seconds
        self._code_version = code_version()
        self._waiting: list[LabelEdit] = []
        self._own: dict[str, list[EditOutcome]] = {}
        self._changed = threading.Condition()
        self._try, self._failed_try, self._trouble = 0, 0, ""
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="label editor", daemon=True)
        self._thread.start()
        # A program that ends without closing it loses nothing either.
        atexit.register(self._end)

    def __enter__(self) -> "LabelEditor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_waiting(self) -> int:
        """Edits that are not written yet."""
        return len(self._waiting)

    def put(self, edit: LabelEdit) -> None:
        """Take in an edit; returns at once.

        Raises:
            LabelEditError: If it says something impossible, or the editor is closed.
        """
        edit.check()
        with self._changed:
            if self._is_closing:
                raise LabelEditError(f"{self.path}: the editor is closed; open another one")
            self._waiting.append(edit)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written.

        Raises:
            UnsavedEditsError: If it could not be; it is tried again all the same.
        """
        with self._changed:
            # One that is under way may have failed before what was in its way was cleared.
            under_way = self._try
            self._changed.wait_for(
                lambda: not self._waiting or self._failed_try > under_way or not self._thread.is_alive()
            )
            self._check_written("it is tried again")

    def close(self) -> None:
        """Write what waits, and end.

        Raises:
            UnsavedEditsError: If it could not be written; it is not tried again.
        """
        self._end()
        self._check_written("they are lost unless they are given to another editor")

    def _check_written(self, otherwise: str) -> None:
        if self._waiting:
            labels = sorted({edit.label_id for edit in self._waiting})
            raise UnsavedEditsError(
                f"{self.path}: {len(self._waiting)} edits of {len(labels)} labels ({', '.join(labels[:3])}"
                f"{', ...' if len(labels) > 3 else ''}) could not be written: {self._trouble}; {otherwise}",
                self._waiting,
            )

    def _end(self) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        atexit.unregister(self._end)

    def _work(self) -> None:
        """Of the thread: write whenever something waits; after a failure once more when it is to end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                edits, is_last = tuple(self._waiting), self._is_closing
                self._try += 1
            has_failed = self._write(edits)
            if has_failed and is_last:
                return
            if has_failed:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closing, timeout=self._retry_seconds)

    def _write(self, edits: Sequence[LabelEdit]) -> bool:
        """One try, and what is told of it; whether it failed."""
        start = time.perf_counter()
        outcomes, trouble = (), None
        try:
            outcomes = self._written(edits)
        except Exception as error:  # whatever it is, the thread goes on: what waits is somebody's work
            trouble = str(error) or type(error).__name__
            if not isinstance(error, OSError | ValueError):
                _LOG.exception("%s: edits could not be written", self.path)
        told = SaveReport(
            outcomes=outcomes,
            num_waiting=len(self._waiting) - len(outcomes),
            trouble=trouble,
            seconds=time.perf_counter() - start,
        )
        # Told before anybody who waits for it goes on.
        try:
            self._report(told)
        except Exception:  # of the viewer, which must not cost what is still to be written
            _LOG.exception("%s: what became of edits could not be told", self.path)
        with self._changed:
            if trouble is None:
                del self._waiting[: len(edits)]
                for outcome in outcomes:
                    known = dataclasses.replace(outcome, before=None)
                    self._own.setdefault(outcome.edit.label_id, []).append(known)
            else:
                self._failed_try, self._trouble = self._try, trouble
            self._changed.notify_all()
        return trouble is not None

    def _written(self, edits: Sequence[LabelEdit]) -> tuple[EditOutcome, ...]:
        """Edits put into the file as it is now."""
        label_ids = {edit.label_id for edit in edits}
        with held_store(self.path, patience_seconds=_LOCK_SECONDS):
            table = LabelTable.read(self.path)
            rows = table.versions_of(label_ids)
            before = [outcome for label_id in label_ids for outcome in self._own.get(label_id, ())]
            edited = with_edits(rows, edits, code_version=self._code_version, before=before)
            present = {id(row) for row in rows}
            changed = [row for row in edited.rows if id(row) not in present]
            if changed:
                table.with_versions(changed).write(self.path)
        return edited.outcomes
