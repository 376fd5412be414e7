import dataclasses
import json
import os
import threading
import time

import pytest

from hardmo_jax.labels import store
from hardmo_jax.labels.sharded_store import StoreIncompleteError
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.output_folders import OutputFolderError
from hardmo_jax.pipelines.runners import job_folder, local
from hardmo_jax.pipelines.runners.job_items import JobShard, ShardError, items_of_sources
from hardmo_jax.pipelines.runners.job_progress import last_progress
from hardmo_jax.pipelines.runners.job_status import job_status
from hardmo_jax.pipelines.runners.manifest import read_item_states
from hardmo_jax.pipelines.runners.worker_process import WorkerProcess
from tests.pipelines.runners.scripted_jobs import expected_of, labels_of, run_scripts, write_scripts


def _bytes_of(output):
    return {path.name: path.read_bytes() for path in sorted((output / "labels").glob("labels-*.parquet"))}


def test_labels_do_not_depend_on_the_number_of_processes(tmp_path):
    scripts = [{"takes": [people, 1 + people % 3, 2]} for people in range(7)]
    paths = write_scripts(tmp_path / "clips", *scripts)
    stores = []
    for workers, label_workers in ((1, 1), (2, 1), (3, 2)):
        output = tmp_path / f"job_{workers}_{label_workers}"
        outcome = run_scripts(paths, output, workers=workers, label_workers=label_workers)
        assert (outcome.num_done, outcome.num_left, outcome.failures) == (7, 0, ())
        assert labels_of(output) == expected_of(paths)
        assert not (output / "parts").exists()
        stores.append(_bytes_of(output))
    assert stores[0] == stores[1] == stores[2]


def test_the_same_command_again_does_nothing_and_its_labels_stay(tmp_path):
    paths = write_scripts(tmp_path / "clips", {}, {})
    run_scripts(paths, tmp_path / "job")
    before = _bytes_of(tmp_path / "job")
    lines = (tmp_path / "job/manifest/items.jsonl").read_text()
    outcome = run_scripts(paths, tmp_path / "job")
    assert (outcome.num_labelled_before, outcome.num_done) == (2, 2)
    assert _bytes_of(tmp_path / "job") == before
    assert (tmp_path / "job/manifest/items.jsonl").read_text() == lines


def test_a_process_that_dies_costs_an_attempt_and_goes_on_behind_what_is_labelled(tmp_path):
    paths = write_scripts(
        tmp_path / "clips",
        {"takes": [1, 2, 3], "die_at": 2, "once": str(tmp_path / "died")},
        {"takes": [1], "label": "die", "once": str(tmp_path / "label_died")},
        {},
    )
    outcome = run_scripts(paths, tmp_path / "job")
    assert outcome.failures == ()
    assert (tmp_path / "died").exists()
    assert (tmp_path / "label_died").exists()
    assert labels_of(tmp_path / "job") == expected_of(paths)
    lines = [json.loads(line) for line in (tmp_path / "job/manifest/items.jsonl").read_text().splitlines()]
    begun = [line["kept_parts"] for line in lines if line["event"] == "begun" and line["item"].endswith("clip_000")]
    assert begun == [0, 2]


def test_items_that_cannot_be_labelled_are_named_with_stage_and_reason_and_cost_nobody_else(tmp_path):
    paths = write_scripts(
        tmp_path / "clips", {"die_at": 1}, {"fail_at": 0}, {"label": "die"}, {"label": "fail"}, {}, {"num_unusable": 3}
    )
    outcome = run_scripts(paths, tmp_path / "job")
    told = dict(outcome.failures)
    assert set(told) == {f"clip_00{number}.mp4" for number in range(4)}
    assert "ended with status 9" in told["clip_000.mp4"]
    assert told["clip_001.mp4"] == "no video at all"
    assert "ended with status 3" in told["clip_002.mp4"]
    assert told["clip_003.mp4"] == "nobody can be fitted"
    assert (outcome.num_done, outcome.num_left, outcome.num_unusable) == (2, 0, 3)
    states = read_item_states(tmp_path / "job")
    stages = [state.failure.stage for state in states.values() if state.failure is not None]
    assert sorted(stages) == ["fit", "fit", "look", "look"]
    # What is labelled of those that failed later is kept with all of the others.
    kept = [row for row in expected_of(paths) if row[0] in ("clip_004.mp4", "clip_005.mp4")]
    assert labels_of(tmp_path / "job") == [("clip_000.mp4", 0, 0), ("clip_000.mp4", 0, 1), *kept]
    record = json.loads((tmp_path / "job/labels/run.json").read_text())
    assert len(record["results"]["failures"]) == 4


