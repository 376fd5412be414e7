"""Take a source, or one person in it, out of labels, data sets and drawings.

python -m tools.remove --labels=out/annotate --source=clip.mp4 --dry_run       what would go
python -m tools.remove --labels=out/annotate --source=clip.mp4 --track_id=2 --output=out/refine_hand --output=out/hf

All versions of the labels go, and every overlay, close-up and sheet that shows or may show them: of one person among
others all drawings of that photo or video. `removed.json` beside the labels keeps hashes of the labels' names, nothing
else. The photos and videos themselves are never deleted, nor what was copied elsewhere.
"""

from collections.abc import Sequence

import rich.box
import rich.console
import rich.table
from absl import flags

from hardmo_jax.pipelines.exports import remove_labels as pipeline
from tools import _cli

_LABELS = flags.DEFINE_string("labels", "out/annotate", "Label file, folder of a run or of runs, or data set.")
_SOURCE = flags.DEFINE_string("source", None, "Photo or video: its path or name as labels have it, or its SHA-256.")
_TRACK_ID = flags.DEFINE_integer("track_id", None, "One person in it; default: everybody.", lower_bound=0)
_OUTPUT = flags.DEFINE_multi_string("output", [], "Further folders made of these labels; may be given repeatedly.")
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Change nothing, and say what would go.")


def main(argv: Sequence[str]) -> int:
    """Remove, and print a table of what was removed."""
    del argv
    if not _SOURCE.value:
        return _cli.fail("--source is missing; give the path, name or SHA-256 of the photo or video")
    summary = pipeline.remove_labels(
        _LABELS.value,
        source=_SOURCE.value,
        track_id=_TRACK_ID.value,
        outputs=_OUTPUT.value,
        dry_run=_DRY_RUN.value,
    )
    _print_summary(summary)
    return 0


def _print_summary(summary: pipeline.RemovalSummary) -> None:
    console = rich.console.Console(highlight=False, markup=False, soft_wrap=True)
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("file", overflow="fold")
    table.add_column("would go" if summary.is_dry else "removed")
    for step in summary.steps:
        table.add_row(str(step.path), f"{step.what}: deleted" if step.is_deleted else step.what)
    console.print(table)
    who = "everybody" if summary.track_id is None else f"person {summary.track_id}"
    done = "would be removed" if summary.is_dry else "removed"
    num_files = sum(step.num_labels > 0 for step in summary.steps)
    places = f"{num_files} file{'s' if num_files != 1 else ''}"
    print(
        f"{summary.num_labels} rows in {places} (versions and copies) of {who} in "
        f"{', '.join(summary.sources) or 'no source'} {done}, "
        f"{summary.num_files_deleted} files {'would be ' if summary.is_dry else ''}deleted"
    )
    for warning in summary.warnings:
        print(f"note: {warning}")
    print(
        "The photos and videos that were labelled are never deleted by this, nor copies elsewhere: delete them "
        "yourself if they must go."
    )


if __name__ == "__main__":
    _cli.run(main, compiles=False)
