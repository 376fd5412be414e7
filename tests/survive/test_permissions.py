"""What may not be read or written is told by name, and the same command goes on once it may: by whoever runs the tests.

Root may everything, so that the tests give that up for the length of a block.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile

import pytest

from hardmo_jax.labels import store
from hardmo_jax.labels.store import PackedLabels
from hardmo_jax.perception.decoding_process import ProcessDecoder
from hardmo_jax.pipelines import annotate_input
from hardmo_jax.pipelines.runners.manifest import read_item_states
from tests.labels.test_schema import make_full_row
from tests.survive.recorded_jobs import Recorded, RunOf, bytes_of, in_one_process, run_recorded

_NOBODY = 65534


@pytest.fixture
def place():
    """A folder that nobody of the system may reach: those of pytest are its user's alone."""
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def own_decoder(monkeypatch):
    """Files are decoded by a process that is started by whoever asks first, and not by one with the rights of root that
    earlier tests left."""
    decoder = ProcessDecoder()
    monkeypatch.setattr(annotate_input, "shared_process_decoder", lambda: decoder)
    yield
    decoder.close()


@contextlib.contextmanager
def as_nobody(*own: pathlib.Path):
    """Without the rights of root while the block runs; folders and what is in them are nobody's own before."""
    is_root = os.geteuid() == 0
    if is_root:
        for folder in own:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_files_and_folders_that_may_not_be_used_are_told_and_cost_nothing_else(place, promise, one_thread, own_decoder):
    recorded = Recorded.make(place / "inputs", [[1], [2]])
    assert recorded.packed
    denied = recorded.folder / "denied.mp4"
    denied.write_bytes(b"what nobody may read")
    # What a run imports and asks of its machine is there when rights are given up.
    with in_one_process(recorded, RunOf()):
        run_recorded(recorded, place / "undisturbed")
    expected = bytes_of(place / "undisturbed")
    jobs = place / "jobs"
    jobs.mkdir()
    with promise("permission denied: inputs, folders, parts") as row, in_one_process(recorded, RunOf()):
        denied.chmod(0)
        with as_nobody(jobs, recorded.folder):
            outcome = run_recorded(recorded, jobs / "input", paths=[*recorded.paths, denied])
            told = dict(outcome.failures)
            row.tried(None if told.keys() == {denied.name} else f"failures are {sorted(told)}")
            reason = told.get(denied.name, "")
            is_said = "permission" in reason.lower() and "\n" not in reason
            row.tried(None if is_said else f"the reason does not say it: {reason!r}")
            row.tried(None if bytes_of(jobs / "input") == expected else "an input that is denied costs others")

            jobs.chmod(0o555)
            try:
                run_recorded(recorded, jobs / "output")
                row.tried("a job was written where nobody may write")
            except PermissionError as error:
                row.tried(None if "output" in str(error.filename) else f"the folder is not named: {error}")
            jobs.chmod(0o755)
            row.tried(None if not (jobs / "output").exists() else "something was left behind")

            run_recorded(recorded, jobs / "parts", shard="1/2")
            parts = jobs / "parts/parts"
            parts.chmod(0o555)
            told_of = ""
            try:
                outcome = run_recorded(recorded, jobs / "parts", shard="2/2")
                told_of = " ".join(reason for _, reason in outcome.failures)
            except OSError as error:
                told_of = str(error)
            row.tried(None if "permission" in told_of.lower() else f"parts that are denied are not told: {told_of!r}")
            parts.chmod(0o755)
            for shard in ("1/2", "2/2"):
                run_recorded(recorded, jobs / "parts", shard=shard)
            states = {state.state for state in read_item_states(jobs / "parts").values()}
            row.tried(None if states == {"done"} else f"items are {states} after the rights are back")
            row.tried(None if bytes_of(jobs / "parts") == expected else "the store is not that of an undisturbed run")


def test_labels_that_may_not_be_replaced_stay(place):
    own = place / "own"
    own.mkdir()
    path, row = own / "labels.parquet", make_full_row()
    store.write_labels(path, [row])
    with as_nobody(own):
        own.chmod(0o555)
        with pytest.raises(PermissionError):
            store.write_labels(path, [make_full_row(1)])
        with pytest.raises(PermissionError):
            store.write_packed(path, [PackedLabels([row], own / "labels.arrows")])
        assert [one.name for one in own.iterdir()] == ["labels.parquet"]
        assert store.read_labels(path)[0].same_as(row)
