"""Label the people in photos, video or keypoint files with SMPL.

python -m tools.annotate --config=configs/normal.py --input=clip.mp4 --output_dir=out/annotate
python -m tools.annotate --config=configs/normal.py --input=a.mp4 --input=b.mp4      a folder each below out/annotate
python -m tools.annotate --config=configs/normal.py --input=clips                    so is a folder of videos
python -m tools.annotate --config=configs/normal.py --input=clip.mp4 --start=10 --end=20 --stride=2
python -m tools.annotate --config=configs/normal.py --input=webcam:0 --output_dir=out/live       docs/live.md

python -m tools.annotate --config=configs/normal.py --input=clips --runner=local --output_dir=out/job     docs/scale.md

Of several inputs one that fails does not stop the others, and one that was labelled in the same way is not again.
"""

import dataclasses
import os
import pathlib
import sys
import threading
from collections.abc import Sequence

import rich.console
from absl import flags
from ml_collections import config_flags

from hardmo_jax.perception import live_address, model_files
from hardmo_jax.pipelines import annotate as pipeline
from hardmo_jax.pipelines import annotate_many, live
from hardmo_jax.pipelines.runners import annotate_job, job_items, local, ray
from tools import _cli
from tools._annotate_summary import print_summary
from tools._job_lines import JobLines, print_job
from tools._live_lines import LiveLines, print_live_summary
from tools._report_beside import report_beside

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="Run configuration.")
_INPUT = flags.DEFINE_multi_string(
    "input", None, "Photo, folder of photos, video, keypoint JSON, webcam:0 or a stream."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "out/annotate", "Folder for labels, overlays, report.html and run.json."
)
_LIMIT = flags.DEFINE_integer("limit", None, "Look at this many frames or photos at most.", lower_bound=1)
_START = flags.DEFINE_float("start", None, "Seconds of a video to pass over.", lower_bound=0.0)
_END = flags.DEFINE_float("end", None, "Second of a video to stop at.", lower_bound=0.0)
_STRIDE = flags.DEFINE_integer("stride", None, "Look at every so many frames of a video, or photos.", lower_bound=1)
_MODELS = flags.DEFINE_string("models", None, "Folder of the perception models; default: the user's cache.")
_LIVE_FITS = flags.DEFINE_bool("live_fits", True, "Of live input: fit bodies while it runs.")
_RELABEL = flags.DEFINE_bool("relabel", True, "Of live input: label the recording when it is over.")
_RUNNER = flags.DEFINE_enum(
    "runner", None, ["local", "ray"], "One label store of all inputs, by many processes of this machine or a cluster."
)
_WORKERS = flags.DEFINE_integer("workers", None, "Processes that look at pictures; default: one a core.", lower_bound=1)
_LABEL_WORKERS = flags.DEFINE_integer(
    "label_workers", None, "Of a runner: processes that label; default: one a GPU.", lower_bound=1
)
_GPUS = flags.DEFINE_float("label_gpus", 0.0, "Of --runner=ray: GPUs, or share of one, of each of these.")
_RAY_ADDRESS = flags.DEFINE_string("ray_address", None, "Of --runner=ray: the cluster; default: this machine alone.")
_SHARD = flags.DEFINE_string("shard", "1/1", "Of a runner: which of several machines that share the folder this is.")
_LIMIT_INPUTS = flags.DEFINE_integer("limit_inputs", None, "Of a runner: inputs begun at most.", lower_bound=1)
_STALL = flags.DEFINE_float("stall_seconds", 10.0, "Of live input: time without anything after which it is over.")

#: Exit status of a run that labelled what it could, and could not use some of the pictures, and of one that was told
#: to stop before all was labelled (`EX_TEMPFAIL`: the same command goes on).
_PARTLY, _STOPPED = 3, 75


def main(argv: Sequence[str]) -> int:
    """Run the job and print its table."""
    del argv
    if _CONFIG.value is None:
        return _cli.fail("--config is missing; e.g. --config=configs/normal.py")
    if not _INPUT.value:
        return _cli.fail("--input is missing; give a photo, a folder of photos, a video or a keypoint JSON file")
    addresses = [live_address.live_address(source) for source in _INPUT.value]
    is_live = any(address is not None for address in addresses)
    if is_live and len(addresses) > 1:
        return _cli.fail("live input is labelled by itself; give one --input")
    if not is_live and len(_INPUT.value) == 1 and "," in _INPUT.value[0] and not pathlib.Path(_INPUT.value[0]).exists():
        return _cli.fail(f"{_INPUT.value[0]}: no such file; give several inputs as --input=a.mp4 --input=b.mp4")
    options = _cli.build_options(pipeline.AnnotateOptions, _CONFIG.value)
    if _LIMIT.value is not None:
        options = dataclasses.replace(options, limit_frames=_LIMIT.value)
    chosen = {"start_seconds": _START.value, "end_seconds": _END.value, "stride": _STRIDE.value}
    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        options = dataclasses.replace(options, frames=dataclasses.replace(options.frames, **given))
    except ValueError as error:
        return _cli.fail(str(error))
    models = _MODELS.value or model_files.default_model_folder()
    if addresses[0] is not None:
        return _label_live(addresses[0], _INPUT.value[0], options, models)
    if _RUNNER.value is not None:
        return _label_job(_INPUT.value, options, models)
    sources = annotate_many.sources_below(_INPUT.value, _OUTPUT_DIR.value)
    if len(sources) > 1:
        return _label_each(sources, options, models)
    console = rich.console.Console(stderr=True)
    with _cli.ProgressBar(console) as progress:
        summary = pipeline.annotate(
            sources[0],
            _OUTPUT_DIR.value,
            options=options,
            model_folder=models,
            command=tuple(sys.argv),
            progress=progress,
        )
    print_summary(summary, _OUTPUT_DIR.value)
    report_beside(_OUTPUT_DIR.value, pictures=sources[0])
    return _PARTLY if summary.num_unusable else 0


