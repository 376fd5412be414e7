"""A source of a job of many inputs: no row, and no mention of it."""

import json

import pytest

from hardmo_jax.labels import sharded_store
from hardmo_jax.labels.shard_changes import StoreSealedError
from hardmo_jax.pipelines.exports.remove_labels import remove_labels
from hardmo_jax.pipelines.runners.job_status import job_status
from tests.pipelines.runners.scripted_jobs import labels_of, run_scripts, write_scripts


@pytest.mark.parametrize("fails", [False, True])
def test_of_a_source_of_a_job_nothing_is_left_and_nothing_labels_it_again(tmp_path, fails):
    broken = {"fail_at": 0} if fails else {}
    paths = write_scripts(tmp_path / "clips", {}, {"takes": [3, 3]}, broken)
    job = tmp_path / "job"
    run_scripts(paths, job)
    assert (job / "parts").exists() == fails
    summary = remove_labels(job, source="clip_001.mp4")
    assert summary.num_labels == 6 * (1 + fails)
    assert summary.warnings == ()
    assert "clip_001.mp4" not in {source for source, _, _ in labels_of(job)}
    assert {source for source, _, _ in labels_of(job)} >= {"clip_000.mp4"}
    assert sharded_store.verify_store(job / "labels").is_complete
    for path in job.rglob("*"):
        assert "clip_001" not in path.name
        if path.is_file():
            assert b"clip_001" not in path.read_bytes(), path
    assert len(json.loads((job / "job.json").read_text())["items"]) == 3
    left = labels_of(job)
    if fails:
        # What is tried again would take the place of labels that were changed since.
        with pytest.raises(StoreSealedError):
            run_scripts(paths, job)
    else:
        outcome = run_scripts(paths, job)
        assert (outcome.failures, outcome.num_items, outcome.num_labelled_before) == ((), 2, 2)
    assert labels_of(job) == left
    status = job_status(job)
    assert (status.num_removed, status.num_items) == (1, 2)


def test_one_person_of_a_job_leaves_the_others(tmp_path):
    paths = write_scripts(tmp_path / "clips", {"takes": [3]}, {})
    run_scripts(paths, tmp_path / "job")
    remove_labels(tmp_path / "job", source="clip_000.mp4", track_id=1)
    assert ("clip_000.mp4", 0, 1) not in labels_of(tmp_path / "job")
    assert ("clip_000.mp4", 0, 2) in labels_of(tmp_path / "job")
    assert run_scripts(paths, tmp_path / "job").num_labelled_before == 2
