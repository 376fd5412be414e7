"""One writer at a time for a label file, also of two processes, and after one was killed."""

import dataclasses
import subprocess
import sys
import threading
import time

import pytest

from hardmo_jax.labels import store
from hardmo_jax.pipelines.shared_store import (
    ShardedStoreError,
    StoreBusyError,
    held_store,
    labels_file,
    with_others_work,
)
from tests.labels.test_schema import make_row
from tests.tools.command_line import ROOT


def test_second_writer_waits_and_is_told_when_it_takes_too_long(tmp_path):
    path = tmp_path / "labels.parquet"
    told = r"labels\.parquet: another job has been writing to it for 0\.1 s"
    with held_store(path), pytest.raises(StoreBusyError, match=told), held_store(path, patience_seconds=0.1):
        pass
    with held_store(path, patience_seconds=0.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_many_writers_take_turns(tmp_path):
    path, inside, most = tmp_path / "labels.parquet", [], []

    def write():
        for _ in range(5):
            with held_store(path):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    writers = [threading.Thread(target=write) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert most == [1] * 30
    assert list(tmp_path.iterdir()) == []


def test_killed_writer_lets_go(tmp_path):
    path = tmp_path / "labels.parquet"
    code = (
        "import sys, time\nfrom hardmo_jax.pipelines.shared_store import held_store\n"
        "with held_store(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "held\n"
        with pytest.raises(StoreBusyError), held_store(path, patience_seconds=0.1):
            pass
        job.kill()
        job.wait()
    with held_store(path, patience_seconds=5.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError), held_store(tmp_path / "gone" / "labels.parquet"):
        pass


def test_labels_that_others_touched_meanwhile_are_theirs():
    was = [make_row(frame) for frame in range(5)]

    def second(row, **changes):
        return dataclasses.replace(row, label_version=2, parent_version=1, **changes)

    machine = [version for row in was for version in (row, second(row))] + [make_row(7), make_row(8)]
    accepted, corrected = dataclasses.replace(was[1], review="accepted"), second(was[2], origin="human")
    stranger, other = make_row(6), dataclasses.replace(make_row(8), category="kata")
    # The second was reviewed, the third corrected, the fifth removed; the last two appeared, of which one here too.
    now = [was[0], accepted, was[2], corrected, was[3], stranger, other]
    found = with_others_work(machine, was, now)
    assert found.num_others == 5
    expected = [was[0], machine[1], accepted, was[2], corrected, was[3], machine[7], stranger, other, machine[10]]
    assert len(found.rows) == len(expected)
    assert all(ours.same_as(theirs) for ours, theirs in zip(found.rows, expected, strict=True))
    untouched = with_others_work(machine, was, was)
    assert untouched.num_others == 0
    assert list(untouched.rows) == machine


def test_the_one_file_of_a_store_is_found_and_shards_are_refused(tmp_path):
    assert labels_file(tmp_path) == tmp_path / "labels.parquet"
    store.write_shard(tmp_path, 0, [make_row(0)])
    with pytest.raises(ShardedStoreError, match="each of which is changed by itself"):
        labels_file(tmp_path)
    assert labels_file(tmp_path / "labels-00000.parquet") == tmp_path / "labels-00000.parquet"
