"""Train a network of the package.

python -m tools.train --config=configs/train_lifter.py         (an hour on two cores; needs motion capture)

A run that was stopped goes on where it was: the same command again.
"""

import pathlib
from collections.abc import Sequence

import rich.console
from absl import flags
from ml_collections import config_flags

from hardmo_jax.pipelines import train_lifter as pipeline
from tools import _cli

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="What is trained; configs/train_*.")
_MOCAP = flags.DEFINE_string("mocap", None, "Folder of the motion capture; default: `mocap` below HARDMO_DATA.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/train_lifter", "Folder for checkpoints and the trained network.")


def main(argv: Sequence[str]) -> int:
    """Train; print losses, and where the network is."""
    del argv
    options = _cli.build_options(pipeline.TrainLifterOptions, _CONFIG.value)
    console = rich.console.Console(stderr=True, highlight=False)

    def tell(step: int, means: dict[str, float]) -> None:
        console.print(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in means.items()))

    with _cli.ProgressBar(console, units="steps") as progress:
        summary = pipeline.train_lifter(
            options,
            pathlib.Path(_OUTPUT_DIR.value),
            mocap=_cli.mocap_folder(_MOCAP.value),
            progress=progress,
            on_report=tell,
        )
    print(f"{summary.path}: {summary.people} people in {summary.minutes:.1f} minutes, sha256 {summary.sha256}")
    return 0


if __name__ == "__main__":
    _cli.run(main, default_config="configs/train_lifter.py")
