"""Weights of a PyTorch checkpoint as weights here: every number goes to one place, or is told to be left out.

How much of a checkpoint is read at once is one tensor. Sizes of the network come from the tensors; what no shape shows
is how many heads attention has: of the decoder it is in the configuration that checkpoints of 4DHumans carry, of the
backbone it is known by the width.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hardmo_jax import torch_file
from hardmo_jax.array_types import Float, Int
from hardmo_jax.networks import regressors, torch_names, torch_sizes
from hardmo_jax.networks.backbones.vit import HEADS_BY_WIDTH, VitOptions
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.heads.transformer_decoder import TransformerDecoderOptions
from hardmo_jax.networks.hmr import HmrOptions
from hardmo_jax.networks.hmr2 import Hmr2Options
from hardmo_jax.networks.hmr2_discriminator import Hmr2Discriminator
from hardmo_jax.safe_pickle import Described
from hardmo_jax.torch_file import TorchFile, TorchFileError

#: A ViT-H with the state of its optimiser has 10.7 GB.
MAX_BYTES = 16 << 30
_ADVICE = (
    "if you trust it, write its weights alone on a machine you trust: "
    "`torch.save({'state_dict': checkpoint['state_dict']}, 'weights.pt')`"
)
#: Where training programs keep weights.
_PLACES = ("state_dict", "model", "network", "model_state_dict")
_MAX_WEIGHTS, _MAX_TOLD = 50_000, 8
_MAX_WIDTH = 1 << 16
#: Networks that there are for SMPL-X as well.
_POSE_HRNETS = ("bedlam_cliff", "hardmo_hmr")
#: Last part of a name in PyTorch -> names of variables here, the first that there is.
_VARIABLES = {
    "weight": ("kernel", "scale"),
    "bias": ("bias",),
    "running_mean": ("mean",),
    "running_var": ("var",),
}


class CheckpointError(ValueError):
    """A checkpoint is not the one that is asked for, or not complete; the message says what is missing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportedWeights:
    """What was read from a checkpoint, in host memory."""

    network: str
    options: Any
    """Size of the network."""
    weights: Mapping[str, Float[jax.Array, "..."]]
    """By path in the state of the network, in the type that the file has (float32 of doubles)."""
    discriminator: Mapping[str, Float[jax.Array, "..."]] | None
    """The same of the discriminator; None if the file has none."""
    left_out: Mapping[str, str]
    """Names that were not read, and why."""
    settings: Mapping[str, Any]
    """Plain values of the configuration in the file, by dotted path; empty if it has none."""


def import_checkpoint(path: str | os.PathLike[str], network: str, *, vit_heads: int | None = None) -> ImportedWeights:
    """Read the weights of a network.

    Args:
        path: File that `torch.save` or Lightning wrote.
        network: A key of `torch_names.NAMES`.
        vit_heads: Heads of a vision transformer whose width is none of the known ones.

    Raises:
        FileNotFoundError: If there is no such file.
        TorchFileError: If it is cut off, damaged, none of torch, or asks for what could run code.
        CheckpointError: If it is of another network, lacks weights, or has some that are not known.
    """
    if network not in torch_names.NAMES:
        raise CheckpointError(f"no network {network!r} is read here; there are {', '.join(torch_names.NAMES)}")
    with TorchFile(path, vocabulary=torch_file.CHECKPOINT, advice=_ADVICE, max_bytes=MAX_BYTES) as file:
        source = file.path.name
        tensors = _state_dict(file.root, source)
        names = torch_names.without_wrapper(tensors)
        shapes = {name: _shape(tensors[full], f"{source}: {full}") for name, full in names.items()}
        _check_network(shapes, network, source)
        settings = dict(_settings(file.root))
        options = _options(shapes, settings, network, source, vit_heads)
        plan = _Plan(network, options, shapes, source)
        budget = file.path.stat().st_size

        device = _host_device()

        def read(name: str, wanted: tuple[int, ...]) -> jax.Array:
            # Of arrays of NumPy, orbax would keep copies of all at once while it writes them down.
            array = np.ascontiguousarray(_fitted(_numbers(file, tensors[names[name]], budget, name), wanted))
            return jax.device_put(array, device)

        def places(path: str, name: str) -> jax.Array:
            numbers = _whole_numbers(file, tensors[names[name]], budget, name)
            return jax.device_put(numbers.reshape(plan.shapes[path]), device)

        weights = {
            path: places(path, name) if path in plan.whole else read(name, plan.shapes[path])
            for path, name in plan.weights.items()
        }
        _check_halves(weights, source)
        return ImportedWeights(
            network=network,
            options=options,
            weights=weights,
            discriminator={path: read(name, plan.judge_shapes[path]) for path, name in plan.judge.items()} or None,
            left_out=plan.left_out,
            settings=settings,
        )


