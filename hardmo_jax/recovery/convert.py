"""Body parameters of one model as those of another: SMPL, SMPL-H, SMPL-X and the open body, whole clips at once.

Parameters are never copied from model to model. Shape and resting pose are fitted once to the rest mesh; then every
frame begins with the rotations of the joints of the same name, turned by what the resting poses differ, and is fitted
to the posed surface (or, where two meshes have nothing in common, to joints and landmarks of the same name). What the
shapes of the two models cannot agree on rides along on the body at rest, so that it does not bend the pose.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.recovery import body_correspondence
from hardmo_jax.recovery.body_pair import BodyPair, combine_nodes, fit_frames, fit_resting

#: Frames whose whole meshes are in memory at once.
_MESHES_AT_ONCE = 256
#: Betas of one person's frames may differ by rounding.
_SAME_BETAS = 1e-4
_SHAPES = ("clip", "frame", "average")


class ConvertError(ValueError):
    """Parameters, or a pair of bodies, that cannot be converted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """How a conversion is done."""

    shape: Literal["clip", "frame", "average"] = "clip"
    """`clip`: betas are the same along the last batch axis, which is time, and so are those of the result; others are
    refused. `frame`: a shape for each row, for different people or frames. `average`: the mean of each clip's betas,
    for estimates frame by frame of one person."""
    rotation_spread_degrees: float = 5.0
    """Standard deviation of a joint's rotation in the world about that carried over, where surfaces are compared."""
    landmark_rotation_spread_degrees: float = 2.0
    """The same where only joints and landmarks are, which every model has in a place of its own."""
    max_steps: int = 12
    """Steps of the fit of a frame at most."""
    most_error: float = 0.1
    """Mean distance from which a result counts as `FitStatus.DIVERGED`, metres."""

    def __post_init__(self) -> None:
        if self.shape not in _SHAPES:
            raise ValueError(f"shape must be one of {', '.join(_SHAPES)}, got {self.shape!r}")
        for name in ("rotation_spread_degrees", "landmark_rotation_spread_degrees", "max_steps", "most_error"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Converted:
    """Parameters of the target, with what remains between the two bodies."""

    params: BodyParams
    """In the world of the source's parameters, batch axes as theirs; never NaN."""
    mean_error: Float[np.ndarray, "*batch"]
    """Mean distance of the mapped points of both bodies, metres; infinite where an input was not finite."""
    body_error: Float[np.ndarray, "*batch"]
    """The same without the hands beyond the wrists: fingers of SMPL-H are more than SMPL's hands can hold."""
    status: Int[np.ndarray, "*batch"]
    """`FitStatus` of each frame: `CONVERGED`; `MAX_STEPS`; `DIVERGED` where the error is `most_error` or more;
    `NONFINITE` where an input or the result is not finite, and then the parameters are those of a resting body."""
    matched_by: Literal["mesh", "map", "landmarks"]
    """What was compared: all vertices of one mesh, those of a vertex map, or joints and landmarks of the same name."""


def convert_params(
    source: BodyModel,
    target: BodyModel,
    params: BodyParams,
    *,
    options: ConvertOptions | None = None,
    vertex_map: Any = None,
) -> Converted:
    """Parameters of `target` whose body is that of `source` with `params`.

    No row depends on another, but for the mean of `shape="average"`. Toes, wrists and fingers turn as in the source
    where both models have them. Between SMPL's one joint a hand and fingers, the body is fitted without them and the
    hand after it: the hand of SMPL gets what comes nearest to the fingers, and fingers get the turn of the hand. Jaw,
    eyes and expression are kept from SMPL-X to SMPL-X and are otherwise at rest. Of expression, coefficients beyond
    those of the target are left out.

    Args:
        source: Model of the parameters: SMPL, SMPL-H, SMPL-X or the open body.
        target: Model to be had, one of these too.
        params: Of any batch axes; the last one is time (see `ConvertOptions.shape`).
        options: How it is done.
        vertex_map: Matrix `(V_target, V_source)`, see `body_correspondence.load_vertex_map`; None compares whole meshes
            of one topology, such as SMPL and SMPL-H, and else joints and landmarks of the same name, which leaves
            millimetres to centimetres between the surfaces.

    Raises:
        ConvertError: If a body is a hand, or betas of a clip differ where one shape is asked for.
        VertexMapError: If the matrix does not fit the bodies.
        ValueError: If a parameter has a shape of another model.
    """
    options = options or ConvertOptions()
    for body in (source, target):
        if body.family.startswith("mano"):
            raise ConvertError(
                f"{body.name} is a hand without a body; convert between SMPL, SMPL-H, SMPL-X and the open body"
            )
    batch = jax.eval_shape(source.joints, params).shape[:-2]
    shared = body_correspondence.correspondence_of(source, target, vertex_map)
    if len(shared.nodes) == 0:
        raise ConvertError(f"{source.name} and {target.name} have no points in common; give a vertex_map")
    clips, is_finite = _clips(source, params, batch, options)
    if 0 in batch:
        return _nobody(target, batch, shared.kind)
    pair = BodyPair.of(
        source,
        target,
        shared,
        rotation_spread_degrees=(
            options.landmark_rotation_spread_degrees if shared.kind == "landmarks" else options.rotation_spread_degrees
        ),
        max_steps=options.max_steps,
    )
    betas, which = np.unique(np.asarray(clips.betas), axis=0, return_inverse=True)
    rest = fit_resting(pair, betas)
    which = which.reshape(-1)
    made, is_settled = fit_frames(pair, rest, clips, which)
    errors = _errors(pair, clips, made)
    is_made = is_finite & _all_finite(made)
    is_made &= np.isfinite(errors[0])
    status = np.where(is_settled, FitStatus.CONVERGED, FitStatus.MAX_STEPS)
    status = np.where(errors[0] >= options.most_error, FitStatus.DIVERGED, status)
    status = np.where(is_made, status, FitStatus.NONFINITE)
    transl = np.asarray(made.transl, np.float64) + _rows(params.transl, batch, 1)
    resting = _resting(pair, np.asarray(rest.betas)[which])
    made = dataclasses.replace(made, transl=np.where(is_made[:, None], transl, 0.0))
    made = jax.tree.map(lambda leaf, still: _either(is_made, leaf, still), made, resting)
    dtype = target.joint_template.dtype
    return Converted(
        params=jax.tree.map(lambda leaf: jnp.asarray(leaf.reshape(*batch, *leaf.shape[1:]), dtype), made),
        mean_error=np.where(is_made, errors[0], np.inf).reshape(batch),
        body_error=np.where(is_made, errors[1], np.inf).reshape(batch),
        status=status.astype(np.int32).reshape(batch),
        matched_by=shared.kind,
    )


def _nobody(target: BodyModel, batch: tuple[int, ...], matched_by: Literal["mesh", "map", "landmarks"]) -> Converted:
    """What there is of no frames."""
    return Converted(
        params=BodyParams.rest(target, batch=batch),
        mean_error=np.zeros(batch),
        body_error=np.zeros(batch),
        status=np.zeros(batch, np.int32),
        matched_by=matched_by,
    )


def _clips(
    source: BodyModel, params: BodyParams, batch: tuple[int, ...], options: ConvertOptions
) -> tuple[BodyParams, Bool[np.ndarray, "N"]]:
    """Rows of the source at the origin, of finite numbers and betas that are to be used, and which rows were finite."""
    rest = BodyParams.rest(source)
    rows = jax.tree.map(lambda leaf, one: _rows(leaf, batch, one.ndim), params, rest)
    is_finite = _all_finite(rows)
    rows = jax.tree.map(lambda leaf: _either(is_finite, leaf, np.zeros_like(leaf)), rows)
    betas = rows.betas
    if options.shape != "frame" and batch and len(betas):
        clips = betas.reshape(-1, batch[-1], betas.shape[-1]).copy()
        for clip, kept in zip(clips, is_finite.reshape(-1, batch[-1]), strict=True):
            if not kept.any():
                continue
            apart = float(np.max(np.abs(clip[kept] - clip[kept][0]), initial=0.0))
            if options.shape == "clip" and apart > _SAME_BETAS:
                raise ConvertError(
                    f"betas of a clip must be the same in all of its frames, found a difference of {apart:.3g}; "
                    'ConvertOptions(shape="frame") gives every row a shape of its own (different people), '
                    'shape="average" takes the mean (estimates of one person)'
                )
            clip[:] = clip[kept][0] if options.shape == "clip" else clip[kept].mean(axis=0)
        betas = clips.reshape(betas.shape)
    dtype = np.dtype(source.joint_template.dtype)
    rows = dataclasses.replace(rows, transl=np.zeros_like(rows.transl), betas=betas)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), rows), is_finite


