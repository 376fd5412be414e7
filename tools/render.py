"""Render people with true labels, to train on and to test with.

python -m tools.render --config=configs/render.py --output_dir=out/rendered
python -m tools.train --config=configs/train_hmr.py:smoke --labels=out/rendered --images=out/rendered/photos
"""

import pathlib
from collections.abc import Sequence

import rich.console
from absl import flags
from ml_collections import config_flags

from hardmo_jax.pipelines import render_training
from tools import _cli

_CONFIG = config_flags.DEFINE_config_file(
    "config", lock_config=True, help_string="What is rendered; configs/render.py."
)
_MOCAP = flags.DEFINE_string("mocap", None, "Folder of the motion capture; default: `mocap` below HARDMO_DATA.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/rendered", "Folder for pictures and labels.")


def main(argv: Sequence[str]) -> int:
    """Render and say what was written."""
    del argv
    options = _cli.build_options(render_training.RenderTrainingOptions, _CONFIG.value)
    with _cli.ProgressBar(rich.console.Console(stderr=True), units="pictures") as progress:
        made = render_training.render_training(
            options, pathlib.Path(_OUTPUT_DIR.value), mocap=_cli.mocap_folder(_MOCAP.value),
            cache=pathlib.Path("out/planted"), progress=progress,
        )  # fmt: skip
    print(f"{options.people} people in poses of {'motion capture' if made.poses == 'mocap' else 'written tables'}")
    print(f"wrote {made.labels}, {made.photos} and {made.sheet}")
    print(f"train on them: python -m tools.train --config=configs/train_hmr.py:smoke --labels={made.labels.parent} "
          f"--images={made.photos}")  # fmt: skip
    return 0


if __name__ == "__main__":
    _cli.run(main, default_config="configs/render.py")