def _host_device() -> Any:
    """The processor, also where there is an accelerator: weights are on their way to the disk."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # somebody told JAX to use the accelerator alone
        return jax.local_devices()[0]


class _Plan:
    """Which tensor goes where; made, and checked, before any number is read."""

    def __init__(self, network: str, options: Any, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
        known = torch_names.NAMES[network]
        blank = regressors.blank_weights(network, options)
        self.shapes = _leaf_shapes(blank)
        #: Of whole numbers.
        self.whole = {
            path for path, leaf in regressors.named_weights(blank).items() if jnp.issubdtype(leaf.dtype, jnp.integer)
        }
        self.left_out: dict[str, str] = {}
        self.weights: dict[str, str] = {}
        self.judge: dict[str, str] = {}
        has_judge = known.discriminator is not None and any(name.startswith(known.discriminator) for name in shapes)
        self.judge_shapes = discriminator_shapes() if has_judge else {}
        unknown, wrong = [], []
        for name, shape in shapes.items():
            reason = torch_names.reason_left_out(name, network)
            if reason is not None:
                self.left_out[name] = reason
                continue
            if has_judge and name.startswith(known.discriminator or ""):
                target, places, wanted = name[len(known.discriminator or "") :], self.judge, self.judge_shapes
            else:
                target, places, wanted = torch_names.path_of(name, network), self.weights, self.shapes
            path = None if target is None else _variable(target, wanted)
            if path is None or path in places:
                unknown.append(name)
            elif not _fits(shape, wanted[path]):
                wrong.append(f"{name} {shape}, which would have to fit {wanted[path]}")
            else:
                places[path] = name
        taken = [*unknown, *wrong]
        missing = sorted((self.shapes.keys() - self.weights.keys()) | (self.judge_shapes.keys() - self.judge.keys()))
        missing = [path for path in missing if not any(_variable_name(path) in one for one in wrong)]
        if taken or missing:
            parts = [
                f"{label} {_told(found)}"
                for label, found in (("unknown:", unknown), ("of another shape:", wrong), ("missing:", missing))
                if found
            ]
            title = regressors.ARCHITECTURES[network].title
            raise CheckpointError(f"{source}: its weights are not those of {title}; {'; '.join(parts)}")


def discriminator_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the variables of HMR 2.0's discriminator by their path."""
    blank = nnx.eval_shape(lambda: Hmr2Discriminator(policy=ComputePolicy(), rngs=nnx.Rngs(0)))
    return _leaf_shapes(nnx.split(blank)[1])


def _leaf_shapes(state: Any) -> dict[str, tuple[int, ...]]:
    return {path: tuple(leaf.shape) for path, leaf in regressors.named_weights(state).items()}


def _variable(name: str, wanted: Mapping[str, Any]) -> str | None:
    """Path of a variable by its name in PyTorch."""
    parent, _, last = name.rpartition(".")
    for variable in (*_VARIABLES.get(last, ()), last):
        path = f"{parent}.{variable}".lstrip(".")
        if path in wanted:
            return path
    return None


def _variable_name(path: str) -> str:
    return path.rpartition(".")[0].removeprefix("backbone.").removeprefix("head.").removeprefix("smpl_head.")


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if math.prod(shape) != math.prod(wanted):  # also of shapes that no array can have
        return False
    return _fitted(np.broadcast_to(np.float32(0), shape), wanted).shape == wanted


