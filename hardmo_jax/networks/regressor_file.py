"""A converted regressor as a folder: weights as orbax writes them, and beside them what they are and where from.

The folder holds `weights/`, `discriminator/` where the checkpoint had one, and `regressor.json`, which is written last:
a folder without it is none.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hardmo_jax import options as options_module
from hardmo_jax.array_types import Float
from hardmo_jax.networks import regressors
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.hmr2_discriminator import Hmr2Discriminator
from hardmo_jax.networks.regressors import Regressor

FORMAT_VERSION = 1
RECORD, WEIGHTS, DISCRIMINATOR = "regressor.json", "weights", "discriminator"
_MAX_RECORD_BYTES = 32 << 20
#: Of arrays on their way to or from the disk at a time, GB; orbax would take nearly as many as there are.
_GB_ON_THE_WAY = 1
_CONVERT = "`python -m tools.convert_checkpoint --model=hmr2 --in=epoch.ckpt --out=DIR` makes one"


class RegressorFileError(ValueError):
    """A folder is no regressor that this version reads, or another one than is asked for; the message says what."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressorRecord:
    """What a converted regressor is, and where it is from."""

    model: str
    """In `regressors.ARCHITECTURES`."""
    options: Mapping[str, Any]
    """Size of the network, as nested plain values; the order of its six numbers a rotation is one of them."""
    image_size: int
    """Sides of the square crop, pixels."""
    num_parameters: int
    """Numbers in the network, without its discriminator."""
    source_name: str
    """Name of the checkpoint, without its folder."""
    source_sha256: str
    source_bytes: int
    left_out: Mapping[str, str]
    """Names in the checkpoint that were not read, and why."""
    settings: Mapping[str, Any]
    """Plain values of the configuration in the checkpoint, by dotted path."""
    format_version: int = FORMAT_VERSION


