"""Label files of many sources put together into one store: shards of whole sources, in their order, with checksums.

The same labels give the same bytes, whoever made them and when: nothing in a shard depends on that. A few row groups
are in memory at any time, however large files and shards are.
"""

import pathlib
import secrets
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hardmo_jax.file_locks import can_lock
from hardmo_jax.labels import parquet_files, schema
from hardmo_jax.labels.shard_changes import StoreSealedError, facts_of_file, held_shards
from hardmo_jax.labels.store import MAX_ROWS, shard_path
from hardmo_jax.labels.store_check import StoreCheck, foreign_files, verify_store
from hardmo_jax.labels.store_manifest import (
    MANIFEST,
    SHARD_NAME,
    FileFacts,
    Shard,
    StoreIncompleteError,
    StoreManifest,
    UnfinishedStore,
    read_any_manifest,
    read_store_manifest,
    write_store_manifest,
)
from hardmo_jax.labels.table_files import (
    ROWS_PER_GROUP,
    LabelFormatError,
    LabelKeys,
    in_current_schema,
    opened_label_file,
    parquet_options,
)
from hardmo_jax.whole_files import file_sha256, sync_file

__all__ = [
    "ROWS_PER_SHARD", "StoreCheck", "StoreIncompleteError", "StoreManifest", "StoreSealedError", "compact_labels",
    "read_store_manifest", "verify_store",
]  # fmt: skip

#: Labels of a shard, about.
ROWS_PER_SHARD = 10_000
_SCRATCH = ".writing-shards-"


def compact_labels(
    parts: Sequence[Sequence[pathlib.Path]], folder: pathlib.Path, *, rows_per_shard: int = ROWS_PER_SHARD
) -> StoreManifest:
    """Put label files together into a store.

    Sources that fit lie whole in one shard; one that is larger than a shard has shards of its own, cut between
    pictures. A store that was there stays valid until all new shards are written; then they take its place, and the
    manifest is written last. A kill at any moment leaves the store of before, or one that says that it is not finished;
    the same call finishes it. Shards that are there already are not touched, also where labels in them were changed.

    Args:
        parts: Of each source, a video or a group of photos, its label files in order.
        folder: Of the store; made if absent.
        rows_per_shard: Most labels of a shard; pictures of more people than that are not cut.

    Raises:
        ValueError: If `rows_per_shard` is not positive.
        LabelFormatError: If a file is damaged or no label file, or files disagree on the type of an unknown column.
        LabelError: If a label occurs twice.
        StoreSealedError: If the folder holds labels that are of no such store, or that were changed in the store since,
            and would be lost.
        hardmo_jax.labels.shard_changes.StoreLockedError: If another process does not stop writing to the store.
    """
    if rows_per_shard < 1:
        raise ValueError(f"`rows_per_shard` must be positive, got {rows_per_shard}")
    parts = [[pathlib.Path(path) for path in source] for source in parts]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with held_shards(folder) as lock:
        standing = read_any_manifest(folder)
        _check_goal(parts, folder, standing)
        if can_lock(lock):
            # Nobody else is at work here, so this is of a process that was killed.
            for left in folder.glob(f"{_SCRATCH}*"):
                shutil.rmtree(left, ignore_errors=True)
            for left in folder.glob(".writing-*.json"):
                left.unlink(missing_ok=True)
        scratch = folder / f"{_SCRATCH}{secrets.token_hex(8)}"
        scratch.mkdir()
        try:
            shards = _write_shards(parts, scratch, rows_per_shard)
            return _put_in_place(shards, scratch, folder, standing)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _check_goal(
    parts: Sequence[Sequence[pathlib.Path]], folder: pathlib.Path, standing: StoreManifest | UnfinishedStore | None
) -> None:
    """Refuse a folder of which something would be lost."""
    if standing is None:
        own = set()
    elif isinstance(standing, UnfinishedStore):
        own = set(standing.names)
    else:
        own = {shard.name for shard in standing.shards}
    foreign = [name for name in foreign_files(folder, own) if SHARD_NAME.fullmatch(name)]
    if foreign:
        raise StoreSealedError(
            f"{folder}: holds {foreign[0]}, which no {MANIFEST} there names; give an empty folder, or move it elsewhere"
        )
    goal = folder.resolve()
    for path in (path for source in parts for path in source):
        if path.resolve().parent == goal and SHARD_NAME.fullmatch(path.name):
            raise StoreSealedError(f"{path}: would be replaced by the store that is made of it; give another folder")


