"""Jobs whose processes obey scripts: all of the local runner but for the looking and labelling."""

import dataclasses
import json
import threading

from hardmo_jax.labels import store
from hardmo_jax.perception import model_files
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners import annotate_job
from hardmo_jax.pipelines.runners.job_items import JobShard
from hardmo_jax.pipelines.runners.local import LocalOptions

OPTIONS = LocalOptions(workers=2, worker_module="tests.pipelines.runners.fake_worker", stall_seconds=60.0)


def write_scripts(folder, *scripts):
    """Files that are taken for videos, one a script; their paths."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, script in enumerate(scripts):
        path = folder / f"clip_{number:03d}.mp4"
        path.write_text(json.dumps({"takes": [2, 1]} | script))
        paths.append(path)
    return paths


def run_scripts(paths, output, *, stop=None, shard=None, limit_inputs=None, tell=lambda progress: None, **changes):
    """Run a job of scripts."""
    return annotate_job.annotate_job(
        paths,
        output,
        options=AnnotateOptions(),
        model_folder=model_files.default_model_folder(),
        shard=None if shard is None else JobShard.parse(shard),
        runner=dataclasses.replace(OPTIONS, **changes),
        limit_inputs=limit_inputs,
        tell=tell,
        stop=stop or threading.Event(),
    )


def labels_of(output):
    """Who is in the store of a job: source, frame and track of each label, in order."""
    return [(row.source_path, row.frame_index, row.track_id) for row in store.read_labels(output / "labels").rows]


def expected_of(paths):
    """The same as scripts say."""
    return [
        (path.name, 10 * take, person)
        for path in paths
        for take, people in enumerate(json.loads(path.read_text())["takes"])
        for person in range(people)
    ]
