"""Sizes of networks of the CLIFF family, read off the shapes of a PyTorch checkpoint."""

import re
from collections.abc import Mapping

from hardmo_jax.networks.backbones.hrnet import HrnetOptions
from hardmo_jax.networks.backbones.residual_blocks import EXPANSION
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.bedlam_cliff import BedlamCliffOptions
from hardmo_jax.networks.cliff import CliffOptions
from hardmo_jax.networks.flows.conditional_glow import PARTS, GlowOptions
from hardmo_jax.networks.hardmo_hmr import HardmoHmrOptions
from hardmo_jax.networks.heads.iterative import IterativeOptions
from hardmo_jax.networks.prohmr import ProhmrOptions

Shapes = Mapping[str, tuple[int, ...]]
_MAX_DEPTH = 256
#: Six for each of 24 rotations.
_SMPL_NUMBERS = 144


def count_parts(shapes: Mapping[str, object], pattern: str) -> int:
    """How many parts a list has, by a pattern whose first group is their number.

    Raises:
        ValueError: If numbers are left out, or there are more than any network has.
    """
    found = {int(match[1]) for name in shapes if (match := re.match(pattern, name)) and len(match[1]) < 4}
    if found != set(range(len(found))) or len(found) > _MAX_DEPTH:
        raise ValueError(f"{pattern} has gaps")
    return len(found)


def resnet_sizes(shapes: Shapes, prefix: str = "") -> ResnetOptions:
    """Size of a ResNet of bottlenecks.

    Args:
        shapes: By name in the checkpoint.
        prefix: What names of the backbone begin with.

    Raises:
        KeyError: If a weight is missing, from which a size is read.
        ValueError: If the blocks are of another kind, or not counted through.
    """
    own = {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}
    stages = count_parts({str(int(name[5]) - 1): 0 for name in own if re.match(r"layer\d\.", name)}, r"(\d+)")
    blocks = tuple(count_parts(own, rf"layer{stage + 1}\.(\d+)\.") for stage in range(stages))
    width = own["conv1.weight"][0]
    if width * EXPANSION != own["layer1.0.conv3.weight"][0]:
        raise ValueError("blocks of two convolutions")
    return ResnetOptions(blocks=blocks, width=width)


def hrnet_sizes(shapes: Shapes, prefix: str) -> HrnetOptions:
    """Size of an HRNet; for arguments and errors see `resnet_sizes`."""
    own = {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}
    stages = count_parts({str(int(name[5]) - 2): 0 for name in own if re.match(r"stage\d\.", name)}, r"(\d+)")
    sizes = {
        "width": own["transition1.0.0.weight"][0],
        "stem": own["conv1.weight"][0],
        "modules": tuple(count_parts(own, rf"stage{stage + 2}\.(\d+)\.") for stage in range(stages)),
        "blocks": count_parts(own, r"stage2\.0\.branches\.0\.(\d+)\."),
    }
    if "final_layer.0.weight" not in own:
        return HrnetOptions(ending="pose", **sizes)
    widened, outputs = own["incre_modules.0.0.conv1.weight"][0], own["final_layer.0.weight"][0]
    return HrnetOptions(ending="classification", widened=widened, outputs=outputs, **sizes)


def iterative_sizes(shapes: Shapes, features: int, prefix: str = "") -> IterativeOptions:
    """Size of a head with feedback; numbers about the box are what its first layer reads beyond the rest.

    Args:
        shapes: By name in the checkpoint.
        features: Of the backbone.
        prefix: What names of the head begin with.

    Raises:
        KeyError: If a weight is missing, from which a size is read.
        ValueError: If the first layer reads less than there is.
    """
    joints, betas = shapes[f"{prefix}decpose.weight"][0] // 6, shapes[f"{prefix}decshape.weight"][0]
    hidden, inputs = shapes[f"{prefix}fc1.weight"]
    box_numbers = inputs - (features + 6 * joints + betas + 3)
    return IterativeOptions(features=features, box_numbers=box_numbers, hidden=hidden, joints=joints, betas=betas)


def cliff_sizes(shapes: Shapes) -> CliffOptions:
    """Size of published CLIFF; for errors see `resnet_sizes`."""
    is_hrnet = any(name.startswith("encoder.stage") for name in shapes)
    backbone = hrnet_sizes(shapes, "encoder.") if is_hrnet else resnet_sizes(shapes, "encoder.")
    return CliffOptions(backbone=backbone, head=iterative_sizes(shapes, backbone.features))


def bedlam_cliff_sizes(shapes: Shapes) -> BedlamCliffOptions:
    """Size of BEDLAM's CLIFF; for errors see `resnet_sizes`."""
    backbone = hrnet_sizes(shapes, "backbone.")
    return BedlamCliffOptions(backbone=backbone, head=iterative_sizes(shapes, backbone.features, "head."))


def hardmo_hmr_sizes(shapes: Shapes) -> HardmoHmrOptions:
    """Size of HMR with HRNet; for errors see `resnet_sizes`."""
    backbone = hrnet_sizes(shapes, "backbone.")
    return HardmoHmrOptions(backbone=backbone, head=iterative_sizes(shapes, backbone.features, "head."))


def prohmr_sizes(shapes: Shapes) -> ProhmrOptions:
    """Size of ProHMR; for errors see `resnet_sizes`."""
    part = r"flow\.flow\._transform\._transforms\."
    coupling = f"flow.flow._transform._transforms.{PARTS - 1}.transform_net"
    layers, rest = divmod(count_parts(shapes, rf"{part}(\d+)\."), PARTS)
    if rest:
        raise ValueError(f"a layer of the flow has {PARTS} parts, and {rest} are left over")
    features = shapes["flow.flow._transform._transforms.0.log_scale"][0]
    if features != _SMPL_NUMBERS:
        raise ValueError(f"the flow is one of {features} numbers, and SMPL's 24 rotations have {_SMPL_NUMBERS}")
    hidden, inputs = shapes[f"{coupling}.initial_layer.weight"]
    flow = GlowOptions(
        features=features,
        context=inputs - features // 2,
        layers=layers,
        blocks=count_parts(shapes, rf"{part}{PARTS - 1}\.transform_net\.blocks\.(\d+)\."),
        hidden=hidden,
    )
    return ProhmrOptions(
        backbone=resnet_sizes(shapes, "backbone."),
        flow=flow,
        head_hidden=shapes["flow.fc_head.layers.0.weight"][0],
        betas=shapes["flow.fc_head.init_betas"][-1],
    )


def pose_hrnet_network(shapes: Shapes) -> str:
    """Which of the two networks with a pose HRNet weights belong to, which differ in the width of one layer alone."""
    try:
        head = iterative_sizes(shapes, hrnet_sizes(shapes, "backbone.").features, "head.")
    except (KeyError, IndexError, ValueError):  # damaged; what is missing is told later
        return "bedlam_cliff"
    return "bedlam_cliff" if head.box_numbers else "hardmo_hmr"