def _fitted(array: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    """A tensor in the order of axes that there is here: inputs before outputs, channels last."""
    if array.ndim == 4 and len(wanted) == 2 and array.shape[2:] == (1, 1):
        array = array[:, :, 0, 0]  # a convolution of single places
    if array.ndim == 2 and len(wanted) == 2 and array.shape[0] != 1:
        return array.T
    if array.ndim == 2 and len(wanted) == 2:
        # One row: a layer with one output, or a guess that heads start from.
        return array.T if array.T.shape == wanted else array
    return np.transpose(array, (2, 3, 1, 0)) if array.ndim == 4 else array


def _numbers(file: TorchFile, tensor: Any, budget: int, name: str) -> np.ndarray:
    array = file.array(tensor, max_values=budget)
    if array.dtype.kind != "f":
        raise CheckpointError(f"{file.path.name}: {name} holds {array.dtype}, where numbers with a point belong")
    if not np.isfinite(array).all():
        raise CheckpointError(f"{file.path.name}: {name} holds values that are NaN or infinite; use another one")
    if array.dtype == np.float32 and _is_bfloat16(tensor):
        return array.astype(jnp.bfloat16)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _whole_numbers(file: TorchFile, tensor: Any, budget: int, name: str) -> np.ndarray:
    array = file.array(tensor, max_values=budget)
    if array.dtype.kind not in "iu":
        raise CheckpointError(f"{file.path.name}: {name} holds {array.dtype}, where whole numbers belong")
    if array.size and (array.min() < 0 or array.max() >= _MAX_WIDTH):
        raise CheckpointError(f"{file.path.name}: {name} holds numbers that are no places of a vector")
    return array.astype(np.int32)


def _check_halves(weights: Mapping[str, Float[jax.Array, "..."] | Int[jax.Array, "..."]], source: str) -> None:
    """Refuse couplings of a flow whose halves are not all numbers of a vector, each once."""
    for path, kept in weights.items():
        if not path.endswith(".identity_features"):
            continue
        moved = weights[path.replace(".identity_features", ".transform_features")]
        both = np.sort(np.concatenate([np.asarray(kept), np.asarray(moved)]))
        if not np.array_equal(both, np.arange(len(both))):
            raise CheckpointError(
                f"{source}: identity_features and transform_features of {path.rpartition('.')[0]} are not all numbers "
                f"below {len(both)}, each once"
            )


def _is_bfloat16(tensor: Any) -> bool:
    """Whether a tensor is kept in two bytes that NumPy has no name for."""
    waiting = [tensor]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Described):
            if value.name == "torch.BFloat16Storage":
                return True
            waiting += value.arguments[:1] if value.name.startswith("torch._utils.") else value.arguments
        elif isinstance(value, tuple):
            waiting += value[:2]
    return False


def _state_dict(root: Any, source: str) -> dict[str, Any]:
    """Tensors by name, wherever the file keeps them."""
    candidates = [root[place] for place in _PLACES if isinstance(root, dict) and place in root]
    for found in (*candidates, root):
        if isinstance(found, dict) and found and all(_is_tensor(value) for value in found.values()):
            if len(found) > _MAX_WEIGHTS or any(type(name) is not str for name in found):
                raise CheckpointError(f"{source}: its weights have no names, or there are more than {_MAX_WEIGHTS}")
            return found
    raise CheckpointError(
        f"{source}: no weights found; expected a dict of tensors, alone or under {', '.join(_PLACES)}; {_found(root)}"
    )


def _found(root: Any) -> str:
    """What a file without weights in the usual places holds, and what to write in its stead."""
    if isinstance(root, Described):
        return (
            f"found an object of {ascii(root.name)[1:-1][:80]}, whole; where its code is installed, write its weights: "
            "`torch.save({'state_dict': model.state_dict()}, 'weights.pt')`"
        )
    if not isinstance(root, dict):
        return f"found {type(root).__name__}"
    for name, value in root.items():
        if isinstance(value, dict) and value and all(_is_tensor(one) for one in value.values()):
            place = ascii(name)[:80]
            return f"found them under {place}: `torch.save({{'state_dict': checkpoint[{place}]}}, 'weights.pt')`"
        if isinstance(value, Described) and not _is_tensor(value) and name in _PLACES:
            return f"under {ascii(name)[:80]} " + _found(value)
    return f"found {_told([str(name) for name in root]) or 'nothing'}"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Described) and value.name.startswith("torch._utils._rebuild_")


