"""Small networks of every kind, for a look at training on a laptop; nobody publishes weights of these sizes."""

from typing import Any

from hardmo_jax.networks.backbones.hrnet import HrnetOptions
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.backbones.vit import VitOptions
from hardmo_jax.networks.bedlam_cliff import BedlamCliffOptions
from hardmo_jax.networks.cliff import BOX_NUMBERS, CliffOptions
from hardmo_jax.networks.flows.conditional_glow import GlowOptions
from hardmo_jax.networks.hardmo_hmr import HardmoHmrOptions
from hardmo_jax.networks.heads.iterative import IterativeOptions
from hardmo_jax.networks.heads.transformer_decoder import TransformerDecoderOptions
from hardmo_jax.networks.hmr import HmrOptions
from hardmo_jax.networks.hmr2 import Hmr2Options
from hardmo_jax.networks.prohmr import ProhmrOptions

_RESNET = ResnetOptions(blocks=(1, 1, 1, 1), width=16)
_HRNET = HrnetOptions(width=8, stem=16, modules=(1, 1, 1), blocks=1)
_HIDDEN = 256

SMALL: dict[str, Any] = {
    "hmr": HmrOptions(backbone=_RESNET, head=IterativeOptions(features=_RESNET.features, hidden=_HIDDEN)),
    "hmr2": Hmr2Options(
        backbone=VitOptions(width=192, depth=4, heads=3, hidden=768),
        head=TransformerDecoderOptions(features=192, width=256, depth=2, heads=4, hidden=256),
    ),
    "cliff": CliffOptions(
        backbone=_RESNET,
        head=IterativeOptions(features=_RESNET.features, box_numbers=BOX_NUMBERS, hidden=_HIDDEN),
    ),
    "bedlam_cliff": BedlamCliffOptions(
        backbone=_HRNET,
        head=IterativeOptions(features=_HRNET.features, box_numbers=BOX_NUMBERS, hidden=_HIDDEN),
    ),
    "hardmo_hmr": HardmoHmrOptions(backbone=_HRNET, head=IterativeOptions(features=_HRNET.features, hidden=_HIDDEN)),
    "prohmr": ProhmrOptions(
        backbone=_RESNET,
        flow=GlowOptions(context=_RESNET.features, layers=4, blocks=2, hidden=_HIDDEN),
        head_hidden=_HIDDEN,
    ),
}
"""Options by name, see `regressors.ARCHITECTURES`."""
