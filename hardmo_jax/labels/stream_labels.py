"""Labels of any number read a few at a time, and of them only those that somebody asks for.

A label file says of each of its row groups the smallest and the largest value of every plain column: where a condition
can be true of nothing in between, nothing of the group is decoded. Of other groups the columns of the condition are
decoded first, and the rest only if it is true of a row.
"""

import os
import pathlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hardmo_jax.labels import parquet_files, schema
from hardmo_jax.labels.row_groups import matching_row_groups
from hardmo_jax.labels.schema import LabelError
from hardmo_jax.labels.store import MAX_ROWS, LabelSet
from hardmo_jax.labels.store_check import label_files_of
from hardmo_jax.labels.table_files import (
    KEY_COLUMNS,
    LabelKeys,
    format_version_of,
    in_current_schema,
    opened_label_file,
    unknown_columns_of,
)

_BATCH_ROWS = 1024


class LabelQueryError(LabelError):
    """A condition or a choice of columns does not fit the label files."""


def stream_labels(
    path: str | os.PathLike[str], *, where: pc.Expression | None = None, batch_rows: int = _BATCH_ROWS
) -> Iterator[LabelSet]:
    """Read and check labels of a file or a folder of shards in bounded memory, in file order.

    Of each label that is read 20 bytes are kept, to tell one that occurs twice.

    Args:
        path: Parquet file, or folder of them.
        where: Condition on columns of `schema.label_schema`, such as `pyarrow.compute.field("wrong_right_foot") > 0.9`;
            labels of which it is null are left out. Comparisons of plain columns, and whether one is null, exclude row
            groups; of lists (`bbox`, `placed_points`) and functions of text every row group is looked at.
        batch_rows: Most labels of a batch.

    Raises:
        FileNotFoundError: If nothing is there.
        LabelQueryError: If the condition names a column that is not there, or is none.
        LabelFormatError: If a file is cut off, no label file, or of a newer version.
        StoreIncompleteError: If a shard of a store is missing, or the store is put together anew meanwhile.
        LabelError: If a label holds an impossible value; at the end, if one occurred twice.
    """
    keys = LabelKeys()
    with label_files_of(pathlib.Path(path)) as files:
        for entry in files:
            with opened_label_file(entry, MAX_ROWS) as file:
                version = format_version_of(file, entry)
                present = set(file.schema_arrow.names)
                absent = tuple(name for name in schema.label_schema().names if name not in present)
                for table in _tables_of_file(file, entry, where=where, columns=None, batch_rows=batch_rows):
                    keys.add(table)
                    try:
                        rows = tuple(schema.table_to_labels(table))
                    except LabelError as error:
                        raise LabelError(f"{entry}: {error}") from error
                    unknown = unknown_columns_of(table)
                    yield LabelSet(
                        rows=rows,
                        unknown_columns=tuple(unknown),
                        extra=table.select([*KEY_COLUMNS, *unknown]) if unknown else None,
                        format_version=version,
                        absent_columns=absent,
                    )
    keys.check()


def stream_columns(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    *,
    where: pc.Expression | None = None,
    batch_rows: int = _BATCH_ROWS,
) -> Iterator[pa.Table]:
    """Read some columns of labels in bounded memory, in file order; of all others nothing is decoded.

    Types are those of `schema.label_schema`, and columns that must have values have them. What only a whole label shows
    is not checked: `stream_labels` does that.

    Args:
        path: Parquet file, or folder of them.
        columns: Their names; those that a file is too old to have are null.
        where: As of `stream_labels`; it may name other columns.
        batch_rows: Most rows of a table.

    Raises:
        FileNotFoundError: If nothing is there.
        LabelQueryError: If a column is not there, or the condition is none.
        LabelFormatError: If a file is cut off, no label file, or of a newer version.
        StoreIncompleteError: If a shard of a store is missing, or the store is put together anew meanwhile.
        LabelError: If a column holds nulls that must not.
    """
    with label_files_of(pathlib.Path(path)) as files:
        for entry in files:
            with opened_label_file(entry, MAX_ROWS) as file:
                yield from _tables_of_file(file, entry, where=where, columns=columns, batch_rows=batch_rows)


