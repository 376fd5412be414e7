"""Training of the scorer of feet and hands that ships with the package, for `tools.train`; after the lifter.

Command:  python -m tools.train --config=configs/train_part_scorer.py
Hardware: a laptop; 2 cores take some minutes.
Expected: areas under the ROC curve of people set aside above 0.98.
Variants: `full`, and `smoke` for tests.
"""

from ml_collections import config_dict


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.train`."""
    if variant not in ("full", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/train_part_scorer.py; known: full, smoke")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.kind = "part_scorer"
    config.people = 60 if is_smoke else 8_000
    config.plantings = 1 if is_smoke else 2
    config.hidden = 4 if is_smoke else 16
    config.members = 1 if is_smoke else 3
    config.steps = 50 if is_smoke else 3_000
    config.frames_per_second = 30.0
    config.seed = 0
    return config
