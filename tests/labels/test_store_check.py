import json
import os
import shutil

import pytest

from hardmo_jax.labels import store, store_manifest
from hardmo_jax.labels.sharded_store import (
    StoreIncompleteError,
    compact_labels,
    read_store_manifest,
    verify_store,
)
from hardmo_jax.labels.stream_labels import stream_labels
from hardmo_jax.labels.table_files import LabelFormatError
from tests.labels.test_schema import make_row
from tests.labels.test_sharded_store import same_labels, video_rows, write_parts

ROWS = [row for video in range(3) for row in video_rows(video, 2)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store of three shards that nobody changes."""
    folder = tmp_path_factory.mktemp("whole")
    parts = write_parts(folder, [[video_rows(video, 2)] for video in range(3)])
    compact_labels(parts, folder / "store", rows_per_shard=2)
    return folder / "store"


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def damage(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def assert_refused(folder, match):
    """Whoever reads it is told the same."""
    with pytest.raises(StoreIncompleteError, match=match):
        store.read_labels(folder)
    with pytest.raises(StoreIncompleteError, match=match):
        list(stream_labels(folder))


def test_copied_moved_and_renamed_store_is_complete(copy, tmp_path):
    moved = tmp_path / "elsewhere" / "renamed store"
    moved.parent.mkdir()
    copy.rename(moved)
    check = verify_store(moved)
    assert check.is_complete
    assert check.num_rows == 6
    assert check.told() == f"{moved}: complete, 6 labels"
    assert same_labels(store.read_labels(moved).rows, ROWS)


def test_unfinished_and_hidden_files_are_left_out(copy):
    for name in (".writing-0123.parquet", ".labels-00009.parquet", "._labels-00000.parquet"):
        (copy / name).write_bytes(b"unfinished")
    (copy / ".writing-shards-0123").mkdir()
    assert same_labels(store.read_labels(copy).rows, ROWS)
    assert verify_store(copy).is_complete
    assert verify_store(copy).foreign == ()


def test_copy_without_a_shard_is_refused_and_says_which(copy):
    (copy / "labels-00001.parquet").unlink()
    assert_refused(copy, r"labels-00001\.parquet of 3 shards are missing, with 2 labels; copy them again")
    (copy / "labels-00002.parquet").unlink()
    assert_refused(copy, r"labels-00001\.parquet and 1 more of 3 shards are missing, with 4 labels")
    check = verify_store(copy)
    assert not check.is_complete
    assert check.missing == ("labels-00001.parquet", "labels-00002.parquet")
    assert check.num_rows == 2


def test_truncated_shard_is_refused_and_says_by_how_much(copy):
    path = copy / "labels-00001.parquet"
    size = path.stat().st_size
    os.truncate(path, size - 1)
    assert_refused(copy, f"has {size - 1} bytes, and was written with {size}; copy it again")
    assert verify_store(copy).changed == ("labels-00001.parquet",)


def test_renamed_shard_is_refused(copy):
    (copy / "labels-00001.parquet").rename(copy / "labels-00007.parquet")
    assert_refused(copy, r"labels-00001\.parquet of 3 shards are missing")
    assert verify_store(copy).foreign == ("labels-00007.parquet",)


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 0.8, 0.999])
def test_flipped_bit_is_found_by_its_checksum(copy, place):
    path = copy / "labels-00001.parquet"
    damage(path, int(place * path.stat().st_size))
    check = verify_store(copy)
    assert not check.is_complete
    assert check.changed == ("labels-00001.parquet",)
    assert "1 changed (labels-00001.parquet); 4 labels are as they were written" in check.told()


def test_flipped_bit_in_any_page_is_told_when_labels_are_read(copy):
    """Pages carry checksums: a wrong number that still looks like a label is no label.

    Of so small a file a large part is headers, in which many a bit changes nothing that is read.
    """
    path = copy / "labels-00000.parquet"
    whole, unnoticed = path.read_bytes(), 0
    # Between the magic number and the footer there are pages and their headers.
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for at in range(7, end, end // 30):
        damage(path, at)
        try:
            read = store.read_labels(copy).rows
        except (LabelFormatError, store.LabelError):
            continue
        finally:
            path.write_bytes(whole)
        # A bit of a header that nobody needs, such as a size that is known otherwise.
        assert same_labels(read, ROWS)
        unnoticed += 1
    assert unnoticed < 15


def test_swapped_shards_are_found(copy):
    first, second = copy / "labels-00000.parquet", copy / "labels-00001.parquet"
    first.rename(copy / "third")
    second.rename(first)
    (copy / "third").rename(second)
    assert verify_store(copy).changed == ("labels-00000.parquet", "labels-00001.parquet")
    if first.stat().st_size != second.stat().st_size:
        assert_refused(copy, "was written with")


def test_manifest_of_another_store_is_refused(copy, tmp_path):
    parts = write_parts(tmp_path, [[video_rows(video, 3)] for video in range(2)])
    compact_labels(parts, tmp_path / "other", rows_per_shard=3)
    shutil.copy(tmp_path / "other" / "manifest.json", copy)
    # The shards are of other lengths, and there is one too many.
    assert_refused(copy, r"was written with|is none of the 2 shards")
    check = verify_store(copy)
    assert check.changed == ("labels-00000.parquet", "labels-00001.parquet")
    assert check.foreign == ("labels-00002.parquet",)


def test_shard_of_another_store_beside_the_own_ones_is_refused(copy):
    shutil.copy(copy / "labels-00000.parquet", copy / "labels-00003.parquet")
    assert_refused(copy, r"labels-00003\.parquet is none of the 3 shards")
    (copy / "labels-00003.parquet").rename(copy / "analysis.parquet")
    assert same_labels(store.read_labels(copy).rows, ROWS)
    assert verify_store(copy).foreign == ("analysis.parquet",)


def test_shards_without_a_manifest_are_read_as_ever(copy):
    (copy / "manifest.json").unlink()
    (copy / "labels-00001.parquet").unlink()
    assert same_labels(store.read_labels(copy).rows, [*ROWS[:2], *ROWS[4:]])
    check = verify_store(copy)
    assert not check.is_complete
    assert "not finished" in check.told()
    assert (check.num_rows, check.missing, check.changed, check.foreign) == (0, (), (), ())


def test_unfinished_store_is_refused(copy):
    manifest = read_store_manifest(copy)
    store_manifest.write_store_manifest(
        copy, store_manifest.UnfinishedStore(goal=manifest, names=frozenset({"labels-00000.parquet"}))
    )
    assert read_store_manifest(copy) is None
    assert_refused(copy, "not finished")
    assert not verify_store(copy).is_complete
    with pytest.raises(StoreIncompleteError, match="nothing in it can be changed"):
        store.write_labels(copy / "labels-00000.parquet", ROWS[:2])


# Manifests of strangers ----------------------------------------------------------------------------------


def test_newer_manifest_is_refused_with_what_to_do(copy):
    told = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**told, "store_format_version": 2, "shards": "of another form"}))
    assert_refused(copy, "written by a newer hardmo_jax .* update hardmo_jax")
    with pytest.raises(StoreIncompleteError, match="newer"):
        verify_store(copy)


def test_manifest_of_a_later_minor_form_is_read(copy):
    told = json.loads((copy / "manifest.json").read_text())
    told["notes"] = "unknown"
    told["shards"][0]["colour"] = "red"
    (copy / "manifest.json").write_text(json.dumps(told))
    assert verify_store(copy).is_complete


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("store_format_version"),
        lambda told: told.update(store_format_version=True),
        lambda told: told.update(store_format_version=0),
        lambda told: told.update(num_rows=7),
        lambda told: told.update(shards=[], num_rows=0),
        lambda told: told.update(shards="labels-00000.parquet"),
        lambda told: told["shards"].append(told["shards"][0]),
        lambda told: told["shards"][0].update(name="../labels-00000.parquet"),
        lambda told: told["shards"][0].update(name="/labels-00000.parquet"),
        lambda told: told["shards"][0].update(name=["labels-00000.parquet"]),
        lambda told: told["shards"][0].update(num_bytes=-1),
        lambda told: told["shards"][0].update(num_bytes=1e400),
        lambda told: told["shards"][0].update(num_rows=True),
        lambda told: told["shards"][0].update(num_bytes=2**63),
        lambda told: told["shards"][0].update(num_bytes=1000.5),
        lambda told: told["shards"][0].update(num_bytes="1000"),
        lambda told: told["shards"][0].update(num_bytes=True),
        lambda told: told["shards"][0].update(compacted_rows=True),
        lambda told: told["shards"][0].update(sha256="0" * 63),
        lambda told: told["shards"][0].update(sha256=None),
        lambda told: told["shards"][0].update(sources={"path": "a"}),
        lambda told: told["shards"][0].update(sources=[{"path": 1, "sha256": "a", "num_rows": 1}]),
        lambda told: told["shards"][0].update(announced=[]),
    ],
)
def test_damaged_manifest_is_refused(copy, change):
    told = json.loads((copy / "manifest.json").read_text())
    change(told)
    (copy / "manifest.json").write_text(json.dumps(told))
    assert_refused(copy, r"manifest\.json: damaged")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 200_000, b"7", b'{"store_format_version": 1}']
)
def test_manifest_that_is_none_is_refused(copy, content):
    (copy / "manifest.json").write_bytes(content)
    assert_refused(copy, r"manifest\.json: damaged")


def test_manifest_larger_than_any_is_refused_unread(copy, monkeypatch):
    monkeypatch.setattr(store_manifest, "MAX_MANIFEST_BYTES", 1000)
    assert_refused(copy, "no manifest is so large")


def test_sources_are_left_out_where_they_would_make_the_manifest_too_large(tmp_path, monkeypatch):
    parts = write_parts(tmp_path, [[[make_row(seed) for seed in range(5)]]])
    monkeypatch.setattr(store_manifest, "MAX_MANIFEST_BYTES", 600)
    compact_labels(parts, tmp_path / "store")
    assert read_store_manifest(tmp_path / "store").shards[0].facts.sources is None
    assert verify_store(tmp_path / "store").is_complete


def test_manifest_keeps_paths_of_any_letters(tmp_path):
    row = make_row(0, source_path="Tänze/踊り \U0001f483.mp4", label_id="")
    compact_labels(write_parts(tmp_path, [[[row]]]), tmp_path / "store")
    assert read_store_manifest(tmp_path / "store").shards[0].facts.sources[0].path == row.source_path
