import pytest

from hardmo_jax.pipelines.runners import ray as ray_runner
from tests.pipelines.runners.scripted_jobs import OPTIONS


class _Cluster:
    def __init__(self, *alive):
        self._alive = alive

    def nodes(self):
        return [{"Alive": alive} for alive in self._alive]


def test_several_nodes_that_ask_for_no_token_are_refused(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    ray_runner.refuse_open_cluster(_Cluster(True), is_ours=True)
    ray_runner.refuse_open_cluster(_Cluster(True, False), is_ours=True)
    with pytest.raises(ray_runner.RayClusterError, match="may come to have several"):
        ray_runner.refuse_open_cluster(_Cluster(True), is_ours=False)
    with pytest.raises(ray_runner.RayClusterError, match="asks for no token"):
        ray_runner.refuse_open_cluster(_Cluster(True, True), is_ours=True)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ray_runner.RayClusterError, match="RAY_AUTH_MODE=token"):
        ray_runner.refuse_open_cluster(_Cluster(True, True), is_ours=True)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    ray_runner.refuse_open_cluster(_Cluster(True, True), is_ours=True)


@pytest.mark.parametrize("changes", [{"workers": 0}, {"label_workers": 0}, {"gpus_of_label_worker": -1.0}])
def test_options_that_make_no_sense_are_refused(changes):
    with pytest.raises(ValueError, match=r"must be|expected"):
        ray_runner.RayOptions(**changes)


def test_a_look_actor_outlives_the_process_that_reads_files(tmp_path):
    """What kills a process that decodes costs the cluster an attempt at its item."""
    import json

    import numpy as np

    from hardmo_jax import options as options_module
    from hardmo_jax.pipelines.annotate_options import AnnotateOptions
    from tests.pipelines.runners.scripted_jobs import write_scripts

    once, twice = write_scripts(tmp_path, {"die_at": 1, "once": str(tmp_path / "died")}, {"die_at": 0})
    actor = ray_runner.LookActor(
        {
            "options": options_module.to_mapping(AnnotateOptions()), "model_folder": "", "memory_bytes": None,
            "compiled": None, "stall_seconds": 60.0, "worker_module": OPTIONS.worker_module, "look_has_network": False,
        }
    )  # fmt: skip

    def said_of(path):
        asked = {"item": "a", "source": str(path), "photos": [], "parts": str(tmp_path), "skip_takes": 0, "end": 0,
                 "next_track": 0, "source_sha256": None}  # fmt: skip
        rows = list(actor({"row": np.array([json.dumps(asked)], object)}))
        return [json.loads(row["row"][0]) for row in rows]

    said = said_of(once)
    assert [one["kind"] for one in said] == ["begun", "take", "begun", "take", "looked"]
    assert said[-1]["takes"] == 2
    (failed,) = [one for one in said_of(twice) if one["kind"] == "failed"]
    assert failed["stage"] == "look"
    assert "ended with status 9" in failed["reason"]
    actor.close()


def test_what_is_labelled_counts_in_whatever_order_it_is_told(tmp_path):
    """Actors hand rows on as they come: a take may be labelled before its item is said to have begun."""
    import itertools
    import threading

    from hardmo_jax.pipelines.annotate_options import AnnotateOptions
    from hardmo_jax.pipelines.runners.job_folder import Job
    from hardmo_jax.pipelines.runners.job_items import JobItem, JobShard
    from hardmo_jax.pipelines.runners.ledger import JobLedger
    from hardmo_jax.pipelines.runners.manifest import Manifest, read_item_states
    from tests.pipelines.runners.test_manifest import _part

    facts = {"path": "a", "kind": "video", "fps": 30.0, "frame_count": 20}
    rows = [
        {"kind": "begun", "facts": facts, "skip_takes": 0},
        *({"kind": "part", "number": n, "facts": facts, "skip_takes": 0, "part": _part(n).to_json()} for n in (0, 1)),
        {"kind": "looked", "told": {}, "takes": 2},
    ]
    for number, order in enumerate(itertools.permutations(rows)):
        folder = tmp_path / str(number)
        item = JobItem(name="0000000_a", source=tmp_path / "a.mp4", num_bytes=5)
        job = Job(folder=folder, items=(item,), options=AnnotateOptions(), model_folder=tmp_path, shard=JobShard())
        manifest = Manifest(folder, "")
        ledger = JobLedger(job, manifest)
        runner = ray_runner.RayRunner(
            job, ledger, [item], ray_runner.RayOptions(), compiled=None, stop=threading.Event()
        )
        ledger.begin(item)
        for row in order:
            runner.hear(item.name, row)
        manifest.close()
        state = read_item_states(folder)[item.name]
        assert (state.state, len(state.parts)) == ("done", 2), [row["kind"] for row in order]
