"""The job of `tools.train` for regressors: sources, a network, a run, and what is looked at on the way."""

import dataclasses
import hashlib
import json
import pathlib
import platform
import shutil
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data import training_batches
from hardmo_jax.data.published.mocap_poses import MocapPoses
from hardmo_jax.data.training_batches import BrokenCount, SampleOptions
from hardmo_jax.data.training_records import TrainingDataError
from hardmo_jax.labels import provenance
from hardmo_jax.metrics import protocols
from hardmo_jax.missing_packages import MissingPackageError
from hardmo_jax.networks import regressor_file, regressors
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.regressor_file import RegressorRecord
from hardmo_jax.networks.regressors import ARCHITECTURES, Regressor
from hardmo_jax.pipelines.label_records import LabelRecordOptions
from hardmo_jax.pipelines.network_sizes import SMALL
from hardmo_jax.pipelines.output_folders import check_output_folder
from hardmo_jax.pipelines.record_points import (
    RecordPoints,
    look_at_crops,
    points_of_records,
    regress_records,
    samples_of,
)
from hardmo_jax.pipelines.score_records import score_records
from hardmo_jax.pipelines.set_scores import ScoreError, part_scalars
from hardmo_jax.pipelines.training_pixels import PixelReader, take_out_frames
from hardmo_jax.pipelines.training_sources import SomeOf, TrainingSourceOptions, labels_trained_on, open_sources
from hardmo_jax.skeleton import layouts
from hardmo_jax.training import regressor_objective, regressor_run
from hardmo_jax.training.loop import check_same_run
from hardmo_jax.training.regressor_objective import ComparedBody, ObjectiveOptions
from hardmo_jax.training.regressor_run import Report, RunOptions
from hardmo_jax.training.regressor_step import RealBodies, StepOptions
from hardmo_jax.viz import training_pictures
from hardmo_jax.whole_files import replacing

Progress = Callable[[str, int, int | None], None]

