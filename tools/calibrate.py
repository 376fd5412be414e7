"""Measure a source of keypoints on pictures whose keypoints are known, and keep what its confidences are worth.

python -m tools.calibrate --config=configs/normal.py --truth=photos/annotations.json
python -m tools.calibrate --config=configs/normal.py --truth=photos/annotations.json \
    --config.perception.detector_file=rtmdet.onnx --config.perception.keypoints_file=dwpose.onnx

The truth is a file of COCO, COCO-WholeBody, Halpe or OpenPose beside its photos. Sources are kept side by side in one
file; where feet or hands come from another source (`--config.perception.feet_from...`,
`--config.perception.calibration=FILE`), the better one of each person is taken by it.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import rich.console
import rich.table
from absl import flags
from ml_collections import config_flags

from hardmo_jax.perception import calibration, model_files
from hardmo_jax.pipelines import annotate, known_pictures
from tools import _cli

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="Run configuration: who is measured.")
_TRUTH = flags.DEFINE_string("truth", None, "Keypoint file of people whose keypoints are known, beside its photos.")
_OUTPUT = flags.DEFINE_string("output", "out/calibration.json", "File of calibrations; other sources in it are kept.")
_MODELS = flags.DEFINE_string("models", None, "Folder of the perception models; default: the user's cache.")

#: Confidences at which the table tells the error.
_SHOWN = (0.3, 0.6, 0.9)
_NAMES = {"body": "bodies", "foot": "feet", "hand": "hands"}


def main(argv: Sequence[str]) -> int:
    """Measure, print the table and write the file."""
    del argv
    if _CONFIG.value is None:
        return _cli.fail("--config is missing; e.g. --config=configs/normal.py")
    if not _TRUTH.value:
        return _cli.fail("--truth is missing; give a file of COCO-WholeBody, Halpe or OpenPose beside its photos")
    options = _cli.build_options(annotate.AnnotateOptions, _CONFIG.value)
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console, units="pictures") as progress:
        measured = known_pictures.calibrate_source(
            _TRUTH.value,
            pathlib.Path(_OUTPUT.value),
            options=options.perception,
            model_folder=_MODELS.value or model_files.default_model_folder(),
            progress=progress,
        )
    _print(measured)
    return 0


def _print(measured: known_pictures.MeasuredSource) -> None:
    console = rich.console.Console(highlight=False)
    errors = measured.errors
    found = f"{errors.num_found} of {len(errors.distance)} people found, {errors.num_others} others"
    console.print(f"{measured.source}: {found}", soft_wrap=True)
    table = rich.table.Table(
        title="points nearer than a share of the person's box, and error to expect", title_justify="left"
    )
    for name in ("part", "points", "PCK@0.05", "PCK@0.02", *(f"at confidence {value:g}" for value in _SHOWN)):
        table.add_column(name, justify="left" if name == "part" else "right")
    coarse, fine = errors.pck(0.05), errors.pck(0.02)
    for kind, (share, count) in coarse.items():
        expected = ["-"] * len(_SHOWN)
        if kind in measured.calibrations:
            own = measured.calibrations[kind]
            expected = [f"{100 * float(own.expected_error(np.array(value))):.2f} %" for value in _SHOWN]
        shares = ["-" if one is None else f"{100 * one:.1f} %" for one in (share, fine[kind][0])]
        table.add_row(kind, str(count), *shares, *expected)
    console.print(table)
    few = [_NAMES[kind] for kind in coarse if kind not in measured.calibrations]
    if few:
        console.print(
            f"warning: too few known points of {' and '.join(few)} were found to tell what confidences are worth there "
            f"(at least {calibration.LEAST_POINTS}); give more pictures",
            soft_wrap=True,
        )
    console.print(f"kept in {_OUTPUT.value}", soft_wrap=True)


if __name__ == "__main__":
    _cli.run(main)
