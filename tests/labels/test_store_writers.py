"""Real processes that write to the same labels at once, and processes that are killed while they do."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from hardmo_jax.labels import shard_changes, store
from hardmo_jax.labels.sharded_store import StoreIncompleteError, compact_labels, read_store_manifest, verify_store
from hardmo_jax.labels.stream_labels import stream_labels
from tests.labels.test_sharded_store import content_of, same_labels, video_rows, write_parts

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SETUP = """
import os, pathlib, sys
from hardmo_jax.labels import store
from hardmo_jax.labels.sharded_store import compact_labels
folder = pathlib.Path(sys.argv[1])
parts = lambda name: [[path] for path in sorted((folder / name).rglob("*.parquet"))]
"""


def start(folder, code, *arguments):
    """A process that runs some code once its input is closed, so that several begin together."""
    code = SETUP + "sys.stdin.read()\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_together(*processes):
    for process in processes:
        process.stdin.close()
    for process in processes:
        told = process.stderr.read()
        assert process.wait(timeout=120) == 0, told


def make_parts(folder, name, videos):
    write_parts(folder / name, [[video_rows(video, 2)] for video in videos])
    return [[path] for path in sorted((folder / name).rglob("*.parquet"))]


def test_two_processes_put_the_same_store_together_at_once(tmp_path):
    make_parts(tmp_path, "parts", range(4))
    code = "compact_labels(parts('parts'), folder / 'store', rows_per_shard=2)"
    run_together(*(start(tmp_path, code) for _ in range(2)))
    assert verify_store(tmp_path / "store").is_complete
    expected = [row for video in range(4) for row in video_rows(video, 2)]
    assert same_labels(store.read_labels(tmp_path / "store").rows, expected)
    left = [path.name for path in (tmp_path / "store").iterdir() if path.name.startswith(".")]
    assert left == []


@pytest.mark.slow
def test_store_is_never_read_half_of_one_and_half_of_another(tmp_path):
    for name, videos in (("one", range(4)), ("other", range(4, 7))):
        make_parts(tmp_path, name, videos)
    expected = {
        tuple(row.label_id for video in videos for row in video_rows(video, 2)) for videos in (range(4), range(4, 7))
    }
    compact_labels([[path] for path in sorted((tmp_path / "one").rglob("*.parquet"))], tmp_path / "store")
    code = """
    for turn in range(6):
        compact_labels(parts(["other", "one"][turn % 2]), folder / "store", rows_per_shard=2)
    """
    process = start(tmp_path, code)
    process.stdin.close()
    whole = refused = 0
    readers = (
        lambda: store.read_labels(tmp_path / "store").rows,
        lambda: [row for batch in stream_labels(tmp_path / "store", batch_rows=2) for row in batch],
    )
    while process.poll() is None:
        for read in readers:
            try:
                found = tuple(row.label_id for row in read())
            except (StoreIncompleteError, FileNotFoundError, store.LabelFormatError):
                refused += 1
                continue
            assert found in expected
            whole += 1
    assert process.returncode == 0, process.stderr.read()
    assert whole > 0
    assert verify_store(tmp_path / "store").is_complete


def test_reader_that_began_before_is_told_that_the_store_is_another_one(tmp_path):
    first, second = (make_parts(tmp_path, name, videos) for name, videos in (("a", range(3)), ("b", range(3, 6))))
    compact_labels(first, tmp_path / "store", rows_per_shard=2)
    batches = stream_labels(tmp_path / "store", batch_rows=2)
    assert same_labels(next(batches).rows, video_rows(0, 2))
    compact_labels(second, tmp_path / "store", rows_per_shard=2)
    with pytest.raises(StoreIncompleteError, match="put together anew while it was read"):
        list(batches)


def test_reader_is_not_disturbed_by_labels_that_are_changed(tmp_path):
    compact_labels(make_parts(tmp_path, "a", range(3)), tmp_path / "store", rows_per_shard=2)
    batches = stream_labels(tmp_path / "store", batch_rows=2)
    found = list(next(batches).rows)
    store.write_labels(tmp_path / "store" / "labels-00001.parquet", video_rows(1, 1))
    found += [row for batch in batches for row in batch]
    assert same_labels(found, [*video_rows(0, 2), *video_rows(1, 1), *video_rows(2, 2)])


@pytest.mark.slow
def test_two_processes_write_one_file_and_one_of_them_wins(tmp_path):
    make_parts(tmp_path, "parts", range(2))
    code = """
    rows = store.read_labels(folder / "parts" / f"source-{sys.argv[2]}").rows
    for _ in range(8):
        store.write_labels(folder / "labels.parquet", rows)
    """
    first, second = (start(tmp_path, code, number) for number in range(2))
    first.stdin.close()
    second.stdin.close()
    while first.poll() is None or second.poll() is None:
        if (tmp_path / "labels.parquet").exists():
            found = store.read_labels(tmp_path / "labels.parquet").rows
            assert any(same_labels(found, video_rows(video, 2)) for video in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_processes_change_shards_of_one_store_at_once(tmp_path):
    compact_labels(make_parts(tmp_path, "parts", range(3)), tmp_path / "store", rows_per_shard=2)
    code = """
    path = folder / "store" / f"labels-0000{sys.argv[2]}.parquet"
    rows = store.read_labels(path).rows
    for turn in range(8):
        store.write_labels(path, rows[:1 + (turn + int(sys.argv[3])) % 2])
    """
    # Two of them change the same shard.
    run_together(*(start(tmp_path, code, shard, turn) for shard, turn in ((0, 0), (0, 1), (1, 0))))
    check = verify_store(tmp_path / "store")
    assert check.is_complete
    assert len(store.read_labels(tmp_path / "store")) == check.num_rows
    assert read_store_manifest(tmp_path / "store").num_rows == check.num_rows
    assert all(shard.announced is None for shard in read_store_manifest(tmp_path / "store").shards)


def test_process_that_does_not_let_go_is_told(tmp_path, monkeypatch):
    parts = make_parts(tmp_path, "parts", range(1))
    (tmp_path / "store").mkdir()
    code = """
    import time
    from hardmo_jax.labels import shard_changes
    with shard_changes.held_shards(folder / "store"):
        (folder / "held").touch()
        for _ in range(3000):
            if (folder / "let go").exists():
                break
            time.sleep(0.01)
    """
    process = start(tmp_path, code)
    process.stdin.close()
    while not (tmp_path / "held").exists():
        assert process.poll() is None, process.stderr.read()
    monkeypatch.setattr(shard_changes, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(shard_changes.StoreLockedError, match="another process has been writing"):
        compact_labels(parts, tmp_path / "store")
    (tmp_path / "let go").touch()
    assert process.wait(timeout=60) == 0
    compact_labels(parts, tmp_path / "store")
    assert verify_store(tmp_path / "store").is_complete


# Killed processes ----------------------------------------------------------------------------------------

#: A process that ends without any clean-up before or behind the effect of a given number.
KILLED = """
effects, limit = [0], int(sys.argv[2])
def counted(function):
    def call(*arguments, **options):
        for is_behind in (False, True):
            if effects[0] == limit:
                os._exit(9)
            effects[0] += 1
            if not is_behind:
                result = function(*arguments, **options)
        return result
    return call