def _tables_of_file(
    file: pq.ParquetFile,
    path: pathlib.Path,
    *,
    where: pc.Expression | None,
    columns: Sequence[str] | None,
    batch_rows: int,
) -> Iterator[pa.Table]:
    """Rows of which a condition is true, in tables as large as they may be."""
    if batch_rows < 1:
        raise LabelQueryError(f"`batch_rows` must be positive, got {batch_rows}")
    form = _form_of_file(file)
    chosen = form.names if columns is None else list(dict.fromkeys(columns))
    for name in chosen:
        if name not in form.names:
            raise LabelQueryError(f"{path}: no column {name!r}; it has {', '.join(form.names[:12])}, ...")
    asked = [] if where is None else _columns_of_condition(where, form, path)
    held: list[pa.Table] = []
    for table in _matching_tables(file, path, where, asked, chosen, form, batch_rows):
        held.append(table)
        while sum(part.num_rows for part in held) >= batch_rows:
            rows = pa.concat_tables(held)
            yield rows.slice(0, batch_rows).combine_chunks()
            held = [rows.slice(batch_rows)]
    if any(part.num_rows for part in held):
        yield pa.concat_tables(held).combine_chunks()


def _matching_tables(
    file: pq.ParquetFile,
    path: pathlib.Path,
    where: pc.Expression | None,
    asked: Sequence[str],
    chosen: Sequence[str],
    form: pa.Schema,
    batch_rows: int,
) -> Iterator[pa.Table]:
    present = set(file.schema_arrow.names)
    decoded = [name for name in form.names if name in present and (name in chosen or name in asked)]
    groups: Sequence[int] = range(file.metadata.num_row_groups)
    if where is not None:
        groups = matching_row_groups(file.metadata, where, form, asked)
    for group in groups:
        if where is not None and not _is_true_of_any(file, path, where, asked, form, group):
            continue
        for table in parquet_files.batches_of(file, path, batch_rows=batch_rows, row_groups=[group], columns=decoded):
            _check_nulls(table, form, path)
            table = _in_form(table, [name for name in form.names if name in chosen or name in asked], form)
            table = table if where is None else table.filter(where)
            if table.num_rows:
                yield table.select(list(chosen))


def _is_true_of_any(
    file: pq.ParquetFile,
    path: pathlib.Path,
    where: pc.Expression,
    asked: Sequence[str],
    form: pa.Schema,
    group: int,
) -> bool:
    """Whether a condition is true of a row, of which only the columns that it names are decoded."""
    present = set(file.schema_arrow.names)
    own = [name for name in asked if name in present]
    if not own:
        return True
    tables = parquet_files.batches_of(file, path, batch_rows=_BATCH_ROWS, row_groups=[group], columns=own)
    return any(_in_form(table, asked, form).filter(where).num_rows for table in tables)


def _form_of_file(file: pq.ParquetFile) -> pa.Schema:
    """Columns that rows of a file have here: those of today, and behind them those that this version does not know."""
    return in_current_schema(file.schema_arrow.empty_table()).schema


def _columns_of_condition(where: pc.Expression, form: pa.Schema, path: pathlib.Path) -> list[str]:
    """Columns that a condition may name: an expression does not tell, but its text holds their names."""
    text = str(where)
    named = [name for name in form.names if name in text]
    for names in (named, form.names):
        try:
            form.empty_table().select(names).filter(where)
            return names
        except (pa.ArrowException, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
    raise LabelQueryError(f"{path}: the condition {text[:200]} does not fit its columns ({reason})")


def _check_nulls(table: pa.Table, form: pa.Schema, path: pathlib.Path) -> None:
    for name in table.column_names:
        if table.column(name).null_count and not form.field(name).nullable:
            raise LabelError(f"{path}: column {name!r} must not hold nulls, got {table.column(name).null_count}")


def _in_form(table: pa.Table, names: Sequence[str], form: pa.Schema) -> pa.Table:
    """Columns of some names, null where a file is too old to have them."""
    arrays = [
        table.column(name)
        if name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, form.field(name).type)])
        for name in names
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema([form.field(name) for name in names], form.metadata))