def _errors(pair: BodyPair, clips: BodyParams, made: BodyParams) -> Float[np.ndarray, "2 N"]:
    """Mean distance of all mapped points, and of those that are not of hands."""
    shared, count = pair.shared, len(made.transl)
    is_body = ~shared.is_hand if not shared.is_hand.all() else shared.is_hand
    means = [np.zeros((2, 0))]
    for first in range(0, count, _MESHES_AT_ONCE):
        theirs, ours = (
            in_pieces(body, jax.tree.map(lambda leaf, at=first: leaf[at : at + _MESHES_AT_ONCE], rows))
            for body, rows in ((pair.source, clips), (pair.target, made))
        )
        nodes = np.concatenate([ours.vertices, ours.joints], axis=1)[:, shared.nodes]
        distance = np.linalg.norm(combine_nodes(shared.weights, theirs) - nodes, axis=-1)
        means.append(np.stack([distance.mean(axis=1), distance[:, is_body].mean(axis=1)]))
    return np.concatenate(means, axis=1)


def _resting(pair: BodyPair, betas: Float[np.ndarray, "N S"]) -> BodyParams:
    """Bodies of some shapes at rest at the origin."""
    still = jax.tree.map(np.asarray, BodyParams.rest(pair.target, batch=(len(betas),)))
    return dataclasses.replace(still, betas=np.nan_to_num(betas))


def _rows(leaf: Any, batch: tuple[int, ...], rank: int) -> np.ndarray:
    """One row an item of the batch."""
    leaf = np.asarray(leaf)
    own = leaf.shape[leaf.ndim - rank :]
    return np.broadcast_to(leaf, (*batch, *own)).reshape(int(np.prod(batch, dtype=np.int64)), *own)


def _either(is_first: Bool[np.ndarray, "N"], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(is_first.reshape(-1, *[1] * (first.ndim - 1)), first, second)


def _all_finite(rows: BodyParams) -> Bool[np.ndarray, "N"]:
    """Which rows are finite in all of their numbers."""
    leaves = jax.tree.leaves(rows)
    return np.all([np.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))) for leaf in leaves], axis=0)
