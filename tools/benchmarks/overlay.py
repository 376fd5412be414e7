"""The overlay suite: frames a second of `tools.overlay`, three pictures a frame, from file to file."""

import dataclasses
import itertools
import os
import pathlib
import tempfile
import time
from typing import Any

import numpy as np

_FRAMES, _WIDTH, _HEIGHT, _RATE = 170, 1280, 720, 25
#: The first frames are drawn before the clock runs: programs are compiled and codecs opened then.
_WARM = 16


def plan() -> list[dict[str, Any]]:
    """Cells: one and two people, by both renderers."""
    return [
        {"measure": "overlay", "people": people, "renderer": renderer, "all_cores": True}
        for renderer in ("gl", "painter")
        for people in (1, 2)
    ]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Run one cell."""
    del models
    from hardmo_jax.pipelines import overlay_video

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        write_labelled_clip(folder, cell["people"])
        rows = []
        for height in (_HEIGHT, _HEIGHT // 2):
            begun: list[tuple[float, float]] = []

            def tell(stage: str, done: int, total: int | None, begun: list[tuple[float, float]] = begun) -> None:
                del stage, total
                if done == _WARM:
                    begun.append((time.perf_counter(), time.process_time()))

            summary = overlay_video.write_overlay_video(
                folder / "labels.parquet",
                folder / "side.mp4",
                pictures=folder,
                options=overlay_video.OverlayVideoOptions(height=height, renderer=cell["renderer"]),
                progress=tell,
            )
            drawn = summary.num_frames - _WARM
            seconds, processor = time.perf_counter() - begun[0][0], time.process_time() - begun[0][1]
            rows.append(
                {
                    "measure": "overlay",
                    "renderer": cell["renderer"],
                    "people": cell["people"],
                    "video": f"{_WIDTH} x {_HEIGHT}",
                    "picture_height": height,
                    "frames": summary.num_frames,
                    "frames_per_second": drawn / seconds,
                    "processor_ms_a_frame": 1e3 * processor / drawn,
                    # Of a shared machine: what others do takes from the rate.
                    "cores_had": processor / seconds,
                    "load": os.getloadavg()[0],
                    "stages": summary.stages,
                }
            )
    return rows


def write_labelled_clip(folder: pathlib.Path, num_people: int) -> None:
    """The dancers of the demo there and back in a wider picture, and their truth as labels.

    Args:
        folder: Gets `clip.mp4` and `labels.parquet`.
        num_people: One or two of them have labels.
    """
    import av
    import jax

    import hardmo_jax as hm
    from hardmo_jax.body import landmarks
    from hardmo_jax.body.pieces import project_in_pieces
    from hardmo_jax.geometry import cameras
    from hardmo_jax.labels import provenance, store
    from hardmo_jax.labels.schema import LabelRow
    from hardmo_jax.perception import video
    from hardmo_jax.pipelines import demo_clip
    from hardmo_jax.pipelines.label_rows import name_of_body, pose_columns
    from hardmo_jax.skeleton import layouts

    demo = [frame.image for frame in video.open_media(demo_clip.ASSETS / demo_clip.CLIP).frames()]
    order = list(range(demo_clip.CUT))
    order = list(itertools.islice(itertools.cycle([*order, *order[-2:0:-1]]), _FRAMES))
    side = (_WIDTH - demo[0].shape[1]) // 2
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=_RATE, options={"preset": "veryfast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for index in order:
            wide = np.pad(demo[index], ((0, 0), (side, side), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(wide)))
        container.mux(stream.encode())
    body = hm.open_body()
    truth = demo_clip.packaged_truth()
    camera = cameras.camera_from_image_size(_WIDTH, _HEIGHT)
    camera = dataclasses.replace(
        camera, focal_length=np.full(2, truth.focal_length, np.float32), principal_point=np.array([639.5, 359.5])
    )
    model, _ = landmarks.point_model(body, layouts.get_layout("openpose67"))
    sha256 = provenance.file_sha256(folder / "clip.mp4")
    labels = []
    for dancer in range(num_people):
        of_dancer = np.flatnonzero(truth.dancer == dancer)
        params = jax.tree.map(lambda leaf, at=of_dancer[order]: np.asarray(leaf)[at], truth.params)
        many = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf, np.float32)[None], _FRAMES, 0), camera)
        points, pixels = project_in_pieces(model, many, params)
        for frame in range(_FRAMES):
            known = np.isfinite(pixels[frame]).all(1)
            seen = np.where(known[:, None], pixels[frame], 0)
            labels.append(
                LabelRow(
                    source_path="clip.mp4",
                    source_sha256=sha256,
                    frame_index=frame,
                    time_seconds=frame / _RATE,
                    fps=float(_RATE),
                    image_width=_WIDTH,
                    image_height=_HEIGHT,
                    bbox=np.concatenate([seen[known].min(0), seen[known].max(0)]),
                    track_id=dancer,
                    keypoint_source="truth",
                    keypoints_2d=seen,
                    keypoint_confidence=known.astype(np.float32),
                    keypoints_3d=points[frame],
                    body_model=name_of_body(body),
                    body_model_sha256=body.checksum,
                    **pose_columns(jax.tree.map(lambda leaf, at=frame: leaf[at], params)),
                    focal_length=np.full(2, truth.focal_length),
                    principal_point=np.array([639.5, 359.5]),
                    camera_source="field_of_view",
                    status="CONVERGED",
                    error_by_part={"body": 0.0},
                )
            )
    store.write_labels(folder / "labels.parquet", labels)
