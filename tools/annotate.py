"""Label the people in photos, video or keypoint files with SMPL.

python -m tools.annotate --config=configs/normal.py --input=clip.mp4 --output_dir=out/annotate
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import rich.console
import rich.table
from absl import flags
from ml_collections import config_flags

from hardmo_jax.perception import model_files
from hardmo_jax.perception.camera_motion import STANCE_SECONDS
from hardmo_jax.pipelines import annotate as pipeline
from tools import _cli

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="Run configuration.")
_INPUT = flags.DEFINE_multi_string("input", None, "Photo, folder of photos, video, or OpenPose/COCO keypoint JSON.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/annotate", "Folder for labels, overlays and run.json.")
_LIMIT = flags.DEFINE_integer("limit", None, "Look at this many frames or photos at most.", lower_bound=1)
_MODELS = flags.DEFINE_string("models", None, "Folder of the perception models; default: the user's cache.")

_ONE_INPUT = "one run labels one video, one photo or one folder of photos; start a run for each, or put photos together"


def main(argv: Sequence[str]) -> int:
    """Run the job and print its table."""
    if _CONFIG.value is None:
        return _cli.fail("--config is missing; e.g. --config=configs/normal.py")
    if not _INPUT.value:
        return _cli.fail("--input is missing; give a photo, a folder of photos, a video or a keypoint JSON file")
    if len(_INPUT.value) > 1:
        return _cli.fail(f"--input is given twice: {_ONE_INPUT}")
    source = _INPUT.value[0]
    if "," in source and not pathlib.Path(source).exists():
        return _cli.fail(f"{source}: no such file; {_ONE_INPUT}")
    config = _CONFIG.value
    options = _cli.build_options(pipeline.AnnotateOptions, config)
    if _LIMIT.value is not None:
        options = dataclasses.replace(options, limit_frames=_LIMIT.value)
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console) as progress:
        summary = pipeline.annotate(
            source,
            _OUTPUT_DIR.value,
            options=options,
            model_folder=_MODELS.value or model_files.default_model_folder(),
            command=tuple(sys.argv),
            progress=progress,
        )
    print_summary(summary, _OUTPUT_DIR.value)
    return 0


def print_summary(summary: pipeline.AnnotateSummary, output_dir: str) -> None:
    """The table at the end of a run."""
    console = rich.console.Console(highlight=False)
    table = rich.table.Table(title="median reprojection error, % of the person's box", title_justify="left")
    for part in summary.median_error_by_part:
        table.add_column(part.replace("_", " "), justify="right")
    errors = summary.median_error_by_part.values()
    table.add_row(*("-" if error is None else f"{100 * error:.2f}" for error in errors))
    status = ", ".join(f"{count} {name.lower()}" for name, count in summary.status_counts.items())
    console.print(f"{summary.num_people} people in {summary.num_pictures} frames" + (f" ({status})" if status else ""))
    if "MAX_STEPS" in summary.status_counts:
        console.print(
            "max_steps is usable: a fit's few steps ran out while it still improved a little, as is usual in videos",
            soft_wrap=True,
        )
    if summary.num_filled or summary.num_unfilled:
        console.print(
            f"not seen in between: {summary.num_filled} filled in"
            + (f", {summary.num_unfilled} not" if summary.num_unfilled else "")
        )
    console.print(table)
    if summary.cameras:
        console.print("camera: " + ", ".join(map(_phrase, summary.cameras)), soft_wrap=True)
    if summary.camera_motion is not None:
        console.print(_camera_phrase(summary.camera_motion), soft_wrap=True)
    seconds = "  ".join(f"{stage} {value:.1f} s" for stage, value in summary.seconds_by_stage.items())
    console.print(seconds)
    for phrase in summary.worst:
        console.print(f"look at: {phrase}", soft_wrap=True)
    if summary.advice is not None:
        console.print(summary.advice, soft_wrap=True)
    for warning in summary.warnings:
        console.print(f"warning: {warning}")
    console.print(f"labels and overlays are in {output_dir}", soft_wrap=True)


def _phrase(use: pipeline.CameraUse) -> str:
    """Pictures of one source of cameras, such as `12 pictures exif (vertical field of view 39 to 54 degrees)`."""
    low, high = (f"{angle:.0f}" for angle in use.vertical_field_of_view_degrees)
    pictures = f"{use.num_pictures} picture{'' if use.num_pictures == 1 else 's'}"
    return f"{pictures} {use.source} (vertical field of view {low if low == high else f'{low} to {high}'} degrees)"


def _camera_phrase(used: pipeline.CameraUsed) -> str:
    """What was found of the camera of a video, and what follows from it."""
    what = (
        "feet are held where they stand"
        if used.is_fixed
        else "feet are not held where they stand, and no floor is reported"
    )
    motion = used.motion
    if motion is None:
        return f"camera {'stands still' if used.is_fixed else 'moves'}, as was said: {what}"
    if motion.moves is None:
        return f"camera: the background does not tell whether it moves: {what}"
    return (
        f"camera {'moves' if motion.moves else 'stands still'} (background: {100 * motion.per_stance:.2g} % of the "
        f"picture's width in {STANCE_SECONDS:g} s, {100 * motion.drift:.2g} % in all): {what}"
    )


if __name__ == "__main__":
    _cli.run(main)
