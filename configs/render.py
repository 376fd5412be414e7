"""Rendered people with true labels, for training and tests without any licence.

Command:  python -m tools.render --config=configs/render.py
Hardware: a laptop; 2 cores render some 13 pictures a second.
Expected: `photos/`, `labels.parquet` and `sheet.jpg` in out/rendered; the same pictures for the same seed and renderer.
Variants: `full`; `smoke`, a few people.
"""

from ml_collections import config_dict

VARIANTS = ("full", "smoke")


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.render`."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/render.py; known: {', '.join(VARIANTS)}")
    config = config_dict.ConfigDict()
    config.people = 24 if variant == "smoke" else 2_000
    config.seed = 0
    config.side = 320  # pixels
    config.takes = (0.0, 1.0)  # of motion capture; people of (0.0, 0.8) and (0.8, 1.0) share none
    config.clothes = "varied"  # or suits, by whose colours small networks learn in minutes
    config.sampled_feet = 0.0  # share of people whose feet are of written dance and martial poses
    config.keypoints = "true"  # or detected, as a made-up detector sees them
    config.poses = "auto"  # mocap, written; auto takes motion capture where there is some
    return config
