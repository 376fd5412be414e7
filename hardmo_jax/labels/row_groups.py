"""Row groups of a Parquet file that may hold rows of which a condition is true, by the statistics in its footer.

pyarrow does the same for itself, but looks at every row group that holds a null: of most columns of labels that is
each. Here rows with a value and rows without one are asked about apart: one of the two holds of every row.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq

#: Columns of a condition that are looked at; patterns of nulls double with each.
_MOST_COLUMNS = 6


def matching_row_groups(
    metadata: pq.FileMetaData, where: pc.Expression, form: pa.Schema, columns: Sequence[str]
) -> list[int]:
    """Row groups that may hold rows of which a condition is true.

    Args:
        metadata: Of an open file.
        where: The condition.
        form: Columns that it may name; those that the file lacks exclude nothing.
        columns: Those that it does name, or more; lists and what is in them exclude nothing.
    """
    places = {metadata.schema.column(index).path: index for index in range(metadata.num_columns)}
    known = [name for name in columns if name in places][:_MOST_COLUMNS]
    kind = pyarrow.dataset.ParquetFileFormat()
    # Nothing of these names is opened: pyarrow compares a condition with what is known of a file before it does.
    nowhere = pyarrow.fs.LocalFileSystem()
    fragments = []
    for group in range(metadata.num_row_groups):
        facts = [_facts_of(metadata.row_group(group), places[name], name, form) for name in known]
        for pattern in itertools.product(*facts):
            guarantee = pc.scalar(True)
            for fact in pattern:
                guarantee = guarantee if fact is None else guarantee & fact
            fragments.append(
                kind.make_fragment(f"{group}/{len(fragments)}", filesystem=nowhere, partition_expression=guarantee)
            )
    dataset = pyarrow.dataset.FileSystemDataset(fragments, form, kind, nowhere)
    return sorted({int(fragment.path.split("/")[0]) for fragment in dataset.get_fragments(filter=where)})


def _facts_of(group: pq.RowGroupMetaData, index: int, name: str, form: pa.Schema) -> list[pc.Expression | None]:
    """What holds of a column in each row of a group: one of these, of which None says nothing."""
    statistics = group.column(index).statistics
    if statistics is None or not statistics.has_null_count:
        return [None]
    field = pc.field(name)
    if statistics.null_count == group.num_rows:
        return [field.is_null()]
    with_value = _range_of(statistics, field, form.field(name).type)
    if with_value is None:
        return [None]
    return [with_value] if statistics.null_count == 0 else [with_value, field.is_null()]


def _range_of(statistics: Any, field: pc.Expression, kind: pa.DataType) -> pc.Expression | None:
    if not statistics.has_min_max:
        return None
    try:
        least, most = (pa.scalar(value, kind) for value in (statistics.min, statistics.max))
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    # An equality says more: only of a known value anything but comparisons is found out.
    return field == least if least == most else (field >= least) & (field <= most)
