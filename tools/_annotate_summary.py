"""What `tools.annotate` says at the end of a run."""

from collections.abc import Sequence

import rich.console
import rich.table

from hardmo_jax.perception.camera_motion import STANCE_SECONDS
from hardmo_jax.pipelines import annotate_summary as pipeline
from hardmo_jax.pipelines.box_quality import counted_reasons

#: Stages that are at work for a smaller share of the time are not told of.
_LEAST_SHARE = 0.005


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
    if summary.num_people:
        reasons = counted_reasons(summary.reason_counts) or "nobody"
        console.print(f"seen badly, of {summary.num_people} labels: {reasons}", soft_wrap=True)
    if summary.left_out.num_people and summary.num_people:
        console.print(summary.left_out.phrase, soft_wrap=True)
    console.print(table)
    if summary.cameras:
        console.print("camera: " + ", ".join(map(_phrase, summary.cameras)), soft_wrap=True)
    if summary.camera_motion:
        console.print(_cameras_phrase(summary.camera_motion), soft_wrap=True)
    _print_rates(console, summary)
    for phrase in summary.worst:
        console.print(f"look at: {phrase}", soft_wrap=True)
    if summary.advice is not None:
        console.print(summary.advice, soft_wrap=True)
    for warning in summary.warnings:
        console.print(f"warning: {warning}", soft_wrap=True, markup=False)
    if summary.num_unusable:
        console.print(
            f"{summary.num_unusable} pictures could not be read, or have no keypoints that can be used (see the "
            "warnings); the exit status is 3",
            soft_wrap=True,
        )
    console.print(f"labels and overlays are in {output_dir}", soft_wrap=True)


def _phrase(use: pipeline.CameraUse) -> str:
    """Pictures of one source of cameras, such as `12 pictures exif (vertical field of view 39 to 54 degrees)`."""
    low, high = (f"{angle:.0f}" for angle in use.vertical_field_of_view_degrees)
    pictures = f"{use.num_pictures} picture{'' if use.num_pictures == 1 else 's'}"
    return f"{pictures} {use.source} (vertical field of view {low if low == high else f'{low} to {high}'} degrees)"


def _print_rates(console: rich.console.Console, summary: pipeline.AnnotateSummary) -> None:
    """How fast each stage was at work, and all of them beside each other."""
    table = rich.table.Table(title="seconds at work, side by side", title_justify="left")
    for name in ("stage", "at work", "frames/s"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    # What takes no time is no stage to think about.
    shown = [rate for rate in summary.stages if rate.seconds >= _LEAST_SHARE * summary.seconds]
    # Programs are loaded once, however many frames there are: that is no rate.
    timed = [rate for rate in shown if rate.stage != "warm up"]
    for rate in shown:
        table.add_row(rate.stage, f"{rate.seconds:.1f} s", f"{rate.frames_per_second:.3g}" if rate in timed else "once")
    if not timed:
        return
    slowest = min(timed, key=lambda rate: rate.frames_per_second)
    whole = summary.num_pictures / summary.seconds
    table.add_section()
    table.add_row("all", f"{summary.seconds:.1f} s", f"{whole:.3g}")
    console.print(table)
    console.print(
        f"the slowest stage is {slowest.stage}; all together were {whole / slowest.frames_per_second:.2f} times as "
        "fast as it is by itself",
        soft_wrap=True,
    )


def _cameras_phrase(cameras: Sequence[pipeline.CameraUsed]) -> str:
    """What was found of the camera of each shot, and what follows from it."""
    if len(cameras) == 1:
        return _camera_phrase(cameras[0])
    num_fixed = sum(camera.is_fixed for camera in cameras)
    if num_fixed == len(cameras):
        what = "feet are held where they stand"
    elif num_fixed:
        what = "feet are held where they stand in these alone"
    else:
        what = "feet are not held where they stand, and no floor is reported"
    return f"camera stands still in {num_fixed} of {len(cameras)} shots: {what} (run.json tells of each shot)"


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
