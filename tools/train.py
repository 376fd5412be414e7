"""Train what the package learns from motion capture.

python -m tools.train --config=configs/train_lifter.py         keypoints to bodies; an hour on two cores
python -m tools.train --config=configs/train_motion.py         the same over time; an hour; after the lifter
python -m tools.train --config=configs/train_prior.py          the pose prior; two minutes
python -m tools.train --config=configs/train_ranker.py         which of several fits to take; after the lifter
python -m tools.train --config=configs/train_part_scorer.py    which feet and hands are wrong; after the lifter

These need motion capture; regressors need labels and their pictures:

python -m tools.train --config=configs/train_hmr.py:smoke                                  after `make annotate`
python -m tools.train --config=configs/train_hmr2.py --labels=out/photos --images=photos

A run of the first two and of regressors that was stopped goes on where it was: the same command again.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import rich.console
from absl import flags
from ml_collections import config_flags

from hardmo_jax import options as options_module
from hardmo_jax.networks import lifter_file
from hardmo_jax.pipelines import (
    train_lifter,
    train_motion,
    train_part_scorer,
    train_prior,
    train_ranker,
    train_regressor,
)
from hardmo_jax.pipelines.training_sources import TrainingSourceOptions
from tools import _cli

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="What is trained; configs/train_*.")
_MOCAP = flags.DEFINE_string("mocap", None, "Folder of the motion capture; default: `mocap` below HARDMO_DATA.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for checkpoints and results; default: out/train_<kind>.")
_LABELS = flags.DEFINE_multi_string(
    "labels", [], "Folder that tools.annotate wrote, to train a regressor on; repeat it."
)
_IMAGES = flags.DEFINE_multi_string("images", [], "What was labelled, one for each --labels.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of the first of several machines that train a regressor."
)
_PROCESS = flags.DEFINE_integer("process", None, "Number of this one, from 0; None where the cluster tells it.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are; None where the cluster tells it.")
_LIFTER = flags.DEFINE_string("lifter", None, "Lifter that others learn from; default: the package's.")

#: What `make annotate` leaves.
_USUAL_LABELS, _USUAL_IMAGES = pathlib.Path("out/annotate"), pathlib.Path("out/sample_photos")
_OPTIONS = {
    "lifter": train_lifter.TrainLifterOptions,
    "motion_lifter": train_motion.TrainMotionOptions,
    "pose_prior": train_prior.TrainPriorOptions,
    "ranker": train_ranker.TrainRankerOptions,
    "part_scorer": train_part_scorer.TrainPartScorerOptions,
    "regressor": train_regressor.TrainRegressorOptions,
}


def main(argv: Sequence[str]) -> int:
    """Train; print losses, and where the result is."""
    del argv
    config = _CONFIG.value.copy_and_resolve_references() if _CONFIG.value is not None else None
    kind = getattr(config, "kind", None)
    if config is None or kind not in _OPTIONS:
        raise options_module.OptionsError(f"config.kind must be one of {', '.join(_OPTIONS)}, got {kind!r}")
    with config.unlocked():
        del config.kind
    options = _cli.build_options(_OPTIONS[kind], config)
    console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
    if isinstance(options, train_regressor.TrainRegressorOptions):
        return _train_regressor(options, console)
    if _LABELS.value or _IMAGES.value:
        raise options_module.OptionsError(
            f"--labels and --images are for regressors; {kind} learns from motion capture"
        )
    folder = pathlib.Path(_OUTPUT_DIR.value or f"out/train_{kind}")
    mocap = _cli.mocap_folder(_MOCAP.value)

    def tell(step: int, means: dict[str, float]) -> None:
        console.print(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in means.items()))

    given = None
    if _LIFTER.value is not None:
        given, _ = lifter_file.read_lifter(pathlib.Path(_LIFTER.value).read_bytes(), source=_LIFTER.value)
    with _cli.ProgressBar(console, units="steps") as progress:
        if isinstance(options, train_lifter.TrainLifterOptions):
            done = train_lifter.train_lifter(options, folder, mocap=mocap, progress=progress, on_report=tell)
            path, digest = done.path, done.sha256
            notes = [f"{done.drawn} people in {done.minutes:.1f} minutes"]
        elif isinstance(options, train_motion.TrainMotionOptions):
            done = train_motion.train_motion(
                options, folder, mocap=mocap, trained=given, progress=progress, on_report=tell
            )
            path, digest = done.path, done.sha256
            notes = [f"{done.drawn} clips in {done.minutes:.1f} minutes"]
        elif isinstance(options, train_prior.TrainPriorOptions):
            path, digest, scores = train_prior.train_prior(options, folder, mocap=mocap, progress=progress)
            notes = [f"{part}: one Gaussian {one:.2f}, mixture {many:.2f} nats a pose" for part, one, many in scores]
        elif isinstance(options, train_part_scorer.TrainPartScorerOptions):
            path, digest, areas = train_part_scorer.train_part_scorer(options, folder, mocap=mocap, progress=progress)
            notes = [f"{name}: area under the ROC curve {area:.4f}" for name, area in areas.items()]
        else:
            path, digest, errors = train_ranker.train_ranker(
                options, folder, mocap=mocap, trained=given, progress=progress
            )
            notes = [f"{name} {error:.1f} mm" for name, error in errors.items()]
    for note in notes:
        print(note)
    print(f"wrote {path}, sha256 {digest}")
    return 0


def _train_regressor(options: train_regressor.TrainRegressorOptions, console: rich.console.Console) -> int:
    if len(_LABELS.value) != len(_IMAGES.value):
        raise options_module.OptionsError(
            f"every --labels needs the photos or the video that were labelled: got {len(_LABELS.value)} --labels and "
            f"{len(_IMAGES.value)} --images"
        )
    if _COORDINATOR.value is not None:
        jax.distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS.value)
    told = tuple(
        TrainingSourceOptions(path=labels, images=images)
        for labels, images in zip(_LABELS.value, _IMAGES.value, strict=True)
    )
    if not told and not options.sources and (_USUAL_LABELS / "labels.parquet").is_file() and _USUAL_IMAGES.is_dir():
        console.print(f"training on what `make annotate` labelled: {_USUAL_LABELS}, {_USUAL_IMAGES}")
        told = (TrainingSourceOptions(path=str(_USUAL_LABELS), images=str(_USUAL_IMAGES)),)
    options = dataclasses.replace(options, sources=(*options.sources, *told))
    folder = pathlib.Path(_OUTPUT_DIR.value or f"out/train_{options.network.network}")

    def tell(step: int, means: dict[str, float]) -> None:
        console.print(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in means.items()))

    with _cli.ProgressBar(console, units="steps") as progress:
        done = train_regressor.train_regressor(
            options, folder, progress=progress, on_report=tell, on_note=console.print
        )
    for note in done.notes:
        console.print(note)
    left_out = f"{done.num_broken} of {done.num_samples} samples left out"
    print(f"{done.num_people} people, {done.num_validation} others looked at; {left_out}")
    print(
        f"look at {folder / 'curves.png'} and {folder / 'pictures'}, or: tensorboard --logdir={folder / 'tensorboard'}"
    )
    print(
        f"wrote {done.path}; label with it: python -m tools.annotate --config=configs/normal.py --input=PHOTOS "
        f"--config.initialise.network={options.network.network} --config.initialise.checkpoint={done.path}"
    )
    return 0


if __name__ == "__main__":
    _cli.run(main, default_config="configs/train_lifter.py")