def _shape(tensor: Any, what: str) -> tuple[int, ...]:
    """Shape that a tensor claims."""
    if tensor.name.endswith("_rebuild_parameter") and tensor.arguments:
        tensor = tensor.arguments[0]
    try:
        shape = tensor.arguments[2]
        shape = shape.arguments[0] if isinstance(shape, Described) else shape
        if type(shape) is not tuple or any(type(size) is not int or not 0 <= size < 1 << 40 for size in shape):
            raise ValueError(shape)
    except (AttributeError, IndexError, ValueError) as error:
        raise TorchFileError(f"{what}: a tensor without a shape") from error
    return shape


def _check_network(shapes: Mapping[str, tuple[int, ...]], network: str, source: str) -> None:
    """Refuse a checkpoint of another network by its name, before weights are missed one by one."""
    found = torch_names.network_of(shapes)
    if found in _POSE_HRNETS:  # of one layout
        found = torch_sizes.pose_hrnet_network(shapes)
    if found is not None and found != network:
        title = regressors.ARCHITECTURES[found].title
        raise CheckpointError(f"{source}: it holds {title}; convert it with --model={found}")
    wanted = regressors.ARCHITECTURES[network].title
    for name in ("decpose.weight", "head.decpose.weight", "smpl_head.decpose.weight"):
        rows = shapes.get(name, (144,))[:1]
        if rows not in ((144,), ()) and not (network in _POSE_HRNETS and rows == (132,)):
            joints, rest = divmod(rows[0], 6)
            kind = "an SMPL-X head (22 joints" if rows == (132,) else f"a head of {joints} joints and {rest} numbers ("
            betas = shapes.get(name.replace("decpose", "decshape"), (0,))[0]
            raise CheckpointError(
                f"{source}: it has {kind}, {betas} betas) where {wanted} has SMPL's 24 joints and 10 betas; "
                f"--model={network} reads checkpoints for SMPL"
            )
    if found is None:
        signs = ", ".join(torch_names.NAMES[network].signs)
        raise CheckpointError(
            f"{source}: expected {wanted}, which has {signs}; found {torch_names.told_network(shapes)} "
            f"({len(shapes)} weights, {_told(list(shapes))})"
        )


def _told(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_TOLD} more" if len(names) > _MAX_TOLD else ""
    return ", ".join(ascii(name)[1:-1][:80] for name in names[:_MAX_TOLD]) + more


def _options(
    shapes: Mapping[str, tuple[int, ...]],
    settings: Mapping[str, Any],
    network: str,
    source: str,
    vit_heads: int | None,
) -> Any:
    """Size of a network by the shapes of its weights."""
    try:
        found = _hmr2_options(shapes, settings, vit_heads) if network == "hmr2" else _SIZES[network](shapes)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{source}: no size of {regressors.ARCHITECTURES[network].title} fits its weights ({error})"
        ) from error
    if max(_numbers_of(found)) > _MAX_WIDTH:
        raise CheckpointError(f"{source}: {found} is no network")
    return found


def _numbers_of(options: Any) -> Iterator[int]:
    for value in dataclasses.asdict(options).values():
        for one in value.values() if isinstance(value, dict) else ():
            yield from one if isinstance(one, tuple) else (one,) if isinstance(one, int) else ()


def _hmr_options(shapes: Mapping[str, tuple[int, ...]]) -> HmrOptions:
    backbone = torch_sizes.resnet_sizes(shapes)
    head = torch_sizes.iterative_sizes(shapes, backbone.features)
    return HmrOptions(backbone=backbone, head=dataclasses.replace(head, box_numbers=0))


#: Of networks whose shapes say everything.
_SIZES: Mapping[str, Callable[[Mapping[str, tuple[int, ...]]], Any]] = {
    "hmr": _hmr_options,
    "cliff": torch_sizes.cliff_sizes,
    "bedlam_cliff": torch_sizes.bedlam_cliff_sizes,
    "hardmo_hmr": torch_sizes.hardmo_hmr_sizes,
    "prohmr": torch_sizes.prohmr_sizes,
}


