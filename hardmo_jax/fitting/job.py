"""What all people of a call of a fit have in common, and what is given of each before it begins."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.fitting import evidence, objective, pose_mixture, variables
from hardmo_jax.fitting.evidence import GuessRows
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.stages import FitOptions, PosePriorName, Stage
from hardmo_jax.observations import ObservationError
from hardmo_jax.skeleton import layouts


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitJob:
    """What all people of a call have in common."""

    model: landmarks.PointModel
    """Every keypoint of the layout."""
    solved: landmarks.PointModel
    """Those that can have any weight: the only ones that solvers compute."""
    is_solved: Bool[np.ndarray, "K"]
    is_supported: Bool[np.ndarray, "K"]
    layout: layouts.KeypointLayout
    solved_layout: layouts.KeypointLayout
    options: FitOptions
    prior: objective.Prior
    schedules: dict[str, objective.StageWeights]
    dtype: np.dtype

    def on(self, device: Any) -> "FitJob":
        """The same with its arrays on a device."""
        names = ("model", "solved", "prior", "schedules")
        return dataclasses.replace(self, **{name: jax.device_put(getattr(self, name), device) for name in names})


def make_job(body: BodyModel, layout: layouts.KeypointLayout, options: FitOptions, guess: Guess | None) -> FitJob:
    """Body, keypoints, priors and schedules of a call.

    Raises:
        ObservationError: If the body lacks points to compare with, or the matrix of a guess is unsound.
    """
    body = body.without_expression()
    model, is_supported = landmarks.point_model(body, layout)
    if is_supported.sum() < options.min_keypoints:
        raise ObservationError(
            f"{body.name} has only {int(is_supported.sum())} of the points of layout {layout.name!r}; "
            "its topology has no named landmarks, or the layout is another body part's"
        )
    is_solved = is_supported & (evidence.point_weights(layout, options.part_weights) > 0)
    solved_layout = layout.only(tuple(np.flatnonzero(is_solved).tolist()))
    solved, _ = landmarks.point_model(body, solved_layout)
    dtype = body.joint_template.dtype
    variable_layout = variables.Layout.of(body)
    # Levenberg-Marquardt explores and refines by one program: both schedules have the same number of rows.
    is_one_program = options.solver == "levenberg_marquardt"
    stages = {"explore": options.explore, "refine": options.refine}
    num_rows = max(count_rows(given) for given in stages.values()) if is_one_program else None
    return FitJob(
        model=_anonymous(model),
        solved=_anonymous(solved),
        is_solved=is_solved,
        is_supported=is_supported,
        layout=layout,
        solved_layout=solved_layout,
        options=options,
        prior=_with_guess(
            _prior(variable_layout, body.joint_names, options.joint_limit_spread, np.dtype(dtype), options.prior), guess
        ),
        schedules={
            name: objective.stage_schedule(given, variable_layout, np.dtype(dtype), num_rows=num_rows)
            for name, given in stages.items()
        },
        dtype=np.dtype(dtype),
    )


@functools.lru_cache(maxsize=16)
def _prior(
    layout: variables.Layout, joint_names: tuple[str, ...], limit_spread: float, dtype: np.dtype, name: PosePriorName
) -> objective.Prior:
    """The prior that the options name, without a guess; its inverse covariances are made once."""
    mixtures = {} if name == "written" else pose_mixture.packaged_mixtures()
    if name == "gaussian":
        mixtures = {part: mixture.as_one() for part, mixture in mixtures.items()}
    return objective.make_prior(layout, joint_names, limit_spread, dtype, mixtures=mixtures)


def _with_guess(prior: objective.Prior, guess: Guess | None) -> objective.Prior:
    if guess is None:
        return prior
    precision = _precision(guess, 6 + np.shape(prior.mean)[0])
    dtype = np.asarray(prior.mean).dtype
    return dataclasses.replace(
        prior,
        guess_precision=precision.astype(dtype),
        guess_factor=np.linalg.cholesky(precision).T.astype(dtype),
    )


def _precision(guess: Guess, size: int) -> Float[np.ndarray, "P P"]:
    """The guess's matrix, checked.

    Raises:
        ObservationError: If it is not symmetric and positive definite, or of another size.
    """
    precision = np.asarray(guess.precision, np.float64)
    if precision.shape != (size, size) or not np.isfinite(precision).all():
        raise ObservationError(f"`precision` of a guess must be finite and of {(size, size)}, got {precision.shape}")
    precision = 0.5 * (precision + precision.T)
    if np.linalg.eigvalsh(precision)[0] <= 0:
        raise ObservationError("`precision` of a guess must be positive definite: it is an inverse covariance")
    return precision


def guess_rows(guess: Guess, mean: Float[np.ndarray, "B P"], batch: tuple[int, ...], dtype: np.dtype) -> GuessRows:
    """A guess in terms of the vector, one row a person.

    Raises:
        ObservationError: If spreads are of another shape, or not positive.
    """
    axes = np.eye(3) if guess.axes is None else np.asarray(guess.axes)
    try:
        spread = np.broadcast_to(guess.spread, (*batch, mean.shape[-1])).reshape(mean.shape)
        axes = np.broadcast_to(axes, (*batch, 3, 3)).reshape(-1, 3, 3)
    except ValueError:
        raise ObservationError(
            f"`spread` {np.shape(guess.spread)} and `axes` {axes.shape} of a guess do not broadcast to the batch axes "
            f"{batch} with {mean.shape[-1]} entries and 3 x 3"
        ) from None
    is_sound = (spread > 0).all(-1) & np.isfinite(axes).all((-1, -2))
    if not is_sound.all():
        raise ObservationError(
            f"`spread` of a guess must be positive (infinite where it says nothing), `axes` finite: they are not for "
            f"person {np.argmin(is_sound)}, and {np.sum(~is_sound)} of {mean.shape[0]} in all"
        )
    return GuessRows(mean=mean, inverse_spread=(1 / spread).astype(dtype), axes=axes.astype(dtype))


def count_rows(stages: tuple[Stage, ...]) -> int:
    """Rows of the schedule of stages."""
    return sum(stage.iterations + 1 for stage in stages)


def _anonymous(model: landmarks.PointModel) -> landmarks.PointModel:
    """Without names, which take no part in the computation: bodies of one shape then share one compiled program."""
    body = dataclasses.replace(model.body, name="", checksum="", gender="unknown", left_hand=None, right_hand=None)
    return dataclasses.replace(model, body=body)


def start_of(
    body: BodyModel, initial: BodyParams, batch: tuple[int, ...], prior: objective.Prior
) -> tuple[tuple[Float[np.ndarray, "B P"], Float[np.ndarray, "B 3 3"]], Bool[np.ndarray, "B"]]:
    """Vectors and orientations of given parameters, one row a person, and who has numbers there.

    Whoever has none starts from the prior's mean.
    """
    jax.eval_shape(body.joints, initial)  # parameters of another model are refused by name
    try:
        np.broadcast_shapes(initial.batch_shape, batch)
        rows = jax.tree.map(
            lambda leaf: np.broadcast_to(leaf, (*batch, *leaf.shape[len(initial.batch_shape) :])), initial
        )
    except ValueError:
        raise ObservationError(
            f"`initial` has the batch axes {initial.batch_shape}, the observations have {batch}"
        ) from None
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(batch) :]), rows)
    dtype = body.joint_template.dtype
    rows = jax.tree.map(lambda leaf: leaf.astype(dtype), rows)
    vector, orient = in_pieces(_reader(variables.Layout.of(body)), rows)
    is_number = np.asarray(np.isfinite(vector).all(-1) & np.isfinite(orient).all((-1, -2)))
    vector = np.where(is_number[:, None], vector, prior.mean_vector())
    return (vector, np.where(is_number[:, None, None], orient, np.eye(3, dtype=dtype))), is_number


@functools.lru_cache(maxsize=16)
def _reader(layout: variables.Layout) -> jax.tree_util.Partial:
    """`from_params` of a layout; one object for equal layouts, so that it is compiled once."""
    return jax.tree_util.Partial(layout.from_params)
