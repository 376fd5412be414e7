"""Training of the lifter that ships with the package, for `tools.train`.

Variants: `full` (an hour on two cores), `smoke` (half a minute, for tests).
"""

from ml_collections import config_dict


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.train`."""
    if variant not in ("full", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/train_lifter.py; known: full, smoke")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.kind = "lifter"
    config.network = config_dict.create(
        width=64 if is_smoke else 704,
        blocks=1 if is_smoke else 3,
        guesses=4,
    )
    config.loop = config_dict.create(
        steps=60 if is_smoke else 11_000,
        batch=128 if is_smoke else 1024,  # people a step
        learning_rate=1.2e-3,
        warmup_steps=20 if is_smoke else 400,
        weight_decay=0.01,
        average_decay=0.9 if is_smoke else 0.9995,
        report_every=20 if is_smoke else 100,
        checkpoint_every=20 if is_smoke else 1000,
        seed=0,
    )
    config.loss = config_dict.create(
        rotation=1.5, ends=2.5, root_rotation=3.0, joints=12.0, place=1.0, shape=0.1, hands=0.3, other_guesses=0.3
    )
    config.calibration_people = 512 if is_smoke else 30_000
    config.frames_per_second = 30.0
    return config
