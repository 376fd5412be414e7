"""Many people at once, a few hundred at a time: posed meshes of thousands do not fit into memory."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body import placement
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.geometry import cameras
from hardmo_jax.geometry.cameras import Camera

_PEOPLE_AT_ONCE = 256


def in_pieces(model: Callable[[Any], Any], people: Any) -> Any:
    """What a model gives for a batch of people, as NumPy arrays.

    The last piece is padded, so that one program is compiled whatever the number of people.

    Args:
        model: A pytree that is called with people: a body, a model of its keypoints, a function as
            `jax.tree_util.Partial`.
        people: Their parameters, or any pytree of arrays with people along the first axis.

    Returns:
        The outputs, people first.
    """
    count = len(jax.tree.leaves(people)[0])
    pieces = []
    for first in range(0, max(count, 1), _PEOPLE_AT_ONCE):
        rows = np.minimum(np.arange(first, first + _PEOPLE_AT_ONCE), max(count - 1, 0))
        some = jax.tree.map(lambda leaf, at=rows: np.asarray(leaf)[at], people)
        pieces.append(jax.tree.map(np.asarray, _called(model, some)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *pieces)


def project_in_pieces(
    model: Callable[[BodyParams], Any], camera: Camera | None, params: BodyParams
) -> tuple[Float[np.ndarray, "N K 3"], Float[np.ndarray, "N K 2"]]:
    """Points of many people and where a camera sees them.

    Args:
        model: Of their keypoints.
        camera: One row a person.
        params: People along one batch axis.

    Raises:
        ValueError: Without a camera.
    """
    if camera is None:
        raise ValueError("points are seen by a camera; give one row of it a person")
    return in_pieces(jax.tree_util.Partial(_projected, model), (camera, params))


def move_in_pieces(
    body: BodyModel,
    params: BodyParams,
    rotation: Float[np.ndarray, "*#N 3 3"],
    translation: Float[np.ndarray, "*#N 3"],
) -> BodyParams:
    """`placement.moved` for many people, as NumPy arrays.

    Args:
        body: Model of the parameters.
        params: People along one batch axis.
        rotation: Of all space, or for each of them.
        translation: Metres.
    """
    count = len(params.transl)
    turns = np.broadcast_to(rotation, (count, 3, 3)).astype(np.float32)
    ways = np.broadcast_to(translation, (count, 3)).astype(np.float32)
    return in_pieces(jax.tree_util.Partial(_moved, body), (params, turns, ways))


def _moved(body: BodyModel, people: tuple[BodyParams, Any, Any]) -> BodyParams:
    return placement.moved(body, *people)


def _projected(model: Callable[[BodyParams], Any], people: tuple[Camera, BodyParams]) -> tuple[Any, Any]:
    camera, params = people
    points = model(params)
    return points, cameras.project_points(camera, points)


@jax.jit
def _called(model: Callable[[Any], Any], people: Any) -> Any:
    return model(people)
