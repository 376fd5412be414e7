"""Draw a video of labels: as it was filmed, with the bodies over it, and the bodies from their side; with its sound.

python -m tools.overlay                                                  out/annotate -> out/annotate_overlay.mp4
python -m tools.overlay --labels=out/loop/store --output=side.mp4
python -m tools.overlay --labels=out/annotate --pictures=media --start=10 --end=20
"""

import pathlib
from collections.abc import Sequence

import rich.console
from absl import flags

from hardmo_jax.pipelines import overlay_video as pipeline
from tools import _cli

_LABELS = flags.DEFINE_string("labels", "out/annotate", "Labels: a folder or file.")
_OUTPUT = flags.DEFINE_string("output", None, "MP4 file to write; default: beside the folder of labels.")
_PICTURES = flags.DEFINE_string("pictures", None, "Folder or video that was labelled; default: as run.json says.")
_SOURCE = flags.DEFINE_string("source", None, "Which of several videos, as the labels name it.")
_BODY = flags.DEFINE_string("body", None, "File of the body model of the labels; default: as run.json says.")
_HEIGHT = flags.DEFINE_integer("height", 720, "Of the pictures in pixels; smaller videos are not scaled up.")
_QUALITY = flags.DEFINE_integer("quality", 20, "x264's constant rate factor, 0 (lossless) to 51.")
_KEYPOINTS = flags.DEFINE_bool("keypoints", True, "Draw the keypoints that were fitted to.")
_RENDERER = flags.DEFINE_enum("renderer", "auto", ["auto", "gl", "painter"], "OpenGL, or the painter without it.")
_START = flags.DEFINE_float("start", None, "Second of the video to begin at.", lower_bound=0.0)
_END = flags.DEFINE_float("end", None, "Second of the video to stop at.", lower_bound=0.0)


def main(argv: Sequence[str]) -> int:
    """Draw the video and say where it is."""
    del argv
    labels = pathlib.Path(_LABELS.value)
    folder = labels.parent if labels.is_file() else labels
    output = _OUTPUT.value or f"{folder}_overlay.mp4"
    options = pipeline.OverlayVideoOptions(
        height=_HEIGHT.value,
        show_keypoints=_KEYPOINTS.value,
        renderer=_RENDERER.value,  # pyright: ignore[reportArgumentType]
        quality=_QUALITY.value,
        start_seconds=_START.value,
        end_seconds=_END.value,
    )
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console) as progress:
        summary = pipeline.write_overlay_video(
            labels,
            output,
            options=options,
            pictures=_PICTURES.value,
            source=_SOURCE.value,
            body=_BODY.value,
            progress=progress,
        )
    out = rich.console.Console(highlight=False, markup=False)
    for warning in summary.warnings:
        out.print(f"warning: {warning}", soft_wrap=True)
    sound = "no sound" if summary.sound is None else f"sound {summary.sound}"
    out.print(
        f"{summary.num_frames} frames with {summary.num_people} bodies at {summary.frames_per_second:.1f} frames/s "
        f"({summary.renderer}), {sound}: {summary.path}",
        soft_wrap=True,
    )
    return 0


if __name__ == "__main__":
    _cli.run(main, is_short=True)
