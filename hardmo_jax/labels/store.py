"""Labels on disk: Parquet files that are complete or absent, and the rule by which a label is replaced.

A Parquet file is worthless until its footer is written, so each shard is a file of its own, written under a
temporary name, flushed and renamed. Files come from strangers too: the footer is looked at before pyarrow
opens the file, types that run code when they are read are refused, sizes are bounded, and every value is
checked against the schema.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hardmo_jax.labels import part_repairs, schema, shard_changes, store_check
from hardmo_jax.labels.schema import LabelError, LabelRow
from hardmo_jax.labels.table_files import (
    KEY_COLUMNS,
    ROWS_PER_GROUP,
    LabelFormatError,
    parquet_options,
    read_label_table,
    unknown_columns_of,
    with_extra_columns,
)
from hardmo_jax.skeleton import layouts

#: Largest label file that is read, in bytes.
MAX_BYTES = 4 << 30
#: Largest number of labels that is read at once.
MAX_ROWS = 20_000_000

_SHARD = re.compile(r"labels-([0-9]{5,})\.parquet")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The labels of a file or of a folder of shards."""

    rows: tuple[LabelRow, ...]
    """Labels in file order."""
    unknown_columns: tuple[str, ...] = ()
    """Columns that this version does not know."""
    extra: pa.Table | None = None
    """Those columns with `label_id` and `label_version`; give it to `write_labels` to keep them."""
    format_version: int = schema.FORMAT_VERSION
    """Oldest version among the files read."""
    absent_columns: tuple[str, ...] = ()
    """Columns of this version that a file is too old to have; None in its rows."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[LabelRow]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> LabelRow:
        return self.rows[index]


# Writing -------------------------------------------------------------------------------------------------


def write_labels(
    path: str | os.PathLike[str], rows: Sequence[LabelRow], *, extra: pa.Table | None = None
) -> pathlib.Path:
    """Write labels to one Parquet file, completely or not at all.

    Args:
        path: File to write; an earlier one is replaced only when the new one is complete on disk.
        rows: Labels; each is checked.
        extra: Further columns with `label_id` and `label_version`, as `LabelSet.extra` gives them. Labels
            that are not in it get nulls.

    Returns:
        The path.

    Raises:
        LabelError: If a row is not valid or occurs twice.
    """
    table = schema.labels_to_table(rows)
    if extra is not None:
        table = with_extra_columns(table, extra)
    with shard_changes.replacing_shard(pathlib.Path(path)) as temporary:
        pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, **parquet_options(table.schema))
    return pathlib.Path(path)


class PackedLabels:
    """Checked labels on disk: a long job holds where these are, and not rows, until it writes its one file."""

    def __init__(self, rows: Sequence[LabelRow], path: pathlib.Path) -> None:
        """Check and pack.

        Args:
            rows: Labels of which none occurs twice.
            path: File to write, which must stay until the labels are in another; missing parent folders are made.

        Raises:
            LabelError: If a row is not valid or occurs twice.
        """
        table = schema.labels_to_table(rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema, options=options) as stream:
            stream.write_table(table)
        self._path = path
        self.keys = frozenset((row.label_id, row.label_version) for row in rows)
        """Identity of each label."""

    def __len__(self) -> int:
        return len(self.keys)

    def table(self) -> pa.Table:
        """The labels as a table of `schema.label_schema`."""
        with pa.OSFile(str(self._path), "rb") as source, pa.ipc.open_stream(source) as stream:
            return stream.read_all()


def write_packed(path: str | os.PathLike[str], packed: Sequence[PackedLabels]) -> pathlib.Path:
    """Write labels to one Parquet file, completely or not at all, a piece at a time.

    Args:
        path: File to write; an earlier one is replaced only when the new one is complete on disk.
        packed: Labels, in order.

    Returns:
        The path.

    Raises:
        LabelError: If a label is in two of the pieces.
    """
    seen: set[tuple[str, int]] = set()
    for piece in packed:
        twice = seen & piece.keys
        if twice:
            raise LabelError(f"label {min(twice)[0]} occurs twice; each version of a label is written once")
        seen |= piece.keys
    form = schema.label_schema()
    with (
        shard_changes.replacing_shard(pathlib.Path(path)) as temporary,
        pq.ParquetWriter(temporary, form, **parquet_options(form)) as writer,
    ):
        for piece in packed:
            writer.write_table(piece.table(), row_group_size=ROWS_PER_GROUP)
    return pathlib.Path(path)


def shard_path(folder: str | os.PathLike[str], shard_index: int) -> pathlib.Path:
    """Name of a shard inside a folder."""
    return pathlib.Path(folder) / f"labels-{shard_index:05d}.parquet"


def write_shard(
    folder: str | os.PathLike[str], shard_index: int, rows: Sequence[LabelRow], *, overwrite: bool = False
) -> pathlib.Path:
    """Write one shard of a folder atomically.

    Raises:
        FileExistsError: If the shard is there already and `overwrite` is not set.
        LabelError: If a row is not valid or occurs twice.
    """
    path = shard_path(folder, shard_index)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: this shard is already written; resume behind it or set `overwrite`")
    return write_labels(path, rows)


class LabelWriter:
    """Collects labels and publishes a shard whenever enough are there.

    Used as a context manager. Rows of an unfinished shard are written at a normal end and dropped when the
    block raises, so that a shard always holds what it would hold in an undisturbed run.
    """

    def __init__(self, folder: str | os.PathLike[str], *, rows_per_shard: int = 4096) -> None:
        """Continue behind the shards that the folder has already.

        Args:
            folder: Where the shards go; made if absent.
            rows_per_shard: Labels per file.
        """
        if rows_per_shard < 1:
            raise ValueError(f"`rows_per_shard` must be positive, got {rows_per_shard}")
        self.folder = pathlib.Path(folder)
        self.rows_per_shard = rows_per_shard
        self.paths: list[pathlib.Path] = []
        """Shards written by this writer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        matches = (_SHARD.fullmatch(path.name) for path in self.folder.iterdir())
        self._next_index = 1 + max((int(match[1]) for match in matches if match), default=-1)
        self._rows: list[LabelRow] = []

    def __enter__(self) -> "LabelWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            self.flush()
        self._rows.clear()

    def add(self, row: LabelRow) -> None:
        """Check a label and take it in."""
        row.validate()
        self._rows.append(row)
        if len(self._rows) >= self.rows_per_shard:
            self.flush()

    def extend(self, rows: Iterable[LabelRow]) -> None:
        """Check labels and take them in."""
        for row in rows:
            self.add(row)

    def flush(self) -> None:
        """Publish what has been collected as a shard."""
        if self._rows:
            self.paths.append(write_shard(self.folder, self._next_index, self._rows))
            self._next_index += 1
            self._rows.clear()


