"""Draw contact sheets: of the open body, of motion capture turned into SMPL, or of people recovered with and without
the lifter, before the camera and from the side.

python -m tools.gallery --output_dir=docs/pictures
python -m tools.gallery --motion=dance.bvh --frames=8
python -m tools.gallery --recovery=photo.jpg,clip.mp4 --frames=3
python -m tools.gallery --benchmark=out/benchmarks/mocap_hard-... --frames=12
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

import hardmo_jax as hm
from configs import normal
from hardmo_jax.data.sources.read_motion import read_motion
from hardmo_jax.perception import model_files
from hardmo_jax.pipelines import evaluate, recovery_pictures
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions
from hardmo_jax.recovery.retarget import retarget
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.rendering import raster
from hardmo_jax.viz import capture_sheet, gallery, overlay, recovery_sheet
from hardmo_jax.viz.recovery_sheet import RecoveryColumn
from tools import _cli

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/gallery", "Folder for the pictures; made if absent.")
_MOTION = flags.DEFINE_list("motion", [], "Motion capture files (.bvh, .amc, DeepMimic .txt) to draw instead.")
_RECOVERY = flags.DEFINE_list("recovery", [], "Photos and videos whose largest person is drawn instead.")
_SHOWN = flags.DEFINE_list("shown", None, "Of these, those whose pixels are shown; default: all.")
_BENCHMARK = flags.DEFINE_string(
    "benchmark", None, "Folder of a prepared benchmark whose test people are drawn instead."
)
_FRAMES = flags.DEFINE_integer("frames", 8, "Frames of each file, or people of the benchmark.", lower_bound=1)


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
