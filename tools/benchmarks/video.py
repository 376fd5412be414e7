"""The video suite: what stages that work beside each other are worth; and memory by the length of a video."""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
#: Frames of the clips that stages are timed on (all of the demo), and runs of each kind, in turns.
_FRAMES, _RUNS = 150, 1
#: Frames of the videos of which memory is measured: labelled only, and with scores and pictures, which take longer.
_LENGTHS = {"labelled": (1000, 20_000), "scored and drawn": (1000, 4000)}
_WIDTH, _HEIGHT, _RATE = 320, 240, 30


def plan() -> list[dict[str, Any]]:
    """Cells: two clips."""
    return [
        {"measure": "stages", "clip": "cuts", "all_cores": True},
        {"measure": "stages", "clip": "one shot", "all_cores": True},
    ]


def plan_memory() -> list[dict[str, Any]]:
    """Cells: what is done with a short and a long video."""
    return [{"measure": "memory", "job": job, "all_cores": True} for job in _LENGTHS]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Run one cell."""
    del models
    with tempfile.TemporaryDirectory() as folder:
        if cell["measure"] == "memory":
            return _memory(cell["job"], pathlib.Path(folder))
        return _stages(cell["clip"], pathlib.Path(folder))


def _stages(clip: str, folder: pathlib.Path) -> list[dict[str, object]]:
    """Label the two dancers of the demo, with and without drawing, and look at them only."""
    from hardmo_jax.pipelines import demo_clip

    path = folder / "clip.mp4"
    write_clip(path, _dancers(demo_clip.ASSETS / demo_clip.CLIP, clip))
    # The first run fills the cache of programs.
    run_annotate(path, folder / "first", "--config.output.overlay=False")
    rows: list[dict[str, object]] = []
    for number in range(_RUNS):
        alone = _looked_at(path)
        labelled = run_annotate(path, folder / f"labelled_{number}", "--config.output.overlay=False")
        drawn = run_annotate(path, folder / f"drawn_{number}")
        rows.append(
            {
                "measure": "stages",
                "clip": clip,
                "frames": _FRAMES,
                "perceive_alone_frames_per_second": alone,
                "labelled_frames_per_second": labelled["frames_per_second"],
                "labelled_share": labelled["frames_per_second"] / alone,
                "drawn_frames_per_second": drawn["frames_per_second"],
                "drawn_share": drawn["frames_per_second"] / alone,
                "stages": drawn["stages"],
            }
        )
    shares = {name: float(np.median([row[name] for row in rows])) for name in ("labelled_share", "drawn_share")}  # pyright: ignore[reportCallIssue, reportArgumentType]
    return [*rows, {"measure": "stages", "clip": clip, "run": "median of shares", **shares}]


def _dancers(demo: pathlib.Path, clip: str) -> Iterator[np.ndarray]:
    """Frames of the demo over and over, or those of its first shot there and back."""
    from hardmo_jax.perception import video
    from hardmo_jax.pipelines.demo_clip import CUT

    images = [frame.image for frame in video.open_media(demo).frames()]
    if clip == "one shot":
        images = [*images[:CUT], *images[CUT - 2 : 0 : -1]]
    return itertools.islice(itertools.cycle(images), _FRAMES)


def _looked_at(path: pathlib.Path) -> float:
    """Frames a second of perception with nothing beside it but the decoder, models loaded."""
    from hardmo_jax.perception import load_source, model_files, video
    from hardmo_jax.perception.quality import QualityOptions
    from hardmo_jax.perception.source_options import PerceptionOptions
    from hardmo_jax.pipelines.perceiving import perceive

    source = load_source.load_source(model_files.default_model_folder(), PerceptionOptions())
    start = time.perf_counter()
    takes = perceive(video.open_media(path), source, watch_camera=True, quality=QualityOptions())
    return sum(len(take.pictures) for take in takes) / (time.perf_counter() - start)


def run_annotate(path: pathlib.Path, output: pathlib.Path, *changes: str) -> dict[str, Any]:
    """Rates of a run by the command line."""
    _command(path, output, *changes)
    return json.loads((output / "run.json").read_text())["results"]["rates"]


def _command(path: pathlib.Path, output: pathlib.Path, *changes: str) -> float:
    """Run the command; its most memory, MB."""
    command = [sys.executable, "-m", "tools.annotate", "--config=configs/normal.py", f"--input={path}"]
    command += [f"--output_dir={output}", *changes]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = [0.0]

    def watch() -> None:
        while process.poll() is None:
            most[0] = max(most[0], _resident(process.pid))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    watcher.join()
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {status}")
    return most[0]


def _resident(pid: int) -> float:
    """Most memory that a process has held, MB; 0 when it is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _memory(job: str, folder: pathlib.Path) -> list[dict[str, object]]:
    """One person in a short and a long video, of which a file has the keypoints."""
    rows: list[dict[str, object]] = []
    for count in _LENGTHS[job]:
        place = folder / str(count)
        write_keypoint_clip(place, count)
        changes = ("--config.perception.detector=files", f"--config.perception.keypoints_file={place / 'json'}")
        if job == "labelled":
            changes += ("--config.output.overlay=False", "--config.output.part_scores=False")
        _command(place / "clip.mp4", place / "first", *changes, "--limit=300")
        most = _command(place / "clip.mp4", place / "out", *changes)
        rows.append({"measure": "memory", "job": job, "frames": count, "peak_mb": most})
    ratio = float(rows[1]["peak_mb"]) / float(rows[0]["peak_mb"])  # pyright: ignore[reportArgumentType]
    return [*rows, {"measure": "memory", "job": job, "run": "long over short", "ratio": ratio}]


def write_keypoint_clip(place: pathlib.Path, count: int) -> None:
    """One person who dances before a background that stands still, as `clip.mp4` and OpenPose's files in `json`."""
    points = _points()
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 255, (_HEIGHT // 16, _WIDTH // 16, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    (place / "json").mkdir(parents=True)
    write_clip(place / "clip.mp4", itertools.repeat(image, count))
    for at, pose in zip(range(count), itertools.cycle([*points, *points[-2:0:-1]]), strict=False):
        person = {"pose_keypoints_2d": [round(float(value), 2) for value in pose.ravel()]}
        text = json.dumps({"version": 1.3, "people": [person]})
        (place / "json" / f"clip_{at:012d}_keypoints.json").write_text(text)


def _points() -> np.ndarray:
    """OpenPose's 25 points of one of the demo's dancers, with confidences, frame by frame."""
    import jax

    import hardmo_jax as hm
    from hardmo_jax.body import landmarks
    from hardmo_jax.body.pieces import project_in_pieces
    from hardmo_jax.geometry import cameras
    from hardmo_jax.pipelines.demo_clip import CUT, packaged_truth
    from hardmo_jax.skeleton import layouts

    body = hm.open_body()
    truth = packaged_truth()
    rows = np.flatnonzero((truth.dancer == 0) & (truth.frame < CUT))
    model, _ = landmarks.point_model(body, layouts.get_layout("openpose25"))
    one = cameras.camera_from_image_size(_WIDTH, _HEIGHT)
    camera = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], len(rows), 0), one)
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], truth.params)
    _, pixels = project_in_pieces(model, camera, params)
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 0.9)], -1)


def write_clip(path: pathlib.Path, images: Iterator[np.ndarray] | Sequence[np.ndarray]) -> None:
    """Write pictures as an H.264 video."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = None
        for image in images:
            if stream is None:
                stream = container.add_stream("libx264", rate=_RATE, options={"preset": "veryfast", "crf": "18"})
                stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
