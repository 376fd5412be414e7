"""A label file in which a few labels change: all others go back as they came, neither decoded nor checked again.

Decoding and checking a label takes some ten times as long as reading and writing its columns, and a person who corrects
labels waits for one to be saved.
"""

import os
import pathlib
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hardmo_jax.labels import schema, shard_changes, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.labels.table_files import (
    KEY_COLUMNS,
    ROWS_PER_GROUP,
    LabelFormatError,
    parquet_options,
    read_label_table,
    unknown_columns_of,
    with_extra_columns,
)

#: Columns that are compared with what was to be written before a file takes the place of another.
_COMPARED = (*KEY_COLUMNS, "origin", "review")


class LabelTable:
    """All labels of a file, of which some are looked at as rows."""

    def __init__(self, table: pa.Table) -> None:
        """Take in a table.

        Args:
            table: As `table_files.read_label_table` gives it.
        """
        self._table = table

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "LabelTable":
        """Read a label file.

        Raises:
            FileNotFoundError: If nothing is there.
            LabelFormatError: If it is cut off, too large, no label file, or of a newer version.
        """
        path = pathlib.Path(path)
        size = path.stat().st_size
        if size > store.MAX_BYTES:
            raise LabelFormatError(f"{path}: {size} bytes are more than the limit of {store.MAX_BYTES}; split it")
        return cls(read_label_table(path, store.MAX_ROWS)[0])

    def __len__(self) -> int:
        return self._table.num_rows

    def versions_of(self, label_ids: Collection[str]) -> list[LabelRow]:
        """All versions of some labels, checked, in file order; nothing of labels that are not there.

        Raises:
            hardmo_jax.labels.schema.LabelError: If one of them says something impossible.
        """
        ids = self._table.column(KEY_COLUMNS[0]).to_pylist()
        return schema.table_to_labels(self._table.filter(pa.array([one in label_ids for one in ids], pa.bool_())))

    def with_versions(self, rows: Sequence[LabelRow]) -> "LabelTable":
        """The labels with some versions in place of those called the same, and new ones behind their label's last.

        Labels that are not there yet go to the end. Columns that this version of the package does not know stay as they
        are, and are null in new versions.

        Args:
            rows: Versions of labels, each once.

        Raises:
            hardmo_jax.labels.schema.LabelError: If a row says something impossible or occurs twice.
        """
        if not rows:
            return self
        made = schema.labels_to_table(rows)
        if unknown := unknown_columns_of(self._table):
            made = with_extra_columns(made, self._table.select([*KEY_COLUMNS, *unknown]))
        ids, versions = (self._table.column(name).to_pylist() for name in KEY_COLUMNS)
        place_of = {key: place for place, key in enumerate(zip(ids, versions, strict=True))}
        last_of = {label_id: place for place, label_id in enumerate(ids)}
        order = np.arange(len(ids))
        behind, added = [], []
        for at, row in enumerate(rows, start=len(ids)):
            place = place_of.get((row.label_id, row.label_version))
            if place is not None:
                order[place] = at
            else:
                behind.append(1 + last_of.get(row.label_id, len(ids) - 1))
                added.append(at)
        order = np.insert(order, np.array(behind, int), np.array(added, int))
        # Columns that are not known may be said to hold no nulls.
        together = [self._table.cast(made.schema), made]
        return LabelTable(pa.concat_tables(together).take(pa.array(order)))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the labels to one file, completely or not at all; a store whose shard it is knows of it.

        Raises:
            LabelFormatError: If what was written is not read back; an earlier file stays.
        """
        with shard_changes.replacing_shard(pathlib.Path(path)) as temporary:
            options = parquet_options(self._table.schema)
            pq.write_table(self._table, temporary, row_group_size=ROWS_PER_GROUP, **options)
            found = pq.read_table(temporary, columns=list(_COMPARED))
            if not found.equals(self._table.select(_COMPARED)):
                raise LabelFormatError(f"{path}: what was written is not read back; look whether the disk is at fault")