_SCALARS, _IDENTITY, _RESULT = "scalars.jsonl", "run_identity.json", "network"
#: Crops of a picture of what the network says.
_SHOWN = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedNetworkOptions:
    """Which network, and where it begins."""

    network: Literal["hmr", "hmr2", "cliff", "bedlam_cliff", "hardmo_hmr", "prohmr"] = "hmr2"
    checkpoint: str | None = None
    """Folder that `tools.convert_checkpoint`, or an earlier run, made; None begins with random weights."""
    size: Literal["full", "small"] = "full"
    """`small` is for a look on a laptop: a twentieth of the numbers and less."""
    numbers: Literal["float32", "bfloat16"] = "float32"
    """What the backbone computes in; weights, sums and the optimiser stay in float32."""

    def __post_init__(self) -> None:
        if self.network not in ARCHITECTURES:
            raise ValueError(f"unknown `network` {self.network!r}; known: {', '.join(ARCHITECTURES)}")
        if self.size not in ("full", "small") or self.numbers not in ("float32", "bfloat16"):
            raise ValueError(f"`size` must be full or small and `numbers` float32 or bfloat16, got {self}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRegressorOptions:
    """Options of the job; one section of the config each."""

    network: TrainedNetworkOptions = TrainedNetworkOptions()
    body_model: str = "open_body"
    """Whose points are compared: `open_body`, or the path of a SMPL file (SMPL-X for networks that answer with it)."""
    sources: tuple[TrainingSourceOptions, ...] = ()
    """What is trained on."""
    mocap: str | None = None
    """Poses and shapes of motion capture for the discriminator, an `.npz` as 4DHumans has it; None trains without
    one."""
    labels: LabelRecordOptions = LabelRecordOptions()
    """Which labels of this package are."""
    validation_share: float = 0.05
    """Share of their pictures and videos that is held out."""
    validation_people: int = 512
    """Most people that are looked at in a validation."""
    sample: SampleOptions = SampleOptions()
    """How people are cut out; the crop's shape is the network's."""
    objective: ObjectiveOptions = ObjectiveOptions()
    step: StepOptions = StepOptions()
    run: RunOptions = RunOptions()
    loader_threads: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"`validation_share` must be in [0, 1), got {self.validation_share}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedRegressor:
    """What a run made."""

    path: pathlib.Path
    """Folder of the network, for `annotate --config.initialise.checkpoint`."""
    num_people: int
    num_validation: int
    num_broken: int
    num_samples: int
    """That were asked for, broken ones among them."""
    scalars: dict[str, float]
    """The last ones."""
    notes: tuple[str, ...]


def train_regressor(
    options: TrainRegressorOptions,
    folder: pathlib.Path,
    *,
    progress: Progress | None = None,
    on_report: Callable[[int, dict[str, float]], None] | None = None,
    on_note: Callable[[str], None] = lambda note: None,
) -> TrainedRegressor:
    """Train a regressor, or go on with the run of a folder.

    Args:
        options: What, on what and how.
        folder: Of the run: `checkpoints`, `scalars.jsonl`, `tensorboard`, `curves.png`, `pictures`, and `network` at
            the end.
        progress: Told the stage, what is done, and of how much.
        on_report: Told scalars as they come.
        on_note: Told who is trained on before anything is compiled, and what is unusual.

    Raises:
        FileNotFoundError: If a source, a body or a checkpoint is missing.
        TrainingDataError: If there is nothing to train on, or too much of it is broken.
        hardmo_jax.training.loop.TrainingError: If the folder holds another run, or a loss is no number.
        MissingPackageError: If the extra `train` is not installed.
    """
    report: Progress = progress or (lambda stage, done, total: None)
    regressor, source_name = _begin(options.network, options.run.seed)
    body = _body(options.body_model)
    compared = regressor_objective.compared_body(body)
    opened = open_sources(
        options.sources,
        body,
        labels=options.labels,
        validation_share=options.validation_share,
    )
    for source in opened.training:
        on_note(f"{source.name}: {len(source)} people")
    for source in opened.validation:
        on_note(f"{source.name}: {len(source)} people")
    for note in opened.notes:
        on_note(note)
    folder.mkdir(parents=True, exist_ok=True)
    for source in options.sources:
        check_output_folder(
            folder, pathlib.Path(source.images or source.path), _OWN, job="train",
            source_lies=f"the input {source.images or source.path} lies",
        )  # fmt: skip
    _remember(folder, _identity(options))
    take_out_frames(opened.references, folder / "frames", progress=report)
    reader = PixelReader(frames=folder / "frames")
    sample_options = samples_of(regressor, options.sample)
    broken = BrokenCount(options.sample.most_broken)
    loader = training_batches.batches(
        opened.training, opened.weights, reader, sample_options,
        batch_size=options.run.batch_size // jax.process_count(), seed=options.run.seed, broken=broken,
        threads=options.loader_threads, shard=(jax.process_index(), jax.process_count()),
    )  # fmt: skip
    objective = _for_body(options.objective, compared)
    real = None if options.mocap is None else _real_bodies(options)
    done = regressor_run.steps_done(folder)
    if done >= options.run.steps:
        on_note(f"all {options.run.steps} steps were done before: the network is that of step {done} in {folder}")
    else:
        on_note(f"going on after step {done}" if done else "the first step is compiled, which takes a minute")
    held = [SomeOf(source, max(options.validation_people // len(opened.validation), 1)) for source in opened.validation]
    book = Book(folder, f"{options.network.network}, {sum(map(len, opened.training))} people")
    last: dict[str, float] = {}
    # Of several machines one keeps the book; what it looks at needs no other.
    is_first = jax.process_index() == 0

    def reported(given: Report) -> None:
        scalars = {
            **given.means,
            "crops_per_second": given.crops_per_second,
            "input_wait_share": given.input_wait_share,
            "broken_samples": float(broken.broken),
            "resident_gigabytes": resident_bytes() / 1e9,
        }
        if given.peak_memory_bytes is not None:
            scalars["device_peak_gigabytes"] = given.peak_memory_bytes / 1e9
        last.update(scalars)
        if is_first:
            book.write(given.step, scalars)
        if on_report is not None:
            on_report(given.step, scalars)

    def validated(step: int, network: Regressor, sample: dict[str, np.ndarray]) -> None:
        if not is_first:
            return
        found, _, _ = look_at_crops(network, compared, regressor_objective.batch_of(sample))
        _draw(folder / "pictures" / f"training_{step:07d}.png", sample, np.asarray(found))
        scalars = _validate(
            network, compared, held, reader, options.run.batch_size,
            folder / "pictures" / f"held_out_{step:07d}.png", report,
        )  # fmt: skip
        last.update(scalars)
        book.write(step, scalars)
        book.draw()
        if on_report is not None and scalars:
            on_report(step, scalars)

    try:
        trained = regressor_run.run_training(
            regressor, compared, loader, folder, options=options.run, step_options=options.step, objective=objective,
            real=real,
            on_report=reported, on_validate=validated, progress=report,
        )  # fmt: skip
    finally:
        book.close()
    path = folder / _RESULT
    if is_first:
        book.draw()
        _write(path, trained, options, source_name)
    return TrainedRegressor(
        path=path,
        num_people=sum(map(len, opened.training)),
        num_validation=sum(map(len, held)),
        num_broken=broken.broken,
        num_samples=broken.seen,
        scalars=last,
        notes=tuple(broken.reasons),
    )


_OWN = (
    "checkpoints", _SCALARS, _IDENTITY, _RESULT, "tensorboard", "curves.png", "pictures", "frames",
    regressor_run.BAD_BATCH,
)  # fmt: skip


class Book:
    """Scalars of a run: a line a report, TensorBoard beside it, and curves."""

    def __init__(self, folder: pathlib.Path, title: str) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingPackageError("scalars need tensorboardX: pip install 'hardmo_jax[train]'") from error
        self._path, self._folder, self._title = folder / _SCALARS, folder, title
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add scalars of a step; lines of later steps, of a run that was stopped after its checkpoint, go."""
        lines = [line for line in self._lines() if line["step"] < step or not (set(line) - {"step"}) & set(scalars)]
        lines = [line for line in lines if line["step"] <= step]
        lines.append({"step": step, **{name: _plain(value) for name, value in scalars.items()}})
        with replacing(self._path) as scratch:
            scratch.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def draw(self) -> None:
        """Draw all curves."""
        curves: dict[str, tuple[list[float], list[float]]] = {}
        for line in self._lines():
            for name, value in line.items():
                if name != "step" and value is not None:
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(line["step"])
                    values.append(value)
        if curves:
            training_pictures.draw_training_curves(self._folder / "curves.png", curves, title=self._title)

    def close(self) -> None:
        """End TensorBoard's file."""
        self._writer.close()

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines() if line]


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def resident_bytes() -> int:
    """Memory of this process; its largest so far where the system does not tell the present."""
    status = pathlib.Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * 4096
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else 1024 * most


def _begin(options: TrainedNetworkOptions, seed: int) -> tuple[Regressor, str]:
    """The network before the first step, and where it is from."""
    policy = ComputePolicy(numbers="bfloat16" if options.numbers == "bfloat16" else "as weights")
    if options.checkpoint is not None:
        regressor, record = regressor_file.load_converted(options.checkpoint, options.network, policy=policy)
        return regressor, record.source_name
    sizes = SMALL[options.network] if options.size == "small" else ARCHITECTURES[options.network].options()
    regressor = regressors.untrained(options.network, sizes, seed=seed, policy=policy)
    return regressor_objective.with_usual_start(regressor), "random weights"


def _body(model: str) -> BodyModel:
    if model == "open_body":
        return load.open_body(view="smpl")
    return load.load_body(model)


def _real_bodies(options: TrainRegressorOptions) -> Callable[[int], RealBodies]:
    """Bodies of motion capture by number of the step, as many as published.

    Raises:
        TrainingDataError: If the network's loss has no discriminator, or the file is damaged.
    """
    kind = regressor_objective.LOSSES[options.network.network]
    if kind == "spin":
        raise TrainingDataError(
            f"`mocap` is for the discriminator of HMR 2.0 and ProHMR; the loss of {options.network.network} has none"
        )
    mocap = MocapPoses(str(options.mocap))
    # As many as bodies of ProHMR that are judged; twice those of HMR 2.0.
    count = (options.objective.num_samples if kind == "prohmr" else 2) * options.run.batch_size

    def drawn(step: int) -> RealBodies:
        rows = np.random.default_rng((options.run.seed, step)).integers(0, len(mocap), count)
        pose, betas = mocap.rows(rows)
        matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(len(rows), 23, 3, 3)
        return RealBodies(body_pose=matrices.astype(np.float32), betas=betas.astype(np.float32))

    return drawn


def _for_body(objective: ObjectiveOptions, compared: ComparedBody) -> ObjectiveOptions:
    """SPIN's loss leaves OpenPose's points out beside annotated ones; a body that has none of those has no others."""
    if compared.root == layouts.get_layout("hmr2_44").index("mid_hip") and not objective.spin.openpose:
        return dataclasses.replace(objective, spin=dataclasses.replace(objective.spin, openpose=1.0))
    return objective


def _remember(folder: pathlib.Path, identity: str) -> None:
    """Write down whose checkpoints those of a folder will be; where there are some, they must be of the same run."""
    has_checkpoints = regressor_run.steps_done(folder) > 0
    if not has_checkpoints and jax.process_index() == 0:
        (folder / _IDENTITY).unlink(missing_ok=True)
    if has_checkpoints or jax.process_index() == 0:
        check_same_run(folder / _IDENTITY, identity)


def _identity(options: TrainRegressorOptions) -> str:
    """What checkpoints depend on: everything but how long, how often, by how many threads, and what is changed when a
    run has stopped at a bad batch."""
    told = dataclasses.asdict(options)
    del told["loader_threads"]
    del told["step"]["learning_rate"], told["step"]["clip_norm"], told["sample"]["most_broken"]
    told["labels_sha256"] = [
        provenance.file_sha256(labels_trained_on(source.path)) for source in options.sources if source.kind == "labels"
    ]
    told["run"] = {name: told["run"][name] for name in ("batch_size", "seed")}
    if options.step.schedule == "cosine":
        told["run"]["steps"] = options.run.steps
    return json.dumps(told, sort_keys=True, default=str)


def _draw(path: pathlib.Path, sample: dict[str, np.ndarray], found: np.ndarray) -> None:
    some = {name: value[:_SHOWN] for name, value in sample.items()}
    training_pictures.draw_crops(
        path, some["image"], some["keypoints_2d"], some["confidence_2d"] > 0, found[:_SHOWN, :44]
    )


def _validate(
    regressor: Regressor,
    body: ComparedBody,
    sources: list[SomeOf],
    reader: PixelReader,
    batch_size: int,
    picture: pathlib.Path,
    report: Progress,
) -> dict[str, float]:
    """Scores of people who are not trained on, by the averaged weights: against their labels, not against the truth.

    By HardMo's protocol; of several sources the mean by people.
    """
    total, before = sum(map(len, sources)), 0
    sums: dict[str, tuple[float, int]] = {}
    for source in sources:

        def looked(sample: dict[str, np.ndarray], found: np.ndarray, done: int, before: int = before) -> None:
            if not before and done <= batch_size:
                _draw(picture, sample, found)
            report("validate", before + done, total)

        try:
            predicted = regress_records(
                regressor, body, source, reader, batch_size=batch_size, broken=BrokenCount(1.0), name="network",
                on_batch=looked,
            )  # fmt: skip
        except TrainingDataError:
            # Pictures of those who are held out may all be damaged: nothing is said of them, and training goes on.
            continue
        before += len(source)
        for name, value in _told(points_of_records(source), predicted).items():
            if np.isfinite(value):
                had, count = sums.get(name, (0.0, 0))
                sums[name] = had + len(source) * value, count + len(source)
    return {name: had / count for name, (had, count) in sums.items()}


def _told(truth: RecordPoints, predicted: RecordPoints) -> dict[str, float]:
    """Scalars of the poster's tables."""
    protocol = protocols.get_protocol("hardmo")
    try:
        scored = score_records(truth, predicted, protocol, method="network")
    except ScoreError:
        return {}
    return {f"held_out_{name}": value for name, value in part_scalars(scored).items()}


def _write(path: pathlib.Path, regressor: Regressor, options: TrainRegressorOptions, source_name: str) -> None:
    """The network as `annotate` loads it; an earlier one of the same run is replaced."""
    weights = regressors.named_weights(regressor.weights)
    text = _identity(options)
    record = RegressorRecord(
        model=regressor.name,
        options=dataclasses.asdict(regressor.options),
        image_size=regressor.image_size,
        num_parameters=sum(int(array.size) for array in weights.values()),
        source_name=f"trained from {source_name}",
        source_sha256=hashlib.sha256(text.encode()).hexdigest(),
        source_bytes=0,
        left_out={},
        settings={"steps": options.run.steps, "commit": provenance.git_commit(pathlib.Path(__file__).parent) or ""},
    )
    scratch = path.with_name(f".writing-{path.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    regressor_file.save_converted(scratch, record, weights, None)
    shutil.rmtree(path, ignore_errors=True)
    scratch.replace(path)
