"""Draw contact sheets: of the open body, of motion capture turned into SMPL, or of people recovered with and without
the lifter, before the camera and from the side; or videos of clips recovered frame by frame and over time.

python -m tools.gallery --output_dir=docs/pictures
python -m tools.gallery --motion=dance.bvh --frames=8
python -m tools.gallery --recovery=photo.jpg,clip.mp4 --frames=3
python -m tools.gallery --benchmark=out/benchmarks/mocap_hard-... --frames=12
python -m tools.gallery --over_time --recovery=clip.mp4
python -m tools.gallery --over_time --benchmark=out/benchmarks/mocap_hard-...
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

import hardmo_jax as hm
from configs import normal
from hardmo_jax.data.sources.read_motion import read_motion
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.perception import load_source, model_files, video
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import evaluate, motion_pictures, recovery_pictures
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions
from hardmo_jax.recovery.retarget import retarget
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.rendering import raster
from hardmo_jax.viz import capture_sheet, gallery, overlay, recovery_sheet
from hardmo_jax.viz.motion_sheet import MotionClip
from hardmo_jax.viz.recovery_sheet import RecoveryColumn
from tools import _cli

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/gallery", "Folder for the pictures; made if absent.")
_MOTION = flags.DEFINE_list("motion", [], "Motion capture files (.bvh, .amc, DeepMimic .txt) to draw instead.")
_RECOVERY = flags.DEFINE_list("recovery", [], "Photos and videos whose largest person is drawn instead.")
_SHOWN = flags.DEFINE_list(
    "shown", None, "Of these, those whose pixels are shown on sheets; default: all. Videos always show them."
)
_BENCHMARK = flags.DEFINE_string(
    "benchmark", None, "Folder of a prepared benchmark whose test people are drawn instead."
)
_FRAMES = flags.DEFINE_integer("frames", 8, "Frames of each file, or people of the benchmark.", lower_bound=1)
_OVER_TIME = flags.DEFINE_bool(
    "over_time", False, "Of videos and of clips of the benchmark: a video and a sheet, frame by frame and over time."
)
_WINDOWS = flags.DEFINE_integer("windows", 1, "Clips of each style and set of the benchmark.", lower_bound=1)


def main(argv: Sequence[str]) -> int:
    """Draw every sheet and say where it is."""
    del argv
    renderer = raster.choose_renderer("auto")
    output = pathlib.Path(_OUTPUT_DIR.value)
    if _MOTION.value:
        rows = [_motion_sheet(pathlib.Path(name), renderer) for name in _MOTION.value]
        path = overlay.write_png(output / "motion.png", np.concatenate(rows))
        print(f"wrote {path}")
        return 0
    if _OVER_TIME.value:
        return _draw_over_time(output, renderer)
    if _RECOVERY.value or _BENCHMARK.value:
        return _draw_recovery(output, renderer)
    body = hm.open_body()
    for name, draw in gallery.SHEETS.items():
        path = overlay.write_png(output / f"{name}.png", draw(body, renderer))
        print(f"wrote {path}")
    return 0


def _draw_recovery(output: pathlib.Path, renderer) -> int:
    """People by headings alone, and as `tools.annotate` recovers them."""
    body = hm.open_body()
    configs: dict[str, Any] = {"before": normal.get_config("headings"), "after": normal.get_config()}
    ways = [
        recovery_pictures.Way(
            name=name,
            start=_cli.build_options(StartOptions, config.start),
            fit=_cli.build_options(VideoFitOptions, config.fit),
        )
        for name, config in configs.items()
    ]
    jobs: dict[str, list[RecoveryColumn]] = {}
    if _RECOVERY.value:
        sources = [pathlib.Path(name) for name in _RECOVERY.value]
        shown = sources if _SHOWN.value is None else [pathlib.Path(name) for name in _SHOWN.value]
        jobs["recovery_photos"] = recovery_pictures.columns_of_media(
            sources, body, ways, model_folder=model_files.default_model_folder(), frames=_FRAMES.value, shown=shown
        )
    if _BENCHMARK.value:
        found = evaluate.load_set(pathlib.Path(_BENCHMARK.value), "test")
        rows = np.linspace(0, len(found) - 1, _FRAMES.value).round().astype(int)
        jobs["recovery_mocap"] = recovery_pictures.columns_of_set(found, rows, body, ways)
    for name, columns in jobs.items():
        if not columns:
            return _cli.fail("nobody was found in these pictures")
        sheet = recovery_sheet.draw_recovery_sheet(
            columns, np.asarray(body.faces), [way.name for way in ways], renderer=renderer
        )
        print(f"wrote {overlay.write_png(output / f'{name}.png', sheet)}")
    return 0


def _draw_over_time(output: pathlib.Path, renderer) -> int:
    """Clips by frames alone, and as `tools.annotate` recovers video."""
    if not _RECOVERY.value and not _BENCHMARK.value:
        return _cli.fail("--over_time draws videos (--recovery=clip.mp4) or clips of a benchmark (--benchmark=FOLDER)")
    body = hm.open_body()
    config: Any = normal.get_config()
    options = motion_pictures.ClipOptions(
        start=_cli.build_options(StartOptions, config.start),
        fit=_cli.build_options(VideoFitOptions, config.fit),
        motion=_cli.build_options(MotionOptions, config.motion),
    )
    sources = [pathlib.Path(name) for name in _RECOVERY.value]
    shown = sources if _SHOWN.value is None else [pathlib.Path(name) for name in _SHOWN.value]
    perception = _cli.build_options(PerceptionOptions, config.perception)
    estimator = load_source.load_estimator(model_files.default_model_folder(), perception) if sources else None
    for source in sources:
        media = video.open_media(source)
        clip = None if estimator is None else motion_pictures.clip_of_video(media, body, options, estimator)
        if clip is None:
            print(f"{source}: nobody was found")
            continue
        _write_clip(clip, output, renderer, media=media, is_shown=source in shown)
    if _BENCHMARK.value is None:
        return 0
    # Of both sets, which show the same motion under different noise, other clips.
    for name, share in (("video", 0.25), ("video_correlated", 0.75)):
        found = evaluate.load_set(pathlib.Path(_BENCHMARK.value), name)
        for window in motion_pictures.windows_of_styles(found, _WINDOWS.value, share=share):
            _write_clip(motion_pictures.clip_of_window(found, int(window), body, options), output, renderer)
    return 0


def _write_clip(clip: MotionClip, output: pathlib.Path, renderer, **options: Any) -> None:
    paths = motion_pictures.write_clip(clip, output, renderer, sheet_frames=_FRAMES.value, **options)
    print("wrote " + ", ".join(map(str, paths)))


def _motion_sheet(path: pathlib.Path, renderer) -> np.ndarray:
    body = hm.open_body(view="smpl")
    clip = read_motion(path)
    # The first frame of many files is a rest pose.
    ids = np.linspace(min(1, clip.num_frames - 1), clip.num_frames - 1, _FRAMES.value).round().astype(int)
    clip = clip.frames(ids)
    found = retarget(clip, body)
    _, joints = clip.world_motion()
    print(
        f"{path.name}: bones {np.nanmean(found.direction_error):.2f} degrees, joints "
        f"{1000 * found.place_error.mean():.1f} mm from the capture"
    )
    return capture_sheet.draw_capture_sheet(
        np.asarray(body(found.params).vertices), np.asarray(body.faces), joints, clip.parents, clip.joint_names,
        renderer=renderer,
    )  # fmt: skip


if __name__ == "__main__":
    _cli.run(main)
