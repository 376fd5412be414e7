"""Which number of a PyTorch checkpoint is which number of a network here: names, and nothing but names."""

import dataclasses
import re
from collections.abc import Mapping

#: Words that training programs put before every name.
_WRAPPERS = ("module.", "model.")
_PART = r"flow\.flow\._transform\._transforms\.(\d+)"
_COUPLING = rf"{_PART}\.transform_net"
_LAYER = r"smpl_head\.transformer\.transformer\.layers\.(\d+)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchNames:
    """Names of one layout of checkpoints."""

    signs: tuple[str, ...]
    """Names by which the layout is known: a checkpoint of it has all of them."""
    renamed: tuple[tuple[str, str], ...]
    """Patterns and replacements, the first that fits the beginning of a name counts; a name that none fits is that
    of nothing."""
    left_out: tuple[tuple[str, str], ...]
    """Patterns of names that are not read, and why."""
    discriminator: str | None = None
    """What names of the discriminator begin with."""


_BODY = (r"smpl\..*", "arrays of the SMPL model, which has a licence of its own: load the body from its own file")
_COUNTS = (r".*\.num_batches_tracked", "counts of batches")
_HEAD = r"(fc1\.|fc2\.|decpose\.|decshape\.|deccam\.|(init_pose|init_shape|init_cam)$)"
_POSE_HRNET = TorchNames(
    signs=("backbone.stage4.0.branches.0.0.conv1.weight", "head.fc1.weight", "head.decpose.weight"),
    renamed=((r"backbone\.", "backbone."), (rf"head\.{_HEAD}", r"head.\1")),
    left_out=(
        _BODY,
        _COUNTS,
        (r"head\.downsample_module\..*", "layers of the head that the published network holds and never uses"),
        (r"backbone\.final_layer\..*", "maps of joints, which the published backbone holds and never uses"),
    ),
)
NAMES: Mapping[str, TorchNames] = {
    "hmr2": TorchNames(
        signs=("backbone.patch_embed.proj.weight", "smpl_head.transformer.to_token_embedding.weight"),
        renamed=(
            (rf"{_LAYER}\.0\.norm\.", r"smpl_head.layers.\1.self_attention.norm."),
            (rf"{_LAYER}\.1\.norm\.", r"smpl_head.layers.\1.cross_attention.norm."),
            (rf"{_LAYER}\.2\.norm\.", r"smpl_head.layers.\1.mlp.norm."),
            (rf"{_LAYER}\.0\.fn\.to_out\.0\.", r"smpl_head.layers.\1.self_attention.to_out."),
            (rf"{_LAYER}\.1\.fn\.to_out\.0\.", r"smpl_head.layers.\1.cross_attention.to_out."),
            (rf"{_LAYER}\.0\.fn\.", r"smpl_head.layers.\1.self_attention."),
            (rf"{_LAYER}\.1\.fn\.", r"smpl_head.layers.\1.cross_attention."),
            (rf"{_LAYER}\.2\.fn\.net\.0\.", r"smpl_head.layers.\1.mlp.first."),
            (rf"{_LAYER}\.2\.fn\.net\.3\.", r"smpl_head.layers.\1.mlp.second."),
            (r"smpl_head\.transformer\.(pos_embedding$|to_token_embedding\.)", r"smpl_head.\1"),
            (r"smpl_head\.((init_body_pose|init_betas|init_cam)$|(decpose|decshape|deccam)\.)", r"smpl_head.\1"),
            (r"backbone\.", "backbone."),
        ),
        left_out=(
            _BODY,
            (r"initialized", "a mark of an older program"),
            _COUNTS,
        ),
        discriminator="discriminator.",
    ),
    "hmr": TorchNames(
        signs=("layer1.0.conv1.weight", "fc1.weight", "decpose.weight"),
        renamed=(
            (r"(conv1\.|bn1\.|layer\d+\.)", r"backbone.\1"),
            (_HEAD, r"head.\1"),
        ),
        left_out=(
            _BODY,
            _COUNTS,
        ),
    ),
    "cliff": TorchNames(
        signs=("encoder.conv1.weight", "fc1.weight", "decpose.weight"),
        renamed=((r"encoder\.", "backbone."), (_HEAD, r"head.\1")),
        left_out=(_BODY, _COUNTS),
    ),
    "prohmr": TorchNames(
        signs=("flow.flow._transform._transforms.0.log_scale", "flow.fc_head.layers.0.weight"),
        renamed=(
            (rf"{_COUPLING}\.blocks\.(\d+)\.batch_norm_layers\.", r"flow.transforms.\1.net.blocks.\2.norms."),
            (rf"{_COUPLING}\.blocks\.(\d+)\.linear_layers\.", r"flow.transforms.\1.net.blocks.\2.layers."),
            (rf"{_COUPLING}\.(initial_layer|final_layer)\.", r"flow.transforms.\1.net.\2."),
            (rf"{_PART}\.(log_scale|shift|bias|unconstrained_upper_diag)$", r"flow.transforms.\1.\2"),
            (rf"{_PART}\.(\w+_entries|\w+_features)$", r"flow.transforms.\1.\2"),
            (r"flow\.fc_head\.layers\.0\.", "head.first."),
            (r"flow\.fc_head\.layers\.2\.", "head.second."),
            (r"flow\.fc_head\.(init_betas|init_cam)$", r"head.\1"),
            (r"backbone\.", "backbone."),
        ),
        left_out=(
            _BODY,
            (r"discriminator\..*", "the discriminator, of training alone"),
            (r"initialized|flow\..*\.initialized", "a mark that the flow was shown a first batch"),
            (r"flow\..*\.dummy_buffer", "an empty place"),
            _COUNTS,
        ),
    ),
    "bedlam_cliff": _POSE_HRNET,
    "hardmo_hmr": _POSE_HRNET,
}
"""Layouts by the name of the network. Two of them have the same names, see `torch_import`."""