import pyarrow.parquet as pq
for name in ("replace", "unlink", "mkdir"):
    setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))
pq.ParquetWriter.close = counted(pq.ParquetWriter.close)
"""


def killed_at_each_step(folder, code, every=1):
    """Run some code in processes that are killed at one step after the other, or at some, until one comes through."""
    # One process forks the rest: all would else import the package anew.
    fork = f"""
    for limit in range(0, 200, {every}):
        child = os.fork()
        if not child:
            sys.argv[2:] = [str(limit)]
            exec({KILLED!r})
            exec({textwrap.dedent(code)!r})
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)
        if not sys.stdin.readline():
            break
    """
    process = subprocess.Popen(
        [sys.executable, "-c", SETUP + textwrap.dedent(fork), str(folder)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stdout:
            code = os.waitstatus_to_exitcode(int(line))
            assert code in (0, 9)
            yield code == 9
            if code == 0:
                break
            process.stdin.write("\n")
            process.stdin.flush()
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, which this system cannot")
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_at_any_moment_leaves_the_store_of_before_or_one_that_says_so(tmp_path, every):
    first, second = make_parts(tmp_path, "a", range(2)), make_parts(tmp_path, "b", range(2, 3))
    undisturbed = tmp_path / "undisturbed"
    compact_labels(second, undisturbed, rows_per_shard=2)
    compact_labels(first, tmp_path / "store", rows_per_shard=2)
    shutil.copytree(tmp_path / "store", tmp_path / "kept")
    before = store.read_labels(tmp_path / "store").rows
    after = store.read_labels(undisturbed).rows
    outcomes = []
    code = "compact_labels(parts('b'), folder / 'store', rows_per_shard=2)"
    for was_killed in killed_at_each_step(tmp_path, code, every):
        try:
            found = store.read_labels(tmp_path / "store").rows
            outcomes.append("after" if same_labels(found, after) else "before")
            assert same_labels(found, after) or same_labels(found, before)
        except StoreIncompleteError as error:
            outcomes.append("unfinished" if "not finished" in str(error) else str(error))
        if not was_killed:
            break
        if outcomes[-2:] == ["before", "before"]:
            continue
        # The same call finishes it, and a new one begins with the store of before.
        compact_labels(second, tmp_path / "store", rows_per_shard=2)
        assert content_of(tmp_path / "store") == content_of(undisturbed)
        shutil.rmtree(tmp_path / "store")
        shutil.copytree(tmp_path / "kept", tmp_path / "store")
    assert outcomes[-1] == "after"
    assert {"before", "unfinished", "after"} == set(outcomes)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, which this system cannot")
@pytest.mark.slow
def test_kill_while_labels_are_changed_leaves_them_as_before_or_as_afterwards(tmp_path):
    parts = make_parts(tmp_path, "a", range(2))
    compact_labels(parts, tmp_path / "store", rows_per_shard=2)
    path = tmp_path / "store" / "labels-00000.parquet"
    outcomes = []
    for was_killed in killed_at_each_step(
        tmp_path,
        "path = folder / 'store' / 'labels-00000.parquet'\nstore.write_labels(path, store.read_labels(path).rows[:1])",
    ):
        check = verify_store(tmp_path / "store")
        assert check.is_complete
        assert len(store.read_labels(tmp_path / "store")) == check.num_rows
        outcomes.append(check.num_rows)
        if was_killed:
            store.write_labels(path, video_rows(0, 2))
            assert verify_store(tmp_path / "store").num_rows == 4
    assert set(outcomes) == {3, 4}
    assert outcomes[-1] == 3