# Reading -------------------------------------------------------------------------------------------------


def read_labels(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES, max_rows: int = MAX_ROWS) -> LabelSet:
    """Read and check a label file, or all shards of a folder in the order of their names.

    Args:
        path: Parquet file or folder of them. Unfinished files (hidden names) of a folder are left out.
        max_bytes: Largest size of all files together.
        max_rows: Largest number of labels.

    Raises:
        FileNotFoundError: If nothing is there.
        LabelFormatError: If a file is cut off, too large, no label file, or of a newer version.
        hardmo_jax.labels.store_manifest.StoreIncompleteError: If a shard of a store is missing or of another length, or
            the store is put together anew meanwhile.
        LabelError: If a label holds an impossible value or occurs twice.
    """
    path = pathlib.Path(path)
    rows: list[LabelRow] = []
    extras: list[pa.Table] = []
    versions: list[int] = []
    absent: dict[str, None] = {}
    num_bytes = 0
    with store_check.label_files_of(path) as files:
        for entry in files:
            num_bytes += entry.stat().st_size
            if num_bytes > max_bytes:
                raise LabelFormatError(f"{path}: more than the limit of {max_bytes} bytes; split it")
            table, version, missing = read_label_table(entry, max_rows - len(rows))
            absent |= dict.fromkeys(missing)
            unknown = unknown_columns_of(table)
            if unknown:
                extras.append(table.select([*KEY_COLUMNS, *unknown]))
            try:
                rows += schema.table_to_labels(table)
            except LabelError as error:
                raise LabelError(f"{entry}: {error}") from error
            versions.append(version)
    schema.check_unique(rows)
    try:
        extra = pa.concat_tables(extras, promote_options="default") if extras else None
    except pa.ArrowException as error:
        raise LabelFormatError(f"{path}: shards disagree on the type of an unknown column ({error})") from error
    unknown_columns = tuple(name for name in extra.column_names if name not in KEY_COLUMNS) if extra else ()
    return LabelSet(
        rows=tuple(rows), unknown_columns=unknown_columns, extra=extra, format_version=min(versions),
        absent_columns=tuple(absent),
    )  # fmt: skip


# Replacing -----------------------------------------------------------------------------------------------


