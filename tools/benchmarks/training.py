"""The train suite: throughput of a step and waiting for input, memory over thousands of steps, and ViT-H's memory.

People are those of synthetic scenes with rendered keypoints on photos of noise, cut out, augmented and decoded as any:
what is measured is the machine and not the learning.
"""

import pathlib
import tempfile
import time
from typing import Any

import numpy as np

#: Crops a step, and steps that are timed.
_BATCH, _TIMED_STEPS = 32, 8
#: Steps over which memory is watched, and how often.
_LONG_STEPS, _WATCHED_EVERY = 5000, 500
#: Crops a step of 4DHumans' training on one GPU.
_VIT_BATCH = 48
_PHOTOS, _PHOTO_SIZE = 64, (720, 1280)


def plan() -> list[dict[str, Any]]:
    """Cells of the suite."""
    return [
        {"measure": "step", "model": "hmr", "all_cores": True},
        {"measure": "memory", "model": "hmr", "all_cores": True},
        {"measure": "compiled_memory", "model": "hmr2", "all_cores": True},
    ]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Measure one cell."""
    del models
    if cell["measure"] == "compiled_memory":
        return _compiled_memory()
    with tempfile.TemporaryDirectory() as folder:
        return _trained(pathlib.Path(folder), is_long=cell["measure"] == "memory")


def _trained(folder: pathlib.Path, *, is_long: bool) -> list[dict[str, object]]:
    """A run of ResNet-50, or a long one of a tiny network."""
    import hardmo_jax as hm
    from hardmo_jax.data import training_batches
    from hardmo_jax.networks import regressors
    from hardmo_jax.networks.hmr import HmrOptions
    from hardmo_jax.pipelines.train_regressor import resident_bytes
    from hardmo_jax.pipelines.training_pixels import PixelReader
    from hardmo_jax.training import regressor_objective, regressor_run
    from hardmo_jax.training.regressor_step import StepOptions

    regressor = regressors.untrained("hmr", _tiny() if is_long else HmrOptions())
    regressor = regressor_objective.with_usual_start(regressor)
    batch, steps = (4, _LONG_STEPS) if is_long else (_BATCH, _TIMED_STEPS + 1)
    loader = training_batches.batches(
        [_People(folder)], {}, PixelReader(frames=folder), training_batches.SampleOptions(crop_shape=(224, 224)),
        batch_size=batch, seed=0, broken=training_batches.BrokenCount(0.0),
    )  # fmt: skip
    told: list[Any] = []
    memory: list[int] = []

    def report(given: Any) -> None:
        told.append(given)
        memory.append(resident_bytes())

    began = time.perf_counter()
    regressor_run.run_training(
        regressor, regressor_objective.compared_body(hm.open_body(view="smpl")), loader, folder / "run",
        options=regressor_run.RunOptions(
            steps=steps, batch_size=batch, report_every=_WATCHED_EVERY if is_long else 1,
            checkpoint_every=_LONG_STEPS, validate_every=0,
        ),
        step_options=StepOptions(learning_rate=1e-5), objective=regressor_objective.ObjectiveOptions(),
        on_report=report,
    )  # fmt: skip
    if is_long:
        return [
            {
                "measure": "memory", "model": "hmr (tiny)", "crops": batch, "steps": steps,
                "resident_gb_after_500_steps": memory[0] / 1e9, "resident_gb_at_the_end": memory[-1] / 1e9,
                "growth": memory[-1] / memory[0] - 1, "seconds": time.perf_counter() - began,
            }
        ]  # fmt: skip
    # The first step compiles; a report a step is one in which the device is looked at.
    timed = told[1:]
    return [
        {
            "measure": "step", "model": "hmr", "crops": batch,
            "crops_a_second": float(np.median([one.crops_per_second for one in timed])),
            "input_wait_share": float(np.median([one.input_wait_share for one in timed])),
            "resident_gb": memory[-1] / 1e9,
        }
    ]  # fmt: skip


class _People:
    """People of made photos, written once."""

    def __init__(self, folder: pathlib.Path) -> None:
        from hardmo_jax.perception.photos import encode_jpeg

        self.name, self._folder = "made", folder
        rng = np.random.default_rng(0)
        for number in range(_PHOTOS):
            coarse = rng.integers(0, 255, (18, 32, 3), dtype=np.uint8)
            picture = coarse.repeat(_PHOTO_SIZE[0] // 18, 0).repeat(_PHOTO_SIZE[1] // 32, 1)
            (folder / f"{number}.jpg").write_bytes(encode_jpeg(np.ascontiguousarray(picture)))

    def __len__(self) -> int:
        return _PHOTOS

    def record(self, index: int) -> Any:
        """One person."""
        from hardmo_jax.data.hmr2_augmentation import TrainingPerson
        from hardmo_jax.data.training_records import PixelReference, TrainingRecord

        rng = np.random.default_rng(index)
        center = np.array([640.0, 360.0])
        person = TrainingPerson(
            keypoints_2d=center + rng.uniform(-200, 200, (44, 2)), confidence=np.ones(44),
            keypoints_3d=rng.normal(size=(44, 3)), confidence_3d=np.ones(44), global_orient=np.array([np.pi, 0, 0]),
            body_pose=0.2 * rng.normal(size=(23, 3)),
        )  # fmt: skip
        return TrainingRecord(
            name=str(index), pixels=PixelReference(path=str(self._folder / f"{index}.jpg")), center=center, size=480.0,
            person=person, betas=rng.normal(size=10), has_pose=True, has_betas=True,
        )  # fmt: skip


def _compiled_memory() -> list[dict[str, object]]:
    """What the compiler says that a step of HMR 2.0 with ViT-H needs; nothing is run."""
    import jax
    import jax.numpy as jnp

    import hardmo_jax as hm
    from hardmo_jax.networks import regressors
    from hardmo_jax.networks.compute_policy import ComputePolicy
    from hardmo_jax.networks.hmr2 import Hmr2Options
    from hardmo_jax.training import regressor_objective, regressor_step
    from hardmo_jax.training.regressor_step import RealBodies, Step, StepOptions

    policy = ComputePolicy(numbers="bfloat16")
    body = regressor_objective.compared_body(hm.open_body(view="smpl"))
    options = StepOptions()

    def begin() -> Any:
        regressor = regressors.untrained("hmr2", Hmr2Options(), policy=policy)
        return regressor_step.start_state(regressor, options, steps=10, seed=0, has_judge=True)

    state = jax.eval_shape(begin)
    blank = regressors.Regressor(weights=None, name="hmr2", options=Hmr2Options(), policy=policy)
    step = jax.jit(
        Step(blank=blank, options=options, objective=regressor_objective.ObjectiveOptions(), steps=10), donate_argnums=0
    )
    real = RealBodies(
        body_pose=jax.ShapeDtypeStruct((2 * _VIT_BATCH, 23, 3, 3), jnp.float32),  # pyright: ignore[reportArgumentType]
        betas=jax.ShapeDtypeStruct((2 * _VIT_BATCH, 10), jnp.float32),  # pyright: ignore[reportArgumentType]
    )
    began = time.perf_counter()
    lowered = step.lower(state, body, _shapes(_VIT_BATCH), real)
    traced = time.perf_counter()
    memory: Any = lowered.compile().memory_analysis()
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return [
        {
            "measure": "compiled_memory", "model": "hmr2", "crops": _VIT_BATCH, "numbers": "bfloat16",
            "is_an_estimate": "of the compiler for a CPU; nothing was run", "state_gb": state_bytes / 1e9,
            "working_gb": memory.temp_size_in_bytes / 1e9,
            "total_gb": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 1e9,
            "lowering_seconds": traced - began, "compiling_seconds": time.perf_counter() - traced,
        }
    ]  # fmt: skip


def _tiny() -> Any:
    from hardmo_jax.networks.backbones.resnet import ResnetOptions
    from hardmo_jax.networks.heads.iterative import IterativeOptions
    from hardmo_jax.networks.hmr import HmrOptions

    return HmrOptions(backbone=ResnetOptions(blocks=(1, 1), width=4), head=IterativeOptions(features=32, hidden=16))


def _shapes(count: int) -> Any:
    """A batch without its numbers."""
    import jax

    from hardmo_jax.data import training_batches
    from hardmo_jax.training import regressor_objective

    with tempfile.TemporaryDirectory() as folder:
        people = _People(pathlib.Path(folder))
        sample = training_batches.make_sample(
            people.record(0), np.zeros((*_PHOTO_SIZE, 3), np.uint8), np.random.default_rng(0),
            training_batches.SampleOptions(),
        )  # fmt: skip
    batch = regressor_objective.batch_of({name: value[None] for name, value in sample.items()})
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), batch)