#: What a configuration of 4DHumans can say that changes what the network answers, and what is built here.
_HMR2_SETTINGS: Mapping[str, Any] = {
    "cfg.MODEL.IMAGE_SIZE": 256,
    "cfg.MODEL.BBOX_SHAPE.0": 192,
    "cfg.MODEL.BBOX_SHAPE.1": 256,
    **{f"cfg.MODEL.IMAGE_MEAN.{place}": value for place, value in enumerate((0.485, 0.456, 0.406))},
    **{f"cfg.MODEL.IMAGE_STD.{place}": value for place, value in enumerate((0.229, 0.224, 0.225))},
    "cfg.MODEL.BACKBONE.TYPE": "vit",
    "cfg.MODEL.SMPL_HEAD.TYPE": "transformer_decoder",
    "cfg.MODEL.SMPL_HEAD.JOINT_REP": "6d",
    "cfg.MODEL.SMPL_HEAD.IEF_ITERS": 1,
    "cfg.MODEL.SMPL_HEAD.TRANSFORMER_INPUT": "zero",
    "cfg.MODEL.SMPL_HEAD.TRANSFORMER_DECODER.norm": "layer",
}


def _hmr2_options(
    shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any], vit_heads: int | None
) -> Hmr2Options:
    width = shapes["backbone.patch_embed.proj.weight"][0]
    heads = vit_heads or HEADS_BY_WIDTH.get(width)
    if heads is None:
        raise ValueError(f"a vision transformer of width {width} is none of ViTPose; say its heads with --vit_heads")
    backbone = VitOptions(
        width=width,
        depth=torch_sizes.count_parts(shapes, r"backbone\.blocks\.(\d+)\."),
        heads=heads,
        hidden=shapes["backbone.blocks.0.mlp.fc1.weight"][0],
    )
    for name, wanted in _HMR2_SETTINGS.items():
        if settings.get(name, wanted) != wanted:
            raise ValueError(f"its configuration says {name} {settings[name]!r}, and the network here has {wanted!r}")
    layer = "smpl_head.transformer.transformer.layers.0"
    inner = shapes[f"{layer}.1.fn.to_q.weight"][0]
    decoder = "cfg.MODEL.SMPL_HEAD.TRANSFORMER_DECODER."
    default = TransformerDecoderOptions()
    decoder_heads = settings.get(f"{decoder}heads", default.heads)
    head_width = settings.get(f"{decoder}dim_head", default.head_width)
    if type(decoder_heads) is not int or type(head_width) is not int or decoder_heads * head_width != inner:
        raise ValueError(f"{decoder_heads} heads of {head_width} do not make {inner}")
    head = TransformerDecoderOptions(
        features=shapes[f"{layer}.1.fn.to_kv.weight"][1],
        width=shapes["smpl_head.transformer.pos_embedding"][2],
        depth=torch_sizes.count_parts(shapes, r"smpl_head\.transformer\.transformer\.layers\.(\d+)\."),
        heads=decoder_heads,
        head_width=head_width,
        hidden=shapes[f"{layer}.2.fn.net.0.weight"][0],
        joints=shapes["smpl_head.decpose.weight"][0] // 6,
        betas=shapes["smpl_head.decshape.weight"][0],
    )
    return Hmr2Options(backbone=backbone, head=head)


_MAX_SETTINGS, _MAX_TEXT = 2000, 500


def _settings(root: Any) -> Iterator[tuple[str, Any]]:
    """Plain values of `hyper_parameters`, by dotted path; of omegaconf's objects what they hold."""
    start = root.get("hyper_parameters") if isinstance(root, dict) else None
    waiting, count = [("", start, 0)], 0
    while waiting and count < _MAX_SETTINGS:
        path, value, depth = waiting.pop()
        count += 1
        if isinstance(value, Described):
            state = value.state if isinstance(value.state, dict) else {}
            value = state.get("_content", state.get("_val", value.entries))
        if isinstance(value, dict) and depth < 16:
            waiting += [(f"{path}.{key}".lstrip("."), one, depth + 1) for key, one in value.items()]
        elif isinstance(value, list | tuple) and depth < 16 and len(value) <= 16:
            waiting += [(f"{path}.{place}", one, depth + 1) for place, one in enumerate(value)]
        elif isinstance(value, bool | int | float | str):
            yield path[:_MAX_TEXT], value[:_MAX_TEXT] if isinstance(value, str) else value