def replace_if_better(
    existing: LabelRow,
    candidate: LabelRow,
    *,
    body_tolerance: float = 0.002,
    part_tolerance: float = 0.002,
) -> LabelRow:
    """The better of two versions of a label.

    A person's word stands above every machine's: a human label, or one that a person accepted, gives way only
    to a human label, and a human candidate always wins. The one exception is a foot or hand that the person called
    wrong: a machine may repair it there if all else stays exactly as it was, and the new version has the origin and
    the review of the old one, so that no machine replaces the rest later. Points that a person took from a machine's
    label stay away: a candidate of other points is refused. A rejected label gives way to any usable one. Otherwise
    the better status wins, then the body error, then the feet and hands: none may be worse than before, and
    together they must be better. A part that lost its evidence counts as worse. A foot or hand that was replaced
    behind the gate (`outcome_by_part` says refined, and did not before) makes a label better by itself, as long as
    nothing became worse: the gate measured it more finely than these errors do.

    Args:
        existing: Label in the store.
        candidate: New label of the same person and frame, measured against the same keypoints.
        body_tolerance: Differences of the body error up to this count as equal (fraction of the box).
        part_tolerance: Same for one foot or hand, and for the sum of all four.

    Returns:
        `existing` itself, or `candidate` with the next version number and `existing` as its parent.

    Raises:
        LabelError: If the two are labels of different people or frames.
    """
    if existing.label_id != candidate.label_id:
        raise LabelError(f"labels {existing.label_id} and {candidate.label_id} are not of the same person and frame")
    if not _is_better(existing, candidate, body_tolerance, part_tolerance):
        return existing
    is_a_persons = existing.belongs_to_a_person and candidate.origin != "human"
    whose = {"origin": existing.origin, "review": existing.review} if is_a_persons else {}
    return dataclasses.replace(
        candidate, label_version=existing.label_version + 1, parent_version=existing.label_version, **whose
    )


def _is_better(existing: LabelRow, candidate: LabelRow, body_tolerance: float, part_tolerance: float) -> bool:
    if candidate.origin == "human":
        return True
    if existing.belongs_to_a_person and not part_repairs.repairs_what_was_called_wrong(existing, candidate):
        return False
    if existing.review == "rejected" and candidate.is_usable:
        return True
    if existing.placed_points is not None and not _is_of_same_points(existing, candidate):
        return False
    ranks = [schema.STATUSES.index(row.status) for row in (existing, candidate)]
    if ranks[0] != ranks[1]:
        return ranks[1] < ranks[0]
    if not candidate.is_usable:
        return False
    change = {part: _change(existing, candidate, part) for part in layouts.PARTS}
    body = change.pop("body")
    if abs(body) > body_tolerance:
        return body < 0
    is_refined = any(
        candidate.outcome_by_part[part] == "refined" != existing.outcome_by_part[part] for part in layouts.PARTS
    )
    return max(change.values()) <= part_tolerance and (is_refined or sum(change.values()) < -part_tolerance)


def _is_of_same_points(existing: LabelRow, candidate: LabelRow) -> bool:
    return bool(
        np.array_equal(existing.keypoints_2d, candidate.keypoints_2d)
        and np.array_equal(existing.keypoint_confidence, candidate.keypoint_confidence)
        and existing.placed_points == candidate.placed_points
        and existing.placed_points_3d == candidate.placed_points_3d
    )


def _change(existing: LabelRow, candidate: LabelRow, part: str) -> float:
    """Change of a part's error; 0 where neither or only the candidate has evidence, +inf where it was lost."""
    before, after = existing.error_by_part[part], candidate.error_by_part[part]
    if before is None:
        return 0.0
    return float("inf") if after is None else after - before


def merge_labels(
    existing: Iterable[LabelRow], candidates: Iterable[LabelRow], *, keep_history: bool = False
) -> list[LabelRow]:
    """Labels after each candidate has been offered to the newest version of its label.

    Args:
        existing: Labels in the store, any number of versions.
        candidates: New labels; those of people not yet in the store are added.
        keep_history: Keep the replaced versions too.

    Returns:
        Labels in the order of `existing`, new versions behind the one they replace, new people at the end.
    """
    history: dict[str, list[LabelRow]] = {}
    for row in existing:
        history.setdefault(row.label_id, []).append(row)
    for versions in history.values():
        versions.sort(key=lambda row: row.label_version)
    for candidate in candidates:
        versions = history.setdefault(candidate.label_id, [])
        winner = replace_if_better(versions[-1], candidate) if versions else candidate
        if not versions or winner is not versions[-1]:
            versions.append(winner)
    return [row for versions in history.values() for row in (versions if keep_history else versions[-1:])]


def latest_labels(rows: Iterable[LabelRow]) -> list[LabelRow]:
    """Newest version of each label, in the order of first occurrence."""
    return merge_labels(rows, ())