def test_failed_items_are_tried_again_and_join_the_others(tmp_path):
    paths = write_scripts(tmp_path / "clips", {"takes": [1, 1], "fail_at": 1}, {})
    assert len(run_scripts(paths, tmp_path / "job").failures) == 1
    paths[0].write_text(json.dumps({"takes": [1, 1]}))
    outcome = run_scripts(paths, tmp_path / "job")
    assert (outcome.failures, outcome.num_labelled_before) == ((), 1)
    assert labels_of(tmp_path / "job") == expected_of(paths)
    assert not (tmp_path / "job/parts").exists()


def test_a_process_that_hangs_is_stopped(tmp_path):
    paths = write_scripts(tmp_path / "clips", {"hang_at": 1, "once": str(tmp_path / "hung")}, {})
    outcome = run_scripts(paths, tmp_path / "job", stall_seconds=2.0)
    assert outcome.failures == ()
    assert labels_of(tmp_path / "job") == expected_of(paths)
    paths = write_scripts(tmp_path / "others", {"hang_at": 0})
    ((name, reason),) = run_scripts(paths, tmp_path / "other_job", stall_seconds=1.0).failures
    assert name == "clip_000.mp4"
    assert "nothing said for 1 s" in reason


def test_told_to_stop_it_finishes_what_is_in_hand_and_goes_on_later(tmp_path):
    paths = write_scripts(tmp_path / "clips", *[{"takes": [1] * 6, "seconds": 0.2} for _ in range(4)])
    stop = threading.Event()

    def after_some(progress):
        if progress.frames_labelled >= 20:
            stop.set()

    timer = threading.Timer(20.0, stop.set)
    timer.start()
    watcher = threading.Thread(target=_set_when_labelled, args=(tmp_path / "job", 3, stop))
    watcher.start()
    outcome = run_scripts(paths, tmp_path / "job", stop=stop, tell=after_some)
    timer.cancel()
    watcher.join()
    assert outcome.store is None
    assert outcome.num_left > 0
    labelled = sum(len(state.parts) for state in read_item_states(tmp_path / "job").values())
    assert 3 <= labelled < 24
    assert last_progress(tmp_path / "job/progress.jsonl")["state"] == "stopped"
    status = job_status(tmp_path / "job")
    assert not status.is_complete
    assert not status.is_running
    assert status.store is None
    outcome = run_scripts(paths, tmp_path / "job")
    assert outcome.num_left == 0
    assert labels_of(tmp_path / "job") == expected_of(paths)
    assert job_status(tmp_path / "job").store.is_complete


def _set_when_labelled(output, count, stop):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not stop.is_set():
        if sum(len(state.parts) for state in read_item_states(output).values()) >= count:
            stop.set()
        time.sleep(0.05)


def test_takes_that_wait_are_bounded(tmp_path, monkeypatch):
    most = []
    hear = local.LocalRunner._hear

    def heard(runner, answer):
        hear(runner, answer)
        most.append(len(runner._waiting))

    monkeypatch.setattr(local.LocalRunner, "_hear", heard)
    paths = write_scripts(tmp_path / "clips", *[{"takes": [1] * 30} for _ in range(3)])
    run_scripts(paths, tmp_path / "job", takes_waiting=2)
    assert labels_of(tmp_path / "job") == expected_of(paths)
    assert 1 <= max(most) <= 2


def test_shards_of_a_job_share_a_folder_and_the_last_puts_the_labels_together(tmp_path):
    paths = write_scripts(tmp_path / "clips", {}, {"takes": [3]}, {})
    first = run_scripts(paths, tmp_path / "job", shard="1/2")
    assert (first.store, first.num_items, first.num_left) == (None, 2, 0)
    assert len(job_status(tmp_path / "job").left) == 1
    second = run_scripts(paths, tmp_path / "job", shard="2/2")
    assert (second.store, second.num_items) == (tmp_path / "job/labels", 1)
    assert labels_of(tmp_path / "job") == expected_of(paths)
    run_scripts(paths, tmp_path / "whole")
    assert _bytes_of(tmp_path / "job") == _bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("text", ["3/2", "0/2", "1", "a/b", "-1/2", "1/0"])
