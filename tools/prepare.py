"""Make a benchmark: people whose truth is known, as a detector sees them.

python -m tools.prepare --config=configs/mocap_hard.py               (needs motion capture)
python -m tools.prepare --config=configs/mocap_hard.py:synth_hard    (needs nothing)
"""

import pathlib
from collections.abc import Sequence

import rich.console
import rich.table
from absl import flags
from ml_collections import config_flags

from hardmo_jax.pipelines import prepare as pipeline
from tools import _cli

_CONFIG = config_flags.DEFINE_config_file(
    "config", lock_config=True, help_string="What the benchmark is made of; configs/mocap_hard.py."
)
_MOCAP = flags.DEFINE_string("mocap", None, "Folder of the motion capture; default: `mocap` below HARDMO_DATA.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder; default: below out/benchmarks, named by the options.")


def main(argv: Sequence[str]) -> int:
    """Make the benchmark; print sizes and checksums."""
    del argv
    options = _cli.build_options(pipeline.PrepareOptions, _CONFIG.value)
    folder = pipeline.benchmark_folder(_cli.BENCHMARK_ROOT, options)
    if _OUTPUT_DIR.value is not None:
        folder = pathlib.Path(_OUTPUT_DIR.value)
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console, units="steps") as progress:
        prepared = pipeline.prepare_benchmark(options, folder, mocap=_cli.mocap_folder(_MOCAP.value), progress=progress)
    table = rich.table.Table(title=str(folder), title_justify="left")
    for column in ("set", "samples", "bytes", "sha256"):
        table.add_column(column, justify="right" if column in ("samples", "bytes") else "left", no_wrap=True)
    for entry in prepared:
        table.add_row(entry.name, str(entry.samples), str(entry.num_bytes), entry.sha256)
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console = rich.console.Console(highlight=False, width=140)
    console.print(table)
    return 0


if __name__ == "__main__":
    _cli.run(main, default_config="configs/mocap_hard.py")
