"""Take keypoints that were moved in a program for annotators into labels: each part is solved anew.

python -m tools.export --labels=out/annotate --format=coco_named        then move points in CVAT or another program
python -m tools.correct --labels=out/annotate --keypoints=corrected.json
python -m tools.correct --labels=out/annotate --keypoints=corrected.json --dry_run       what would be corrected

Corrected labels are new versions that no program replaces; nobody has accepted them yet. Points that the body cannot
meet are told, and left as they were. To correct labels here: tools.view.
"""

from collections.abc import Sequence

import rich.console
from absl import flags

from hardmo_jax.pipelines import correct_by_keypoints as pipeline
from hardmo_jax.pipelines.correct_keypoints import TOLERANCE
from tools import _cli
from tools._tables import print_numbers

_LABELS = flags.DEFINE_string("labels", "out/annotate", "Folder with labels.parquet, or such a file.")
_KEYPOINTS = flags.DEFINE_string("keypoints", None, "COCO keypoints, exported from these labels and changed.")
_BODY = flags.DEFINE_string("body", None, "File of the body model of the labels; default: as run.json says.")
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Write nothing, and say what would be corrected.")

#: Notes that are printed.
_MAX_NOTES = 20


def main(argv: Sequence[str]) -> int:
    """Correct, and print a table of what was."""
    del argv
    if not _KEYPOINTS.value:
        return _cli.fail("--keypoints is missing; give the JSON that your program for annotators exported")
    with _cli.ProgressBar(rich.console.Console(stderr=True), units="labels") as progress:
        found = pipeline.correct_by_keypoints(
            _LABELS.value, _KEYPOINTS.value, body=_BODY.value, dry_run=_DRY_RUN.value, progress=progress
        )
    print_corrections(found, is_dry=_DRY_RUN.value)
    return 0


def print_corrections(found: pipeline.KeypointCorrections, *, is_dry: bool) -> None:
    """The table at the end of a run."""
    console = rich.console.Console(highlight=False, markup=False)
    if found.parts:
        columns = ("frame", "person", "part", "moved", "removed", "out of reach", "before px", "after px")
        rows = []
        for one in found.parts:
            pixels = ("-" if error is None else f"{error:.1f}" for error in (one.error_before, one.error_after))
            counts = (one.num_moved, one.num_removed, one.num_out_of_reach)
            numbers = (one.frame_index, one.track_id, one.part, *counts)
            rows.append((one.source_path, (*map(str, numbers), *pixels)))
        print_numbers(console, columns, rows)
    for note in found.notes[:_MAX_NOTES]:
        console.print(f"note: {note}", soft_wrap=True)
    if len(found.notes) > _MAX_NOTES:
        console.print(f"... and {len(found.notes) - _MAX_NOTES} notes more", soft_wrap=True)
    if found.num_matched and found.tolerance > TOLERANCE:
        console.print(
            f"coordinates are whole numbers: those within {found.tolerance:g} px of where they were did not move",
            soft_wrap=True,
        )
    counts = f"{found.num_matched} of {found.num_annotations} annotations are labels"
    if not found.parts:
        console.print(f"{counts}; there is nothing to correct", soft_wrap=True)
    elif is_dry:
        console.print(f"{counts}; nothing was changed", soft_wrap=True)
    else:
        console.print(f"{counts}; {found.num_saved} labels have a new version", soft_wrap=True)


if __name__ == "__main__":
    _cli.run(main)
