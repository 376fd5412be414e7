"""Training of the pose prior that ships with the package, for `tools.train`; two minutes.

Variants: `full`, and `smoke` for tests.
"""

from ml_collections import config_dict


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.train`."""
    if variant not in ("full", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/train_prior.py; known: full, smoke")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.kind = "pose_prior"
    config.components = 2 if is_smoke else 8
    config.least_spread_degrees = 3.0
    config.people = 1500 if is_smoke else 40_000
    config.held_out_people = 500 if is_smoke else 5_000
    config.frames_per_second = 30.0
    config.seed = 0
    return config
