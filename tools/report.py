"""Write one page about labels: numbers, worst hands and feet before and after repair, people over time, a list.

python -m tools.report out/annotate                       -> out/annotate/report.html
python -m tools.report out/demo                           -> out/demo/annotate/report.html
python -m tools.report out/loop/store --output=out/loop.html
python -m tools.report out/annotate --pictures=media      where the pictures moved to

The page is one file that opens from disk without a network; nothing in it tells folders of this machine.
"""

from collections.abc import Sequence

import rich.console
from absl import flags

from hardmo_jax.pipelines import report_labels as pipeline
from tools import _cli

_LABELS = flags.DEFINE_string("labels", "out/annotate", "Labels: a folder or file; may stand alone.")
_OUTPUT = flags.DEFINE_string("output", None, "Page to write; default: report.html beside the labels.")
_PICTURES = flags.DEFINE_string("pictures", None, "Folder or video that was labelled; default: as run.json says.")
_BODY = flags.DEFINE_string("body", None, "File of the body model of the labels; default: as run.json says.")


def main(argv: Sequence[str]) -> int:
    """Write the page and say where it is."""
    del argv
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console, units="parts") as progress:
        summary = pipeline.write_report(
            _LABELS.value, _OUTPUT.value, pictures=_PICTURES.value, body=_BODY.value, progress=progress
        )
    out = rich.console.Console(highlight=False, markup=False)
    for warning in summary.warnings:
        out.print(f"warning: {warning}", soft_wrap=True)
    out.print(
        f"{summary.num_labels} labels, {summary.num_close_ups} close-ups, {summary.num_bytes / 1e6:.2f} MB: "
        f"{summary.path}",
        soft_wrap=True,
    )
    return 0


if __name__ == "__main__":
    _cli.run(main, is_short=True, positional="labels")
