"""Write labels, or a file of motion, for other programs.

python -m tools.export --labels=out/annotate --format=glb                      Blender, game engines, web
python -m tools.export --labels=out/annotate --format=bvh,amass,robot          one file a person
python -m tools.export --labels=out/annotate --format=hmr2,hf                  training sets, a data set for the Hub
python -m tools.export --labels=out/annotate --format=openpose,coco_wholebody  the keypoints that were measured
python -m tools.export --labels=out/annotate --format=coco_named               the same for CVAT, see tools.correct
python -m tools.export --labels=walk.npz --format=glb,bvh                      motion of AMASS, SMPL or BVH files
python -m tools.export --format=amass --to_body=body_models/SMPLH_NEUTRAL.npz  people as those of another body model

Each format gets a file or folder in --output_dir. Only the newest version of each label counts. Motion and training
sets leave out failed and rejected ones, and say so; openpose and COCO's hold what was seen of everybody, hf all labels
with their status and review.
"""

import sys
from collections.abc import Sequence

import rich.console
from absl import flags

from hardmo_jax.export.dataset.dataset_facts import DatasetWords
from hardmo_jax.export.training_sets.training_labels import TrainingLabelOptions
from hardmo_jax.pipelines.exports import export_labels as pipeline
from hardmo_jax.pipelines.exports.export_motions import TrackReport
from hardmo_jax.pipelines.exports.label_motions import MotionOptions
from tools import _cli
from tools._tables import print_numbers

_LABELS = flags.DEFINE_string("labels", "out/annotate", "Labels: a folder or file; or an .npz or .bvh file of motion.")
_FORMAT = flags.DEFINE_list("format", None, f"What is written, by commas: {', '.join(pipeline.OUTPUTS)}.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/export", "Folder for the files.")
_BODY = flags.DEFINE_string("body", None, "File of the body model of the labels, if it is not the open body.")
_TO_BODY = flags.DEFINE_string("to_body", None, "File of a body model (or open_body) that labels are converted to.")
_VERTEX_MAP = flags.DEFINE_string("vertex_map", None, "Transfer matrix between the meshes of both bodies (.pkl, .npz).")
_PICTURES = flags.DEFINE_string(
    "pictures", None, "Folder or video that was labelled, for formats with pictures; default: as run.json says."
)
_WITH_PIXELS = flags.DEFINE_boolean("with_pixels", False, "Put the pictures into the data set (hf).")
_ALLOW_UNKNOWN_LICENCE = flags.DEFINE_boolean(
    "allow_unknown_licence", False, "Also pictures whose licence labels do not tell (hf)."
)
_NAME = flags.DEFINE_string("name", "hardmo_jax labels", "Name of the data set (hf).")
_LICENCE = flags.DEFINE_string("licence", None, "Licence of the labels, such as cc-by-4.0 (hf).")
_CREATOR = flags.DEFINE_string("creator", None, "Who made the data set (hf).")
_URL = flags.DEFINE_string("url", None, "Where the data set is published (hf).")
_CITATION = flags.DEFINE_string("citation", None, "How the data set is cited, best as BibTeX (hf).")
_VERSION = flags.DEFINE_string("dataset_version", "1.0.0", "Version of the data set (hf).")
_TAKE_FILLED = flags.DEFINE_boolean("take_filled", False, "Train others on people who were filled in, too.")
_TAKE_DOUBTFUL = flags.DEFINE_boolean("take_doubtful", False, "Train others on people who were badly seen, too.")
_FPS = flags.DEFINE_float(
    "fps", None, "Frames a second of labels that state none, as of photos; of a file of motion, whatever it states."
)
_MAX_GAP_SECONDS = flags.DEFINE_float("max_gap_seconds", 1.0, "Frames without a label are interpolated so long.")

#: Tracks that are printed.
_MAX_TRACKS = 20


def main(argv: Sequence[str]) -> int:
    """Write the files and say where they are."""
    del argv
    if not _FORMAT.value:
        return _cli.fail(f"--format is missing; e.g. --format=glb,bvh; known: {', '.join(pipeline.OUTPUTS)}")
    formats = pipeline.check_formats(_FORMAT.value)
    options = pipeline.ExportOptions(
        body=_BODY.value,
        to_body=_TO_BODY.value,
        vertex_map=_VERTEX_MAP.value,
        pictures=_PICTURES.value,
        with_pixels=_WITH_PIXELS.value,
        allow_unknown_licence=_ALLOW_UNKNOWN_LICENCE.value,
        training=TrainingLabelOptions(takes_filled=_TAKE_FILLED.value, takes_doubtful=_TAKE_DOUBTFUL.value),
        words=DatasetWords(
            name=_NAME.value,
            licence=_LICENCE.value,
            creator=_CREATOR.value,
            url=_URL.value,
            citation=_CITATION.value,
            version=_VERSION.value,
        ),
        motion=MotionOptions(frames_per_second=_FPS.value, max_gap_seconds=_MAX_GAP_SECONDS.value),
    )
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console, units="sources") as progress:
        summary = pipeline.export_labels(
            _LABELS.value,
            _OUTPUT_DIR.value,
            formats,
            options=options,
            command=tuple(sys.argv),
            progress=progress,
        )
    _print_summary(summary)
    return 0


def _print_summary(summary: pipeline.ExportSummary) -> None:
    console = rich.console.Console(highlight=False, markup=False)
    if summary.tracks:
        _print_tracks(summary.tracks, console)
    for one in summary.formats:
        files = "1 file" if one.num_files == 1 else f"{one.num_files} files"
        console.print(f"{one.format_name}: {one.num_people} people, {files}: {one.path}", soft_wrap=True)
        for note in one.notes:
            console.print(f"  {note}", soft_wrap=True)
    for note in summary.notes:
        console.print(f"note: {note}", soft_wrap=True)


def _print_tracks(tracks: Sequence[TrackReport], console: rich.console.Console) -> None:
    """How each person's feet stand and slide; of many those who slide most."""
    columns = ("frames", "filled", "standing %", "slide mm/frame", "moving at floor %", "below floor mm")
    rows = []
    for one in sorted(tracks, key=_slides, reverse=True)[:_MAX_TRACKS]:
        numbers = ("-", "-", "-", "-")
        if one.slide is not None:
            slid = one.slide.millimetres_per_frame
            numbers = (
                f"{100 * one.slide.standing_share:.0f}",
                "-" if slid is None else f"{slid:.1f}",
                f"{100 * one.slide.moving_share:.0f}",
                f"{1000 * one.slide.below_floor:.0f}",
            )
        rows.append((f"{one.scene} {one.track}", (str(one.num_frames), str(one.num_interpolated), *numbers)))
    print_numbers(console, columns, rows)
    if len(tracks) > _MAX_TRACKS:
        console.print(f"... and {len(tracks) - _MAX_TRACKS} people whose feet slide less")


def _slides(one: TrackReport) -> tuple[float, float]:
    """The worst first: feet that are too fast to count as standing, then those that stand and slide."""
    if one.slide is None:
        return 0.0, 0.0
    return one.slide.moving_share, one.slide.millimetres_per_frame or 0.0


if __name__ == "__main__":
    _cli.run(main, is_short=True)
