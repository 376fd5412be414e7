"""Label a clip of two dancers that the package holds, repair hands and feet, and compare with the truth.

python -m tools.demo
python -m tools.demo --render=hardmo_jax/pipelines/assets      makes clip and truth again
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import rich.box
import rich.console
import rich.table
from absl import flags
from ml_collections import config_dict

from configs import foot, hand, normal
from hardmo_jax.body import load
from hardmo_jax.perception import model_files
from hardmo_jax.pipelines import annotate, demo, demo_clip, refine
from tools import _cli
from tools._report_beside import report_beside

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/demo", "Folder for clip, truth, labels and close-ups.")
_MODELS = flags.DEFINE_string("models", None, "Folder of the perception models; default: the user's cache.")
_RENDER = flags.DEFINE_string("render", None, "Make clip and truth again, in this folder, and nothing else.")
#: Close-ups of each subset.
_CLOSE_UPS = 6


def main(argv: Sequence[str]) -> int:
    """Run both stages and print the table."""
    del argv
    console = rich.console.Console(stderr=True)
    if _RENDER.value is not None:
        with _cli.ProgressBar(console) as progress:
            demo_clip.render_demo(load.open_body(view="smplh"), pathlib.Path(_RENDER.value), progress=progress)
        return 0
    with _cli.ProgressBar(console) as progress:
        summary = demo.run_demo(
            pathlib.Path(_OUTPUT_DIR.value),
            annotate_options=_annotate_options(),
            refine_options=[_refine_options(subset.get_config()) for subset in (hand, foot)],
            model_folder=pathlib.Path(_MODELS.value or model_files.default_model_folder()),
            progress=progress,
        )
    print_summary(summary, _OUTPUT_DIR.value)
    report_beside(pathlib.Path(_OUTPUT_DIR.value) / "annotate")
    return 0


def _annotate_options() -> annotate.AnnotateOptions:
    """Of labels by body keypoints, looked for a little less thoroughly than usual: the dancers are large."""
    config = normal.get_config()
    changes = {
        "fit.part_weights.feet": 0.0,
        "fit.part_weights.hands": 0.0,
        "perception.tiles": (1.35,),
        "perception.extra_looks": 0,
        "perception.detect_every": 30,
        "output.overlay": False,
        "output.part_scores": False,  # filled in by the second stage
    }
    config.update_from_flattened_dict(changes)
    return _cli.build_options(annotate.AnnotateOptions, config)


def _refine_options(config: config_dict.ConfigDict) -> refine.RefineOptions:
    options = _cli.build_options(refine.RefineOptions, config)
    return dataclasses.replace(options, close_ups=dataclasses.replace(options.close_ups, most=_CLOSE_UPS))


def print_summary(summary: demo.DemoSummary, output_dir: str) -> None:
    """The table at the end."""
    console = rich.console.Console(highlight=False, markup=False)
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.title = "mean errors against the truth: of the points seen from wrist or ankle, and of its rotation"
    table.title_justify = "left"
    for name in ("", "", "number", "before", "after", "before", "after"):
        table.add_column(name, justify="right" if name else "left")
    nouns = {"hand": "hands", "foot": "feet"}
    for score in summary.scores:
        cells = [
            f"{values[name]:.1f} {unit}"
            for name, unit in (("from_base", "mm"), ("angle", "deg"))
            for values in (score.before, score.after)
        ]
        which = "repaired" if score.is_repaired else "all"
        table.add_row(nouns[score.subset], which, str(score.count), *cells)
    console.print(f"two dancers in {demo_clip.NUM_FRAMES} frames: {summary.num_labels} labels by body keypoints")
    if summary.num_unseen:
        console.print(f"{summary.num_unseen} more were filled in where nobody was seen")
    if summary.num_strangers:
        console.print(f"{summary.num_strangers} labels are of nobody who is there")
    console.print(table)
    console.print(f"{summary.seconds:.0f} s; labels are in {output_dir}/annotate, close-ups in {output_dir}/refine_*")
    console.print(f"look at them: python -m tools.view {output_dir}", soft_wrap=True)


if __name__ == "__main__":
    _cli.run(main, is_short=True)