#: Names by which checkpoints of networks that are not read here are known, most telling first.
_OTHERS: tuple[tuple[str, str], ...] = (
    ("flow.flow._transform._transforms.0.log_scale", "a flow with a head that is not ProHMR's"),
    ("backbone.stage4.0.branches.0.0.conv1.weight", "HRNet with a head that is none of those known"),
    ("head.fc1.weight", "a network with a backbone and a head of its own"),
    ("keypoint_head.final_layer.weight", "ViTPose with its pose head"),
    ("fc.weight", "a classifier of images"),
)


def without_wrapper(names: Mapping[str, object]) -> dict[str, str]:
    """Names as they are in the file, by what they are without `module.` or `model.` in front.

    Args:
        names: Of a state dict. A word is taken off only where it is in front of every one of them.
    """
    short = {name: name for name in names}
    while short:
        wrapper = next((one for one in _WRAPPERS if all(name.startswith(one) for name in short)), None)
        if wrapper is None:
            break
        short = {name[len(wrapper) :]: full for name, full in short.items()}
    return short


def network_of(names: Mapping[str, object]) -> str | None:
    """Which network names belong to: a key of `NAMES`, or None."""
    return next((network for network, known in NAMES.items() if all(sign in names for sign in known.signs)), None)


def told_network(names: Mapping[str, object]) -> str:
    """What a message may say about a network that is none of `NAMES`."""
    found = [title for sign, title in _OTHERS if sign in names]
    return found[0] if found else "no network known here"


def path_of(name: str, network: str) -> str | None:
    """Path in the state of a network here, with the names that its last part has in PyTorch.

    Args:
        name: In the checkpoint, without wrapper.
        network: A key of `NAMES`.

    Returns:
        The path, or None if it is the name of nothing.
    """
    for pattern, replacement in NAMES[network].renamed:
        found = re.match(pattern, name)
        if found:
            return found.expand(replacement) + name[found.end() :]
    return None


def reason_left_out(name: str, network: str) -> str | None:
    """Why a name is not read, or None if it is to be read."""
    for pattern, reason in NAMES[network].left_out:
        if re.fullmatch(pattern, name):
            return reason
    return None