def test_shards_that_are_none_are_refused(tmp_path, text):
    with pytest.raises(ShardError, match="--shard="):
        run_scripts(write_scripts(tmp_path / "clips", {}), tmp_path / "job", shard=text)
    assert not (tmp_path / "job").exists()


def test_some_inputs_at_a_time(tmp_path):
    paths = write_scripts(tmp_path / "clips", {}, {}, {})
    for left in (2, 1, 0):
        assert run_scripts(paths, tmp_path / "job", limit_inputs=1).num_left == left
    assert labels_of(tmp_path / "job") == expected_of(paths)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    paths = write_scripts(tmp_path / "clips", {}, {})
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.txt").write_text("mine")
    with pytest.raises(OutputFolderError, match=r"holds 'mine\.txt'"):
        run_scripts(paths, tmp_path / "notes")
    assert os.listdir(tmp_path / "notes") == ["mine.txt"]
    with pytest.raises(OutputFolderError, match="lies in the output folder"):
        run_scripts(paths, tmp_path)
    run_scripts(paths, tmp_path / "job")
    before = _bytes_of(tmp_path / "job")
    with pytest.raises(OutputFolderError, match="other inputs"):
        run_scripts(paths[:1], tmp_path / "job")
    with pytest.raises(OutputFolderError, match="number of shards"):
        run_scripts(paths, tmp_path / "job", shard="1/2")
    assert _bytes_of(tmp_path / "job") == before


def test_a_second_run_in_one_folder_is_refused(tmp_path):
    paths = write_scripts(tmp_path / "clips", {})
    job = job_folder.Job(
        folder=tmp_path / "job", items=(), options=AnnotateOptions(), model_folder=tmp_path, shard=JobShard()
    )
    with job_folder.held_job(job), pytest.raises(OutputFolderError, match="another run is at work"):
        run_scripts(paths, tmp_path / "job")


def test_a_source_that_changed_is_labelled_anew(tmp_path):
    paths = write_scripts(tmp_path / "clips", {}, {})
    run_scripts(paths, tmp_path / "job")
    paths[1].write_text(json.dumps({"takes": [4, 1, 1]}))
    outcome = run_scripts(paths, tmp_path / "job")
    assert outcome.num_done == 2
    assert labels_of(tmp_path / "job") == expected_of(paths)


def test_parts_that_were_lost_or_damaged_are_labelled_again(tmp_path):
    paths = write_scripts(tmp_path / "clips", {"takes": [1, 2, 3]}, {"fail_at": 0})
    run_scripts(paths, tmp_path / "job")
    parts = sorted((tmp_path / "job/parts").rglob("*.parquet"))
    parts[1].unlink()
    run_scripts(paths, tmp_path / "job")
    kept = [row for row in expected_of(paths) if row[0] == "clip_000.mp4"]
    assert labels_of(tmp_path / "job") == kept
    # One byte differs: its length does not tell.
    parts = sorted((tmp_path / "job/parts").rglob("*.parquet"))
    data = bytearray(parts[1].read_bytes())
    data[len(data) // 2] ^= 1
    parts[1].write_bytes(bytes(data))
    paths[1].write_text(json.dumps({"takes": [1]}))
    outcome = run_scripts(paths, tmp_path / "job")
    assert outcome.store is None
    assert "not those that were written" in outcome.failures[0][1]
    run_scripts(paths, tmp_path / "job")
    assert labels_of(tmp_path / "job") == expected_of(paths)


def test_processes_that_never_begin_are_told_of(tmp_path):
    paths = write_scripts(tmp_path / "clips", {})
    with pytest.raises(local.WorkersFailError, match="No module named"):
        run_scripts(paths, tmp_path / "job", worker_module="tests.pipelines.runners.there_is_none")


@pytest.mark.parametrize("changes", [{"workers": 0}, {"attempts": 0}, {"stall_seconds": 0.0}, {"takes_waiting": 0}])
def test_options_that_make_no_sense_are_refused(changes):
    with pytest.raises(ValueError, match="must be"):
        local.LocalOptions(**changes)


def test_labels_that_a_person_corrected_since_are_left_alone(tmp_path):
    paths = write_scripts(tmp_path / "clips", {}, {})
    run_scripts(paths, tmp_path / "job")
    shard = tmp_path / "job/labels/labels-00000.parquet"
    rows = store.read_labels(shard).rows
    newer = dataclasses.replace(rows[0], label_version=2, parent_version=1, origin="human")
    store.write_labels(shard, [*rows, newer])
    before = shard.read_bytes()
    outcome = run_scripts(paths, tmp_path / "job")
    assert (outcome.num_labelled_before, outcome.store) == (2, tmp_path / "job/labels")
    assert shard.read_bytes() == before
    assert job_status(tmp_path / "job").store.is_complete


def test_takes_before_a_failure_are_kept_however_fast_they_are_labelled(tmp_path):
    paths = write_scripts(tmp_path / "clips", {"takes": [1, 2, 1], "fail_at": 2}, {"takes": [1] * 12})
    for label_workers in (1, 3):
        output = tmp_path / f"job_{label_workers}"
        run_scripts(paths, output, workers=2, label_workers=label_workers)
        assert labels_of(output)[:3] == [("clip_000.mp4", 0, 0), ("clip_000.mp4", 10, 0), ("clip_000.mp4", 10, 1)]


def test_one_that_hangs_is_stopped_while_others_talk(tmp_path):
    paths = write_scripts(tmp_path / "clips", {"hang_at": 0}, {"takes": [1] * 60, "seconds": 0.3})
    started = time.monotonic()
    ended = []

    def watch(runner, reason):
        ended.append(time.monotonic() - started)
        kill(runner, reason)

    kill = WorkerProcess.kill
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerProcess, "kill", watch)
        run_scripts(paths, tmp_path / "job", stall_seconds=2.0)
    assert len(ended) >= 2
    # The other one talks for 18 s.
    assert ended[0] < 14


