"""Training of the ranker that ships with the package, for `tools.train`; after the lifter, whose fits it ranks.

Variants: `full`, and `smoke` for tests.
"""

from ml_collections import config_dict


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.train`."""
    if variant not in ("full", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/train_ranker.py; known: full, smoke")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.kind = "ranker"
    config.people = 64 if is_smoke else 16_000
    config.batch = 64 if is_smoke else 500
    config.hidden = 8 if is_smoke else 48
    config.steps = 50 if is_smoke else 3_000
    config.frames_per_second = 30.0
    config.seed = 0
    return config