def save_converted(
    folder: pathlib.Path,
    record: RegressorRecord,
    weights: Mapping[str, Float[jax.Array, "..."]],
    discriminator: Mapping[str, Float[jax.Array, "..."]] | None,
) -> None:
    """Write a regressor into an empty folder. Not at once: whoever needs that writes to another name and renames it.

    Args:
        folder: An empty folder, or none.
        record: What it is.
        weights: By path, see `regressors.named_weights`.
        discriminator: The same of the discriminator.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in ((WEIGHTS, weights), (DISCRIMINATOR, discriminator)):
        if arrays:
            _write_arrays(folder / name, arrays)
    (folder / RECORD).write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n", encoding="utf-8")


def read_record(folder: str | os.PathLike[str]) -> RegressorRecord:
    """What a regressor is, without its weights.

    Args:
        folder: That `save_converted` wrote.

    Raises:
        FileNotFoundError: If there is no such folder.
        RegressorFileError: If it is none of a regressor, or of another version.
    """
    folder = pathlib.Path(folder)
    path = folder / RECORD
    if folder.is_file():
        raise RegressorFileError(f"{folder} is a file; a converted regressor is a folder ({_CONVERT})")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; a converted regressor is one ({_CONVERT})")
    if not path.is_file():
        raise RegressorFileError(f"{folder} holds no {RECORD}: it is no converted regressor ({_CONVERT})")
    try:
        if path.stat().st_size > _MAX_RECORD_BYTES:
            raise ValueError("it is too long")
        found = json.loads(path.read_text(encoding="utf-8"))
        version = found.get("format_version")
        if version != FORMAT_VERSION:
            raise RegressorFileError(f"{path}: version {version!r}, and {FORMAT_VERSION} is read; convert it again")
        record = RegressorRecord(**found)
        if record.model not in regressors.ARCHITECTURES or not re.fullmatch("[0-9a-f]{64}", record.source_sha256):
            raise ValueError(f"model {record.model!r}")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, RegressorFileError):
            raise
        raise RegressorFileError(f"{path}: damaged ({' '.join(str(error).split())[:200]}); convert it again") from error
    return record


def load_converted(
    folder: str | os.PathLike[str], model: str | None = None, *, policy: ComputePolicy | None = None
) -> tuple[Regressor, RegressorRecord]:
    """A converted regressor, in float32, and what it is.

    Args:
        folder: That `python -m tools.convert_checkpoint` wrote.
        model: Which network it must be; None for any.
        policy: How exactly it computes.

    Raises:
        FileNotFoundError: If there is no such folder.
        RegressorFileError: If it is none of a regressor, damaged, or of another network than `model`.
    """
    folder = pathlib.Path(folder)
    record = read_record(folder)
    if model is not None and record.model != model:
        title = regressors.ARCHITECTURES[record.model].title
        raise RegressorFileError(f"{folder} holds {title} (`{record.model}`), and `{model}` is asked for")
    options_class = regressors.ARCHITECTURES[record.model].options
    try:
        options = options_module.from_mapping(options_class, record.options, where="options")
        blank = regressors.blank_weights(record.model, options)
    except ValueError as error:
        raise RegressorFileError(f"{folder}/{RECORD}: {error}; convert it again") from error
    weights = _read_state(folder / WEIGHTS, blank)
    regressor = Regressor(weights=weights, name=record.model, options=options, policy=policy or ComputePolicy())
    return regressor, record


def load_discriminator(folder: str | os.PathLike[str], *, policy: ComputePolicy | None = None) -> Hmr2Discriminator:
    """The discriminator that a checkpoint of HMR 2.0 had, to go on training with.

    Args:
        folder: That `python -m tools.convert_checkpoint` wrote.
        policy: How exactly it computes.

    Raises:
        FileNotFoundError: If there is no such folder.
        RegressorFileError: If it is none of a regressor, or has no discriminator.
    """
    folder = pathlib.Path(folder)
    record = read_record(folder)
    if not (folder / DISCRIMINATOR).is_dir():
        raise RegressorFileError(f"{folder}: the checkpoint {record.source_name} had no discriminator")
    made = nnx.eval_shape(lambda: Hmr2Discriminator(policy=policy or ComputePolicy(), rngs=nnx.Rngs(0)))
    graph, blank = nnx.split(made)
    return nnx.merge(graph, _read_state(folder / DISCRIMINATOR, blank))


def _handler() -> Any:
    # Loading it takes seconds, which only those pay who read or write weights.
    import orbax.checkpoint as ocp

    # Trained numbers do not get smaller.
    return ocp.PyTreeCheckpointHandler(
        save_concurrent_gb=_GB_ON_THE_WAY, restore_concurrent_gb=_GB_ON_THE_WAY, use_compression=False
    )


def _write_arrays(path: pathlib.Path, arrays: Mapping[str, Float[jax.Array, "..."]]) -> None:
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(_handler()) as checkpointer:
        checkpointer.save(path.resolve(), args=ocp.args.PyTreeSave(dict(arrays)))


def _read_state(path: pathlib.Path, blank: Any) -> Any:
    """Arrays of a folder in the places of a state, in float32; whole numbers stay such."""
    import orbax.checkpoint as ocp

    if not path.is_dir():
        raise RegressorFileError(f"{path}: no such folder, so the weights are missing; convert the checkpoint again")
    named = regressors.named_weights(blank)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    restore = {
        name: ocp.ArrayRestoreArgs(
            dtype=leaf.dtype if jnp.issubdtype(leaf.dtype, jnp.integer) else jnp.float32, sharding=device
        )
        for name, leaf in named.items()
    }
    try:
        with ocp.Checkpointer(_handler()) as checkpointer:
            found = checkpointer.metadata(path.resolve()).item_metadata.tree
            shapes = {name: tuple(one.shape) for name, one in found.items()}
            wanted = {name: tuple(leaf.shape) for name, leaf in named.items()}
            if shapes != wanted:
                wrong = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
                raise RegressorFileError(
                    f"{path}: {wrong[0]} (and {len(wrong) - 1} more) is not as {RECORD} says; convert it again"
                )
            arrays = checkpointer.restore(
                path.resolve(), args=ocp.args.PyTreeRestore(item=dict(found), restore_args=restore)
            )
    except RegressorFileError:
        raise
    except Exception as error:  # whatever a damaged folder may end in
        # What orbax and TensorStore say of it runs to pages, or is the name of a method.
        raise RegressorFileError(
            f"{path}: the weights are damaged or incomplete ({type(error).__name__}); convert the checkpoint again"
        ) from error
    return jax.tree.unflatten(jax.tree.structure(blank), [arrays[name] for name in named])