def _put_in_place(
    shards: Sequence[Shard],
    scratch: pathlib.Path,
    folder: pathlib.Path,
    standing: StoreManifest | UnfinishedStore | None,
) -> StoreManifest:
    """Rename shards to their places, under a manifest that says that this is not finished."""
    former = standing.goal if isinstance(standing, UnfinishedStore) else standing
    before = {} if former is None else {shard.name: shard for shard in former.shards}
    goal, new = [], []
    for shard in shards:
        known = before.get(shard.name)
        # A shard of the same labels stays, in which some may have been changed since.
        if known is not None and known.compacted_sha256 == shard.compacted_sha256 and _stands(known, folder):
            goal.append(known)
            continue
        goal.append(shard)
        if not _stands(shard, folder):
            new.append(shard.name)
    for shard in before.values():
        if shard.is_changed and shard not in goal and (folder / shard.name).is_file():
            raise StoreSealedError(
                f"{folder / shard.name}: labels in it were changed since the store was put together, and others are to "
                "take its place; give another folder, or move this store elsewhere"
            )
    manifest = StoreManifest(shards=tuple(goal))
    names = {shard.name for shard in goal}
    present = [path for path in folder.glob("labels-*.parquet") if SHARD_NAME.fullmatch(path.name)]
    surplus = [path for path in present if path.name not in names]
    if new or surplus:
        own = standing.names if isinstance(standing, UnfinishedStore) else frozenset(before)
        write_store_manifest(folder, UnfinishedStore(goal=manifest, names=own | names))
        for name in new:
            (scratch / name).replace(folder / name)
        for path in surplus:
            path.unlink()
        sync_file(folder)
    write_store_manifest(folder, manifest)
    return manifest


def _stands(shard: Shard, folder: pathlib.Path) -> bool:
    """Whether a shard is in its place, byte by byte."""
    path = folder / shard.name
    known = [facts for facts in (shard.facts, shard.announced) if facts is not None]
    if not path.is_file() or path.stat().st_size not in {facts.num_bytes for facts in known}:
        return False
    return file_sha256(path) in {facts.sha256 for facts in known}


# Shards --------------------------------------------------------------------------------------------------


class _ShardWriter:
    """Shards one after the other, in row groups of the same size whatever tables the rows come in."""

    def __init__(self, folder: pathlib.Path, form: pa.Schema) -> None:
        self.facts: list[FileFacts] = []
        self.num_rows = 0
        """Of the shard that is being written."""
        self._folder, self._form = folder, form
        self._held: list[pa.Table] = []
        self._file: pq.ParquetWriter | None = None

    def add(self, table: pa.Table) -> None:
        self._held.append(table)
        self.num_rows += table.num_rows
        if sum(held.num_rows for held in self._held) >= ROWS_PER_GROUP:
            self._write(is_last=False)

    def end_shard(self) -> None:
        self._write(is_last=True)
        if self._file is not None:
            self._file.close()
        self._file, self.num_rows = None, 0
        path = shard_path(self._folder, len(self.facts))
        sync_file(path)
        self.facts.append(facts_of_file(path))

    def abandon(self) -> None:
        """Close what is open: Windows removes no open files."""
        if self._file is not None:
            self._file.close()

    def _write(self, *, is_last: bool) -> None:
        if self._file is None:
            path = shard_path(self._folder, len(self.facts))
            self._file = pq.ParquetWriter(path, self._form, **parquet_options(self._form))
        rows = pa.concat_tables([self._form.empty_table(), *self._held])
        begin = 0
        while rows.num_rows - begin >= ROWS_PER_GROUP or (is_last and begin < rows.num_rows):
            # Together in memory: how rows came must not show in how pages are cut.
            group = rows.slice(begin, ROWS_PER_GROUP).combine_chunks()
            self._file.write_table(group, row_group_size=ROWS_PER_GROUP)
            begin += group.num_rows
        self._held = [rows.slice(begin)]


