"""One writer at a time for a label file, also of two processes, and after one was killed."""

import subprocess
import sys
import threading
import time

import pytest

from hardmo_jax.pipelines.store_lock import StoreBusyError, held_store
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
        "import sys, time\nfrom hardmo_jax.pipelines.store_lock import held_store\n"
        "with held_store(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as job:
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
