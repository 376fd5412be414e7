"""Labels in a shard of a store are changed while its manifest stays true, and one process at a time changes a store.

What takes the place of a shard is announced in the manifest before and taken over afterwards, so that a kill at any
moment leaves a store that is valid: with the labels of before, or with those of afterwards.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

from hardmo_jax import file_locks
from hardmo_jax.labels import parquet_files
from hardmo_jax.labels.schema import LabelError
from hardmo_jax.labels.store_manifest import (
    MANIFEST,
    SHARD_NAME,
    FileFacts,
    SourceOfShard,
    StoreIncompleteError,
    StoreManifest,
    read_any_manifest,
    write_store_manifest,
)
from hardmo_jax.whole_files import file_sha256, replacing

#: How long another process may take to put a store together, or to change a shard.
PATIENCE_SECONDS = 600.0
_BATCH_ROWS = 8192
_MAX_ROWS = 2**31 - 1


class StoreLockedError(LabelError):
    """Another process writes to a label store, and does not stop."""


class StoreSealedError(LabelError):
    """A store that was put together is to get labels that would not be part of it, or to lose some."""


@contextlib.contextmanager
def held_shards(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Keep other processes from changing a store meanwhile; one that is killed lets go.

    Yields the lock file, which is gone afterwards.

    Raises:
        StoreLockedError: If another one does not let go in `PATIENCE_SECONDS`.
    """
    lock = folder / ".writing-store.lock"
    with file_locks.held_lock(lock, patience_seconds=PATIENCE_SECONDS) as is_held:
        if not is_held:
            raise StoreLockedError(
                f"{folder}: another process has been writing to this store for {PATIENCE_SECONDS:g} s; wait for it, or "
                "stop it"
            )
        yield lock


@contextlib.contextmanager
def replacing_shard(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Write a label file completely or not at all, as `replacing`; a manifest that names it stays true all the while.

    Args:
        path: The file; one whose folder has no manifest is just replaced.

    Raises:
        StoreSealedError: If the manifest beside it does not name it although its name is that of a shard.
        StoreIncompleteError: If the store is not finished.
        StoreLockedError: If another process does not stop writing to the store.
    """
    if not _is_of_store(path):
        with replacing(path) as temporary:
            yield temporary
        return
    with contextlib.ExitStack() as stack:
        with replacing(path) as temporary:
            yield temporary
            facts = facts_of_file(temporary)
            stack.enter_context(held_shards(path.parent))
            _change(path, facts, is_there=False)
        _change(path, facts, is_there=True)


def facts_of_file(path: pathlib.Path) -> FileFacts:
    """What a manifest says of a label file.

    Raises:
        hardmo_jax.labels.parquet_files.ParquetFileError: If it is damaged.
    """
    sources: dict[tuple[str, str], int] = {}
    with parquet_files.opened(path, max_rows=_MAX_ROWS) as file:
        num_rows = file.metadata.num_rows
        for table in parquet_files.batches_of(
            file, path, batch_rows=_BATCH_ROWS, columns=("source_path", "source_sha256")
        ):
            counts = table.group_by(["source_path", "source_sha256"], use_threads=False).aggregate([([], "count_all")])
            for row in counts.to_pylist():
                key = (row["source_path"], row["source_sha256"])
                sources[key] = sources.get(key, 0) + row["count_all"]
    return FileFacts(
        num_rows=num_rows,
        num_bytes=path.stat().st_size,
        sha256=file_sha256(path),
        sources=tuple(SourceOfShard(path=key[0], sha256=key[1], num_rows=rows) for key, rows in sources.items()),
    )


def _is_of_store(path: pathlib.Path) -> bool:
    if SHARD_NAME.fullmatch(path.name) is None:
        return False
    found = read_any_manifest(path.parent)
    if found is None:
        return False
    if not isinstance(found, StoreManifest):
        raise StoreIncompleteError(
            f"{path.parent}: not finished, so nothing in it can be changed; run the command that makes the store again"
        )
    if path.name not in {shard.name for shard in found.shards}:
        raise StoreSealedError(
            f"{path}: the {MANIFEST} beside it names {len(found.shards)} shards, and not this one; write into another "
            "folder, and put both together with compact_labels"
        )
    return True


def _change(path: pathlib.Path, facts: FileFacts, *, is_there: bool) -> None:
    """Announce what will take the place of a shard, or take over what has."""
    manifest = read_any_manifest(path.parent)
    if not isinstance(manifest, StoreManifest) or path.name not in {shard.name for shard in manifest.shards}:
        raise StoreSealedError(f"{path.parent}: was put together anew while {path.name} was changed; change it again")
    shards = []
    for shard in manifest.shards:
        if shard.name == path.name and is_there:
            shard = dataclasses.replace(shard, facts=facts, announced=None)
        elif shard.name == path.name:
            # A former change that was killed may have come to its place, or not: what is there is what counts.
            former = shard.announced
            if former is not None and path.is_file() and file_sha256(path) == former.sha256:
                shard = dataclasses.replace(shard, facts=former)
            shard = dataclasses.replace(shard, announced=facts)
        shards.append(shard)
    write_store_manifest(path.parent, StoreManifest(shards=tuple(shards)))