def _write_shards(parts: Sequence[Sequence[pathlib.Path]], scratch: pathlib.Path, rows_per_shard: int) -> list[Shard]:
    form, counts = _form_of(parts)
    writer, keys = _ShardWriter(scratch, form), LabelKeys()
    try:
        for source, count in zip(parts, counts, strict=True):
            if writer.num_rows and writer.num_rows + count > rows_per_shard:
                writer.end_shard()
            tables = (table for path in source for table in _tables_of(path, form, keys))
            if count <= rows_per_shard:
                for table in tables:
                    writer.add(table)
                continue
            for pictures in _whole_pictures(tables):
                _add_in_shards(pictures, writer, rows_per_shard)
            writer.end_shard()
        if writer.num_rows or not writer.facts:
            writer.end_shard()
    finally:
        writer.abandon()
    keys.check()
    names = [shard_path(scratch, index).name for index in range(len(writer.facts))]
    return [
        Shard(name=name, facts=facts, compacted_sha256=facts.sha256, compacted_rows=facts.num_rows)
        for name, facts in zip(names, writer.facts, strict=True)
    ]


def _form_of(parts: Sequence[Sequence[pathlib.Path]]) -> tuple[pa.Schema, list[int]]:
    """Columns of today with those behind them that files have and this version does not know; labels of each source."""
    form, counts = schema.label_schema(), []
    known = set(form.names)
    for source in parts:
        counts.append(0)
        for path in source:
            with opened_label_file(path, MAX_ROWS) as file:
                counts[-1] += file.metadata.num_rows
                found = file.schema_arrow
            for field in found:
                if field.name in known:
                    continue
                if field.name not in form.names:
                    form = form.append(field.with_nullable(True))
                elif form.field(field.name).type != field.type:
                    raise LabelFormatError(
                        f"{path}: column {field.name!r} is of type {field.type}, and of type "
                        f"{form.field(field.name).type} in files before it; make one of them again"
                    )
    return form, counts


def _tables_of(path: pathlib.Path, form: pa.Schema, keys: LabelKeys) -> Iterator[pa.Table]:
    with opened_label_file(path, MAX_ROWS) as file:
        for table in parquet_files.batches_of(file, path, batch_rows=ROWS_PER_GROUP):
            table = _in_form(in_current_schema(table), form)
            keys.add(table)
            yield table


def _in_form(table: pa.Table, form: pa.Schema) -> pa.Table:
    """A table of labels with all columns of the store, null where it has none."""
    names = set(table.column_names)
    arrays = [
        table.column(field.name) if field.name in names else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in form
    ]
    return pa.Table.from_arrays(arrays, schema=form)


def _whole_pictures(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, in tables that end where a picture does."""
    held: pa.Table | None = None
    for table in tables:
        rows = table if held is None else pa.concat_tables([held, table])
        begins = _begins_of_pictures(rows)
        if begins:
            yield rows.slice(0, begins[-1])
            # Of the last picture more may follow.
            held = rows.slice(begins[-1])
    if held is not None:
        yield held


def _begins_of_pictures(table: pa.Table) -> list[int]:
    if not table.num_rows:
        return []
    differs = np.zeros(table.num_rows - 1, bool)
    for name in ("source_path", "source_sha256", "frame_index"):
        values = table.column(name).to_numpy()
        differs |= values[1:] != values[:-1]
    return [0, *(np.flatnonzero(differs) + 1).tolist()]


def _add_in_shards(pictures: pa.Table, writer: _ShardWriter, rows_per_shard: int) -> None:
    ends = [*_begins_of_pictures(pictures)[1:], pictures.num_rows]
    begin = 0
    while begin < pictures.num_rows:
        fitting = [end for end in ends if begin < end <= begin + rows_per_shard - writer.num_rows]
        if not fitting and writer.num_rows:
            writer.end_shard()
            continue
        # A picture of more people than a shard has makes one of its own.
        end = fitting[-1] if fitting else next(end for end in ends if end > begin)
        writer.add(pictures.slice(begin, end - begin))
        begin = end
