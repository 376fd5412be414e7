"""A label file that several jobs write to, and people beside them.

One writes at a time: whoever reads it, changes something and writes it back holds it meanwhile. A job that takes long
does not hold it, and puts what it made into what is there in the end: labels that others touched are theirs.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

from hardmo_jax.file_locks import held_lock
from hardmo_jax.labels.schema import LabelError, LabelRow
from hardmo_jax.labels.store_manifest import read_store_manifest
from hardmo_jax.labels.store_places import labels_below

#: How long a store is waited for; nobody holds one for longer than it takes to read and write it.
PATIENCE_SECONDS = 30.0


class StoreBusyError(ValueError):
    """Somebody else writes to a label file, and does not stop."""


class ShardedStoreError(LabelError):
    """A store is in several files, and is to be written to."""


def labels_file(source: str | os.PathLike[str]) -> pathlib.Path:
    """The label file of a folder as `tools.annotate` leaves it, which need not be there; a file is itself.

    Of the folder that `tools.demo` leaves it is the one of its labels, a folder below, and of a job of many inputs
    whose labels are one shard that shard.

    Raises:
        ShardedStoreError: If there are shards in its place.
    """
    source = labels_below(source)
    if not source.is_dir():
        return source
    path = source / "labels.parquet"
    below = source / "annotate" / path.name
    if below.exists():
        return below
    shards = sorted(source.glob("labels-*.parquet"))
    if len(shards) == 1 and read_store_manifest(source) is not None:
        return shards[0]
    if shards:
        raise ShardedStoreError(
            f"{source}: holds {len(shards)} shards of labels, each of which is changed by itself; give one of them, "
            f"such as {shards[0]}"
        )
    return path


@contextlib.contextmanager
def held_store(path: str | os.PathLike[str], *, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Keep other writers of any process away from a label file while the block runs; one that is killed lets go.

    The file itself may be absent, its folder must be there. What holds it lies beside it under a name that all jobs
    take for unfinished work, and goes at the end.

    Network disks without file locks let everybody in: there only what is written in the same moment is lost, as each
    writer reads the file anew before it writes.

    Args:
        path: The label file.
        patience_seconds: How long another writer is waited for.

    Raises:
        StoreBusyError: If it does not let go in that time.
        OSError: If nothing can be written in its folder.
    """
    path = pathlib.Path(path)
    lock = path.with_name(f".writing-{path.name}.lock")
    with held_lock(lock, patience_seconds=patience_seconds) as is_held:
        if not is_held:
            raise StoreBusyError(
                f"{path}: another job has been writing to it for {patience_seconds:g} s; wait for it, or stop it"
            )
        yield


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedLabels:
    """What a job made, in a store that others may have written to meanwhile."""

    rows: tuple[LabelRow, ...]
    """All versions of all labels."""
    num_others: int
    """Labels that others changed, added or removed meanwhile: they are as those left them."""


def with_others_work(made: Sequence[LabelRow], was: Sequence[LabelRow], now: Sequence[LabelRow]) -> SharedLabels:
    """Put what a job made of a store into what the store has become.

    Args:
        made: All labels as the job would have them.
        was: Those that it began with.
        now: Those that are there.
    """
    ours, theirs, began = _by_label(made), _by_label(now), _by_label(was)
    rows, num_others = [], 0
    for label_id, versions in theirs.items():
        if _are_same(versions, began.get(label_id, ())):
            rows += ours.get(label_id, [])
        else:
            rows += versions
            num_others += 1
    num_others += sum(label_id not in theirs for label_id in began)
    # People who were not known when the job began.
    rows += [
        row
        for label_id, versions in ours.items()
        if label_id not in began and label_id not in theirs
        for row in versions
    ]
    return SharedLabels(rows=tuple(rows), num_others=num_others)


def _by_label(rows: Sequence[LabelRow]) -> dict[str, list[LabelRow]]:
    found: dict[str, list[LabelRow]] = {}
    for row in rows:
        found.setdefault(row.label_id, []).append(row)
    return found


def _are_same(first: Sequence[LabelRow], second: Sequence[LabelRow]) -> bool:
    return len(first) == len(second) and all(
        one is other or one.same_as(other) for one, other in zip(first, second, strict=True)
    )
