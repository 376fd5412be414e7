"""The pipeline suite: many inputs by the plain loop and the runners, long inputs, a kill, the model of a cluster."""

import datetime
import itertools
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

from tools.benchmarks import capacity
from tools.benchmarks.job_run import WatchedRun, frames_labelled, watch_job
from tools.benchmarks.video import write_clip, write_keypoint_clip

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
#: Clips of the job that runners are compared on, and frames of each.
_CLIPS, _FRAMES = 20, 30
#: Frames of the inputs of which memory and rate are compared, and of one clip of the short ones.
_SHORT, _LONG = 1000, 20_000
#: Stages that a plain loop has not, or that only write.
_OVERHEAD = ("write", "hand over", "manifest", "publish")


def plan() -> list[dict[str, Any]]:
    """One cell for what is compared on one job, one for length."""
    return [{"measure": measure, "all_cores": True} for measure in ("runners", "length")]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Run one cell."""
    del models
    with tempfile.TemporaryDirectory() as folder:
        if cell["measure"] == "length":
            return _length(pathlib.Path(folder))
        return _runners(pathlib.Path(folder))


def _runners(folder: pathlib.Path) -> list[dict[str, object]]:
    """The same 20 files by the plain loop, by the local runner with one and two workers, and by Ray."""
    clips = _dancing_clips(folder / "clips")
    # The first run fills the cache of programs.
    watch_job(clips[:1], folder / "warm", "--runner=local", "--workers=1")
    loop = _plain_loop(clips, folder / "loop")
    runs = {
        "local, 1 worker": watch_job(clips, folder / "local_1", "--runner=local", "--workers=1"),
        "local, 2 workers": watch_job(clips, folder / "local_2", "--runner=local", "--workers=2"),
        "ray, 2 workers": watch_job(clips, folder / "ray", "--runner=ray", "--workers=2"),
    }
    again = _restart(clips, folder / "killed")
    stores = {
        name: contents_of(folder / place / "labels")
        for name, place in {
            "plain loop": "loop", "local, 1 worker": "local_1", "local, 2 workers": "local_2", "ray, 2 workers": "ray",
            "killed and started again": "killed",
        }.items()
    }  # fmt: skip
    frames = loop["frames"]
    plain = frames / loop["seconds"]
    rows: list[dict[str, object]] = [
        {"measure": "runners", "run": "plain loop", "frames": frames, "seconds": loop["seconds"],
         "frames_per_second": plain, "cores_busy": loop["cores_busy"]}
    ]  # fmt: skip
    for name, watched in runs.items():
        rows.append(
            {
                "measure": "runners",
                "run": name,
                "frames": frames,
                "seconds": watched.seconds,
                "frames_per_second": frames / watched.seconds,
                "frames_per_second_after_start": watched.rate_after_start(),
                "over_plain_loop": (frames / watched.seconds) / plain,
                "peak_mb": watched.peak_mb,
                "overhead_share": _overhead(watched),
                "stage_seconds": watched.progress[-1]["stage_seconds"],
                "eta_error": _eta_error(watched),
            }
        )
    local, ray = runs["local, 2 workers"], runs["ray, 2 workers"]
    per_frame = local.rate_after_start() / ray.rate_after_start()
    rows.append({"measure": "runners", "run": "ray over local", "time_per_frame": per_frame})
    rows.append({"measure": "runners", "run": "restart", **again})
    rows.append(
        {
            "measure": "runners",
            "run": "labels",
            "rows": len(stores["plain loop"]),
            "same_as_plain_loop": {name: own == stores["plain loop"] for name, own in stores.items()},
        }
    )
    rows += [{"measure": "runners", **row} for row in capacity.check(loop, runs)]
    return rows


def _plain_loop(clips: list[pathlib.Path], output: pathlib.Path) -> dict[str, Any]:
    """Frames, seconds after loading, and cores at work of the plain loop."""
    # To import is part of the start of each process too.
    imports = _cpu_of([sys.executable, "-c", "import hardmo_jax.pipelines.runners.worker"])[0]
    command = [sys.executable, "-m", "tools.benchmarks.plain_loop", str(output), *map(str, clips)]
    used, seconds, output_text = _cpu_of(command)
    told = json.loads(output_text.strip().splitlines()[-1])
    return {
        **told,
        "seconds": seconds,
        "cores_busy": used / seconds,
        "look_start_seconds": told["look_start_seconds"] + imports,
        "label_start_seconds": told["label_start_seconds"] + imports,
    }


def _cpu_of(command: list[str]) -> tuple[float, float, str]:
    """CPU seconds and seconds that a program takes, and what it prints."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds, done.stdout


