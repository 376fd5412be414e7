"""Label files of many sources put together into one store: shards of whole sources, in their order, with checksums.

The same files give the same bytes, whoever made them in which order: nothing in a shard depends on when it was written.
"""

import pathlib
import secrets
import shutil
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hardmo_jax.labels import parquet_files, schema, store_manifest
from hardmo_jax.labels.store import MAX_ROWS, shard_path
from hardmo_jax.labels.store_manifest import (
    FileFacts,
    Shard,
    StoreCheck,
    StoreIncompleteError,
    StoreManifest,
    read_store_manifest,
    verify_store,
)
from hardmo_jax.labels.table_files import LabelFormatError, read_label_table, text_columns, unknown_columns_of
from hardmo_jax.whole_files import file_sha256, sync_file

__all__ = [
    "ROWS_PER_SHARD", "StoreCheck", "StoreIncompleteError", "StoreManifest", "compact_labels", "read_store_manifest",
    "verify_store",
]  # fmt: skip

#: Labels of a shard, about.
ROWS_PER_SHARD = 10_000
#: Labels of a row group: statistics of each say whether it must be decoded.
ROWS_PER_GROUP = 1024


def compact_labels(
    parts: Sequence[Sequence[pathlib.Path]], folder: pathlib.Path, *, rows_per_shard: int = ROWS_PER_SHARD
) -> StoreManifest:
    """Put label files together into a store.

    A shard ends with the source that fills it, so that people of a video lie in one; a source that is larger has shards
    of its own, cut between frames. What an earlier call left in the folder is replaced, and stays valid until all
    shards are written. A kill at any moment leaves the store of before, or one that says that it is not finished.

    Args:
        parts: Of each source its label files, in order.
        folder: Of the store; made if absent.
        rows_per_shard: Labels from which a shard is full.

    Raises:
        ValueError: If `rows_per_shard` is not positive.
        LabelFormatError: If a file is damaged or no label file, or files disagree on an unknown column.
    """
    if rows_per_shard < 1:
        raise ValueError(f"`rows_per_shard` must be positive, got {rows_per_shard}")
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".writing-shards-*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = folder / f".writing-shards-{secrets.token_hex(8)}"
    scratch.mkdir()
    try:
        form = _form_of([path for source in parts for path in source])
        names, facts = [], []
        for table in _shards(parts, form, rows_per_shard):
            path = shard_path(scratch, len(names))
            with pq.ParquetWriter(path, form, compression="zstd", use_dictionary=text_columns(form)) as writer:
                writer.write_table(table, row_group_size=ROWS_PER_GROUP)
            sync_file(path)
            names.append(path.name)
            facts.append(
                FileFacts(num_rows=table.num_rows, num_bytes=path.stat().st_size, sha256=file_sha256(path))
            )  # fmt: skip
        _put_in_place(scratch, folder, names, facts)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    manifest = StoreManifest(shards=tuple(Shard(name=name, facts=own) for name, own in zip(names, facts, strict=True)))
    store_manifest.write_store_manifest(folder, manifest)
    return manifest


def _put_in_place(
    scratch: pathlib.Path, folder: pathlib.Path, names: Sequence[str], facts: Sequence[FileFacts]
) -> None:
    """Rename all shards to their places, under a manifest that says that this is not finished."""
    begun = StoreManifest(
        shards=tuple(Shard(name=name, facts=own) for name, own in zip(names, facts, strict=True)), is_complete=False
    )
    store_manifest.write_store_manifest(folder, begun)
    for name in names:
        (scratch / name).replace(folder / name)
    for path in folder.glob("labels-*.parquet"):
        if store_manifest.SHARD_NAME.fullmatch(path.name) and path.name not in names:
            path.unlink()
    sync_file(folder)


def _form_of(paths: Sequence[pathlib.Path]) -> pa.Schema:
    """Columns of today, and behind them those that files have and this version does not know."""
    form = schema.label_schema()
    for path in paths:
        for field in parquet_files.read_schema(path):
            if field.name not in form.names:
                form = form.append(field.with_nullable(True))
            elif form.field(field.name).type != field.type:
                raise LabelFormatError(
                    f"{path}: column {field.name!r} is of type {field.type}, and of type "
                    f"{form.field(field.name).type} elsewhere; make one of them again"
                )
    return form


def _shards(parts: Sequence[Sequence[pathlib.Path]], form: pa.Schema, rows_per_shard: int) -> Iterator[pa.Table]:
    """Tables of shards; no more than a shard and a source's next file are held."""
    held: list[pa.Table] = []
    num_held = 0

    def taken() -> pa.Table:
        nonlocal held, num_held
        table = pa.concat_tables(held).combine_chunks() if held else form.empty_table()
        held, num_held = [], 0
        return table

    is_first = True
    for source in parts:
        tables = (_in_form(read_label_table(path, MAX_ROWS)[0], form) for path in source)
        before = num_held
        for table in tables:
            while num_held - before + table.num_rows > rows_per_shard:
                if before:
                    # A source that is larger than a shard begins with one of its own.
                    rest = pa.concat_tables(held).slice(before)
                    head = pa.concat_tables(held).slice(0, before)
                    yield head.combine_chunks()
                    is_first, before, held, num_held = False, 0, [rest], rest.num_rows
                    continue
                cut = _last_frame_before(pa.concat_tables([*held, table]), rows_per_shard)
                whole = pa.concat_tables([*held, table])
                yield whole.slice(0, cut).combine_chunks()
                is_first, held, num_held, table = False, [], 0, whole.slice(cut)
                if not table.num_rows:
                    break
            held.append(table)
            num_held += table.num_rows
        if num_held >= rows_per_shard:
            yield taken()
            is_first = False
    if num_held or is_first:
        yield taken()


def _last_frame_before(table: pa.Table, rows: int) -> int:
    """Row at or before `rows` at which a picture begins, or the end of the first picture if that is longer."""
    if table.num_rows <= rows:
        return table.num_rows
    keys = [table.column(name).combine_chunks() for name in ("source_path", "frame_index")]
    later = [column.slice(1) for column in keys]
    earlier = [column.slice(0, len(column) - 1) for column in keys]
    differs = pc.or_(*(pc.not_equal(one, other) for one, other in zip(later, earlier, strict=True)))  # pyright: ignore[reportAttributeAccessIssue]
    starts = [at + 1 for at, begins in enumerate(differs.to_pylist()) if begins]
    before = [at for at in starts if at <= rows]
    if before:
        return before[-1]
    return starts[0] if starts else table.num_rows


def _in_form(table: pa.Table, form: pa.Schema) -> pa.Table:
    """A table of labels with all columns of the store, null where it has none."""
    arrays = [
        table.column(field.name)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in form
    ]
    unknown = [name for name in unknown_columns_of(table) if name not in form.names]
    if unknown:
        raise LabelFormatError(f"column {unknown[0]!r} came to a label file while it was read")
    return pa.Table.from_arrays(arrays, schema=form)
