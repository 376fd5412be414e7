"""Label the people in photos, video or keypoint files with SMPL.

python -m tools.annotate --config=configs/normal.py --input=clip.mp4 --output_dir=out/annotate
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import rich.console
from absl import flags
from ml_collections import config_flags

from hardmo_jax.perception import model_files
from hardmo_jax.pipelines import annotate as pipeline
from tools import _cli
from tools._annotate_summary import print_summary

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="Run configuration.")
_INPUT = flags.DEFINE_multi_string("input", None, "Photo, folder of photos, video, or keypoint JSON.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/annotate", "Folder for labels, overlays and run.json.")
_LIMIT = flags.DEFINE_integer("limit", None, "Look at this many frames or photos at most.", lower_bound=1)
_MODELS = flags.DEFINE_string("models", None, "Folder of the perception models; default: the user's cache.")

#: Exit status of a run that labelled what it could, and could not use some of the pictures.
_PARTLY = 3
_ONE_INPUT = "one run labels one video, one photo or one folder of photos; start a run for each, or put photos together"


def main(argv: Sequence[str]) -> int:
    """Run the job and print its table."""
    if _CONFIG.value is None:
        return _cli.fail("--config is missing; e.g. --config=configs/normal.py")
    if not _INPUT.value:
        return _cli.fail("--input is missing; give a photo, a folder of photos, a video or a keypoint JSON file")
    if len(_INPUT.value) > 1:
        return _cli.fail(f"--input is given twice: {_ONE_INPUT}")
    source = _INPUT.value[0]
    if "," in source and not pathlib.Path(source).exists():
        return _cli.fail(f"{source}: no such file; {_ONE_INPUT}")
    config = _CONFIG.value
    options = _cli.build_options(pipeline.AnnotateOptions, config)
    if _LIMIT.value is not None:
        options = dataclasses.replace(options, limit_frames=_LIMIT.value)
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console) as progress:
        summary = pipeline.annotate(
            source,
            _OUTPUT_DIR.value,
            options=options,
            model_folder=_MODELS.value or model_files.default_model_folder(),
            command=tuple(sys.argv),
            progress=progress,
        )
    print_summary(summary, _OUTPUT_DIR.value)
    return _PARTLY if summary.num_unusable else 0


if __name__ == "__main__":
    _cli.run(main)