def _restart(clips: list[pathlib.Path], output: pathlib.Path) -> dict[str, object]:
    """Kill a run in the middle; time of the next one to its first frame beyond what was labelled."""
    watch_job(clips, output, "--runner=local", "--workers=2", kill_at=_CLIPS * _FRAMES // 3)
    before, lines = frames_labelled(output), len((output / "progress.jsonl").read_text().splitlines())
    start = time.time()
    watched = watch_job(clips, output, "--runner=local", "--workers=2")
    new = [line for line in watched.progress[lines:] if line["frames_looked"] > before]
    at = datetime.datetime.fromisoformat(new[0]["time"]).timestamp()
    return {
        "labelled_before_kill": before,
        "seconds_to_first_new_frame_at_most": at - start,
        "frames": frames_labelled(output),
        "status": watched.status,
    }


def _overhead(watched: WatchedRun) -> float:
    """Share of all work that store, manifest and queues take."""
    seconds = watched.progress[-1]["stage_seconds"]
    return sum(seconds.get(stage, 0.0) for stage in _OVERHEAD) / sum(seconds.values())


def _eta_error(watched: WatchedRun) -> float | None:
    """Error of the time left that was told after a tenth of a job, share of the time that was left."""
    lines = [line for line in watched.progress if line["seconds_left"] is not None and line["frames_expected"]]
    end = watched.progress[-1]["elapsed_seconds"]
    for line in lines:
        if line["frames_looked"] >= 0.1 * line["frames_expected"]:
            left = end - line["elapsed_seconds"]
            return abs(line["seconds_left"] - left) / left
    return None


def contents_of(store_folder: pathlib.Path) -> list[tuple[object, ...]]:
    """Labels of a store without when, and by which version, they were made."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(path) for path in sorted(store_folder.glob("labels-*.parquet"))]
    rows: list[tuple[object, ...]] = []
    for table in tables:
        names = [name for name in table.column_names if name not in ("created_utc", "code_version")]
        rows += [tuple(map(repr, row.values())) for row in table.select(names).to_pylist()]
    return rows


def _length(folder: pathlib.Path) -> list[dict[str, object]]:
    """Inputs of 1,000 and 20,000 frames whose keypoints are known: rate after the start, and memory."""
    rows: list[dict[str, object]] = []
    for count in (_SHORT, _LONG):
        place = folder / str(count)
        write_keypoint_clip(place, count)
        flags = (
            "--runner=local", "--workers=1", "--config.perception.detector=files",
            f"--config.perception.keypoints_file={place / 'json'}", "--config.output.part_scores=False",
        )  # fmt: skip
        watch_job([place / "clip.mp4"], place / "first", *flags, "--limit=300")
        watched = watch_job([place / "clip.mp4"], place / "job", *flags)
        rows.append(
            {
                "measure": "length",
                "frames": count,
                "seconds": watched.seconds,
                "frames_per_second": count / watched.seconds,
                "peak_mb": watched.peak_mb,
                "frames_labelled": frames_labelled(place / "job"),
            }
        )
        shutil.rmtree(place)
    short, long = rows
    rate = float(long["frames_per_second"]) / float(short["frames_per_second"])  # pyright: ignore[reportArgumentType]
    memory = float(long["peak_mb"]) / float(short["peak_mb"])  # pyright: ignore[reportArgumentType]
    return [*rows, {"measure": "length", "run": "long over short", "rate": rate, "memory": memory}]


def _dancing_clips(folder: pathlib.Path) -> list[pathlib.Path]:
    """Clips of the two dancers of the demo, each from another frame on."""
    from hardmo_jax.perception import video
    from hardmo_jax.pipelines import demo_clip

    images = [frame.image for frame in video.open_media(demo_clip.ASSETS / demo_clip.CLIP).frames()]
    folder.mkdir(parents=True)
    paths = []
    for number in range(_CLIPS):
        first = 7 * number % len(images)
        paths.append(folder / f"clip_{number:02d}.mp4")
        write_clip(paths[-1], list(itertools.islice(itertools.cycle(images[first:] + images[:first]), _FRAMES)))
    return paths
