"""Find the wrong hands or feet among labels, and repair them.

python -m tools.refine --subset=hand
python -m tools.refine --subset=foot --input=out/annotate --output_dir=out/refine_foot
python -m tools.refine --subset=hand --second_source=out/dwpose      hands as another detector saw them
python -m tools.refine --subset=hand --dry_run            counts, and a sheet of what would be repaired

Repaired labels go into the store as new versions, beside the old ones; a second run finds nothing to do.
"""

import sys
from collections.abc import Sequence

import rich.box
import rich.console
import rich.markup
import rich.table
from absl import flags
from ml_collections import config_flags

from hardmo_jax.pipelines import refine as pipeline
from tools import _cli
from tools._report_beside import report_beside

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="Run configuration.")
_SUBSET = flags.DEFINE_string("subset", None, "What is looked at: hand or foot.")
_INPUT = flags.DEFINE_string("input", "out/annotate", "Folder with labels.parquet, or such a file.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the subset; default: out/refine_<subset>.")
_PICTURES = flags.DEFINE_string("pictures", None, "Folder of the labelled pictures; default: as their run.json says.")
_SECOND_SOURCE = flags.DEFINE_string(
    "second_source", None, "Labels of the same pictures by another detector, whose hands or feet are taken."
)
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Write nothing but a sheet, dry_run.png.")


def main(argv: Sequence[str]) -> int:
    """Run the job and print its table."""
    del argv
    if _SUBSET.value is None:
        return _cli.fail("--subset is missing; give --subset=hand or --subset=foot")
    subset = pipeline.check_subset(_SUBSET.value)
    options = _cli.build_options(pipeline.RefineOptions, _CONFIG.value)
    if options.subset != subset:
        return _cli.fail(f"--subset={subset}, but the config is of {options.subset}; give --config=configs/{subset}.py")
    output_dir = _OUTPUT_DIR.value or f"out/refine_{subset}"
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console, units="parts") as progress:
        summary = pipeline.refine(
            _INPUT.value,
            output_dir,
            options=options,
            pictures=_PICTURES.value,
            second_source=_SECOND_SOURCE.value,
            dry_run=_DRY_RUN.value,
            command=tuple(sys.argv),
            progress=progress,
        )
    print_summary(summary, subset, output_dir, is_dry=_DRY_RUN.value)
    if summary.num_refined and not _DRY_RUN.value:
        report_beside(_INPUT.value, pictures=_PICTURES.value, only_again=True)
    return 0


def print_summary(summary: pipeline.RefineSummary, subset: str, output_dir: str, *, is_dry: bool) -> None:
    """The table at the end of a run."""
    console = rich.console.Console(highlight=False, markup=False)
    noun = {"hand": "hands", "foot": "feet"}[subset]
    # Without an edge all columns fit into 80 letters.
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.title = f"{noun} of {summary.num_labels} labels; errors: % of the box"
    table.title_justify = "left"
    columns = ("of", "wrong", "mined", "refined", "no better", "outvoted", "right", "not seen", "before", "after")
    for name in columns:
        table.add_column(name, justify="left" if name == "of" else "right")
    for count in summary.counts:
        errors = ("-" if e is None else f"{100 * e:.2f}" for e in (count.error_before, count.error_after))
        numbers = (
            count.wrong,
            count.mined,
            count.refined,
            count.no_better,
            count.outvoted,
            count.right,
            count.unrepairable,
        )
        table.add_row(rich.markup.escape(count.name), *map(str, numbers), *errors)
    console.print(table)
    if summary.num_matched is not None:
        console.print(
            f"second source: saw the people of {summary.num_matched} labels; {noun} of {summary.num_fused} are its now",
            soft_wrap=True,
        )
    if summary.counts[0].doubtful:
        console.print(
            f"{summary.counts[0].doubtful} of the refined are still doubtful (wrong_* stays high); look at them first",
            soft_wrap=True,
        )
    if summary.bodies_wrong:
        console.print(f"{summary.bodies_wrong} labels were left out: their bodies are wrong, or nobody was seen")
    seconds = "  ".join(f"{stage} {value:.1f} s" for stage, value in summary.seconds_by_stage.items())
    console.print(seconds)
    for warning in summary.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    if is_dry:
        console.print(f"nothing was changed; what was found is in {output_dir}/dry_run.png", soft_wrap=True)
    elif summary.is_nothing_to_do:
        console.print(f"nothing to do: labels and {output_dir} are as this run would make them", soft_wrap=True)
    elif not summary.num_refined:
        console.print(f"no label has a new version; the subset in {output_dir} was made again", soft_wrap=True)
    else:
        console.print(f"{summary.num_refined} labels have a new version; the subset is in {output_dir}", soft_wrap=True)


def _default_config() -> str:
    """The config of the subset on the command line; of a wrong or missing one, `main` says so."""
    given = [word.partition("=")[2] for word in sys.argv if word.lstrip("-").startswith("subset=")]
    given += [after for word, after in zip(sys.argv, sys.argv[1:], strict=False) if word.lstrip("-") == "subset"]
    return f"configs/{given[-1]}.py" if given and given[-1] in pipeline.SUBSETS else "configs/hand.py"


if __name__ == "__main__":
    _cli.run(main, default_config=_default_config())
