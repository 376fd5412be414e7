"""Labels that wait on disk until their file is written, and what is read at a limit."""

import pyarrow.parquet as pq
import pytest

from hardmo_jax.labels import schema, store
from hardmo_jax.labels.table_files import LabelFormatError
from tests.labels.test_schema import make_full_row, make_row


def packed(folder, *rows):
    return store.PackedLabels(rows, folder / "not" / "there" / f"{rows[0].frame_index}.arrows")


def test_packed_labels_are_written_in_order_and_as_they_were(tmp_path):
    pieces = [packed(tmp_path, make_row(2), make_full_row(3)), packed(tmp_path, make_row(0))]
    assert [len(piece) for piece in pieces] == [2, 1]
    assert pieces[1].keys == {(make_row(0).label_id, 1)}
    assert pieces[0].table().equals(schema.labels_to_table([make_row(2), make_full_row(3)]))
    path = store.write_packed(tmp_path / "labels.parquet", pieces)
    assert path == tmp_path / "labels.parquet"
    rows = store.read_labels(path).rows
    expected = [make_row(2), make_full_row(3), make_row(0)]
    assert all(one.same_as(other) for one, other in zip(rows, expected, strict=True))
    assert pq.read_metadata(path).num_row_groups == 2
    assert len(store.read_labels(store.write_packed(tmp_path / "none.parquet", []))) == 0


def test_label_in_two_pieces_is_refused_and_the_former_file_stays(tmp_path):
    path = store.write_packed(tmp_path / "labels.parquet", [packed(tmp_path, make_row(9))])
    before = path.read_bytes()
    pieces = [packed(tmp_path, make_row(frame)) for frame in (0, 1)]
    with pytest.raises(schema.LabelError, match=f"label {make_row(0).label_id} occurs twice"):
        store.write_packed(path, [*pieces, pieces[0]])
    assert path.read_bytes() == before
    with pytest.raises(schema.LabelError, match="occurs twice"):
        packed(tmp_path, make_row(4), make_row(4))


def test_what_is_as_large_as_may_be_is_read(tmp_path):
    for number in range(2):
        store.write_shard(tmp_path, number, [make_row(2 * number), make_row(2 * number + 1)])
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert len(store.read_labels(tmp_path, max_bytes=size, max_rows=4)) == 4
    with pytest.raises(LabelFormatError, match=f"more than the limit of {size - 1} bytes"):
        store.read_labels(tmp_path, max_bytes=size - 1)
    with pytest.raises(LabelFormatError, match="more than"):
        store.read_labels(tmp_path, max_rows=3)


def test_shards_have_as_many_labels_as_asked_for_and_at_least_one(tmp_path):
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"must be positive, got {wrong}"):
            store.LabelWriter(tmp_path, rows_per_shard=wrong)
    with store.LabelWriter(tmp_path, rows_per_shard=1) as writer:
        writer.add(make_row(0))
        assert len(writer.paths) == 1
    (tmp_path / "labels-00041.parquet").write_bytes((tmp_path / "labels-00000.parquet").read_bytes())
    with store.LabelWriter(tmp_path / ".", rows_per_shard=1) as writer:
        writer.add(make_row(1))
    assert [path.name for path in writer.paths] == ["labels-00042.parquet"]