def test_one_file_in_two_folders_is_labelled_once(tmp_path):
    first = write_scripts(tmp_path / "a", {})
    second = write_scripts(tmp_path / "b", {})
    paths = [*first, *first, *second]
    outcome = run_scripts(paths, tmp_path / "job")
    assert (outcome.num_items, outcome.num_done, outcome.failures) == (2, 2, ())
    assert labels_of(tmp_path / "job") == expected_of(first)
    record = json.loads((tmp_path / "job/labels/run.json").read_text())
    assert record["results"]["same_as_another"] == ["0000001_clip_000"]
    assert run_scripts(paths, tmp_path / "job").num_labelled_before == 2


def test_shards_that_begin_at_once_are_of_one_job(tmp_path):
    paths = write_scripts(tmp_path / "clips", {}, {})
    errors = []

    def begin(count, chosen):
        job = job_folder.Job(
            folder=tmp_path / "job", items=tuple(items_of_sources(chosen, AnnotateOptions())),
            options=AnnotateOptions(), model_folder=tmp_path, shard=JobShard(number=count, count=4),
        )  # fmt: skip
        (tmp_path / "job").mkdir(exist_ok=True)
        try:
            job_folder.begin_job(job)
        except OutputFolderError as error:
            errors.append(str(error))

    threads = [
        threading.Thread(target=begin, args=(number, paths if number % 2 else paths[:1])) for number in (1, 2, 3, 4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 2
    assert all("other inputs" in error for error in errors)


def test_a_store_that_was_damaged_is_told_by_the_same_command(tmp_path):
    paths = write_scripts(tmp_path / "clips", {})
    run_scripts(paths, tmp_path / "job")
    (tmp_path / "job/labels/labels-00000.parquet").unlink()
    with pytest.raises(StoreIncompleteError, match="copy the shard"):
        run_scripts(paths, tmp_path / "job")


def test_inputs_that_are_not_there_are_told_before_anything_is_begun(tmp_path):
    paths = write_scripts(tmp_path / "clips", {})
    with pytest.raises(FileNotFoundError, match="nothing was begun"):
        run_scripts([*paths, tmp_path / "clps"], tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_inputs_that_failed_before_do_not_keep_others_from_their_turn(tmp_path):
    paths = write_scripts(tmp_path / "clips", {"fail_at": 0}, {}, {})
    left = [run_scripts(paths, tmp_path / "job", limit_inputs=1).num_left for _ in range(3)]
    assert left == [2, 1, 0]


def test_a_job_whose_labels_are_not_put_together_is_not_complete(tmp_path):
    paths = write_scripts(tmp_path / "clips", {})
    run_scripts(paths, tmp_path / "job")
    (tmp_path / "job/labels/manifest.json").unlink()
    assert not job_status(tmp_path / "job").is_complete
