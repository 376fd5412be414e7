"""Letting `jax.export` store functions of bodies: names for the types of their arguments."""

import json
from typing import Any

import jax
import jax.export

from hardmo_jax.body.hands import HandSpace
from hardmo_jax.body.model import BodyModel, BodyOutput
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.regressors import VertexRegressor

_TYPES = (BodyModel, BodyOutput, BodyParams, HandSpace, VertexRegressor)
_registered: set[type] = set()


def register_for_export() -> None:
    """Make bodies and their parameters known to `jax.export`, for `Exported.serialize` and `deserialize`.

    Call it once in the program that writes and once in the program that reads; more calls change nothing. What is
    stored of a body is its static part (tree, names, family); its arrays stay arguments of the stored function.
    """
    for kind in _TYPES:
        if kind not in _registered:
            jax.export.register_pytree_node_serialization(
                kind,
                serialized_name=f"hardmo_jax.{kind.__name__}",
                serialize_auxdata=_serialize,
                deserialize_auxdata=_deserialize,
            )
            _registered.add(kind)


def _serialize(static: Any) -> bytes:
    """The static fields of a registered dataclass, which JAX keeps as a tuple of their values."""
    return json.dumps(static).encode()


def _deserialize(data: bytes) -> Any:
    return _tuples(json.loads(data))


def _tuples(value: Any) -> Any:
    """Lists of JSON as the tuples they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