def _label_job(sources: Sequence[str], options: pipeline.AnnotateOptions, models: str | os.PathLike[str]) -> int:
    """Label all inputs into one store; exit status 2 if none could be, 3 if some could not, 75 if some are left."""
    console = rich.console.Console(stderr=True, highlight=False)
    stop = threading.Event()
    _cli.stop_in_order(stop)
    with JobLines(console) as lines:
        outcome = annotate_job.annotate_job(
            sources,
            _OUTPUT_DIR.value,
            options=options,
            model_folder=models,
            shard=job_items.JobShard.parse(_SHARD.value),
            runner=local.LocalOptions(workers=_WORKERS.value, label_workers=_LABEL_WORKERS.value)
            if _RUNNER.value == "local"
            else ray.RayOptions(
                address=_RAY_ADDRESS.value,
                workers=_WORKERS.value,
                label_workers=_LABEL_WORKERS.value or 1,
                gpus_of_label_worker=_GPUS.value,
            ),
            limit_inputs=_LIMIT_INPUTS.value,
            compiled=os.environ.get("JAX_COMPILATION_CACHE_DIR", str(_cli.cache_folder() / "compiled")),
            command=tuple(sys.argv),
            tell=lines,
            stop=stop,
        )
    print_job(outcome, _OUTPUT_DIR.value)
    if outcome.num_left:
        return _STOPPED
    if len(outcome.failures) == outcome.num_items:
        return _cli.fail("none of the inputs could be labelled")
    return _PARTLY if outcome.failures or outcome.num_unusable else 0


def _label_live(
    address: live_address.LiveAddress,
    given: str,
    options: pipeline.AnnotateOptions,
    models: str | os.PathLike[str],
) -> int:
    """Look at live input until it ends; exit status 3 if it broke off or some of it could not be used."""
    console = rich.console.Console(stderr=True, highlight=False, markup=False)
    settings = live.LiveOptions(fits=_LIVE_FITS.value, relabel=_RELABEL.value, stall_seconds=_STALL.value)
    # What is written names the input without what may be a password in it.
    command = tuple(argument.replace(given, address.public) for argument in sys.argv)
    with LiveLines(console) as lines, _cli.ProgressBar(console) as progress:
        summary = live.annotate_live(
            address,
            _OUTPUT_DIR.value,
            options=options,
            live=settings,
            model_folder=models,
            command=command,
            begun=lines.begun,
            tell=lines,
            ended=lines.ended,
            progress=progress,
        )
    if summary.labels is not None:
        folder = summary.recording.with_name(live.LABELS_NAME)
        print_summary(summary.labels, str(folder))
        report_beside(folder, pictures=summary.recording)
    print_live_summary(summary)
    is_partly = summary.warnings or (summary.labels is not None and summary.labels.num_unusable)
    return _PARTLY if is_partly else 0


def _label_each(
    sources: Sequence[pathlib.Path], options: pipeline.AnnotateOptions, models: str | os.PathLike[str]
) -> int:
    """Label several sources; exit status 2 if none could be, 3 if some could not or not wholly."""
    console = rich.console.Console(stderr=True, highlight=False)
    outcomes = []

    def begun(place: int, total: int, source: pathlib.Path) -> None:
        console.print(f"{place + 1} of {total}: {source}", soft_wrap=True)

    with _cli.ProgressBar(console) as progress:
        for outcome in annotate_many.annotate_many(
            sources, _OUTPUT_DIR.value, options=options, model_folder=models, command=tuple(sys.argv),
            progress=progress, begun=begun,
        ):  # fmt: skip
            outcomes.append(outcome)
            if outcome.summary is not None:
                print_summary(outcome.summary, str(outcome.output))
                report_beside(outcome.output, pictures=outcome.source)
            elif outcome.error is not None:
                _cli.fail(outcome.error)
            else:
                console.print(f"was labelled before, in {outcome.output}", soft_wrap=True)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    partly = [outcome for outcome in outcomes if outcome.num_unusable]
    if len(outcomes) > 1:  # what was said of each has scrolled away
        for outcome in failed:
            console.print(f"not labelled: {outcome.error}", soft_wrap=True)
        for outcome in partly:
            console.print(
                f"labelled in part: {outcome.source} ({outcome.num_unusable} pictures unusable)", soft_wrap=True
            )
    console.print(f"{len(outcomes) - len(failed)} of {len(outcomes)} inputs are labelled in {_OUTPUT_DIR.value}")
    if len(failed) == len(outcomes):
        return _cli.fail("none of the inputs could be labelled")
    return _PARTLY if failed or partly else 0


if __name__ == "__main__":
    _cli.run(main)
