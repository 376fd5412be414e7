"""Training of the motion lifter that ships with the package, for `tools.train`.

Variants: `full` (an hour on two cores), `smoke` (half a minute, for tests).
"""

from ml_collections import config_dict


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.train`."""
    if variant not in ("full", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/train_motion.py; known: full, smoke")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.kind = "motion_lifter"
    config.network = config_dict.create(
        width=32 if is_smoke else 304,
        hidden=32 if is_smoke else 608,
        gaps=(1, 2) if is_smoke else (1, 2, 4, 8),
    )
    config.samples = config_dict.create(frames=12 if is_smoke else 40)
    config.loop = config_dict.create(
        steps=20 if is_smoke else 13_000,
        batch=8 if is_smoke else 24,  # clips a step
        learning_rate=1e-3,
        warmup_steps=10 if is_smoke else 300,
        weight_decay=0.01,
        average_decay=0.9 if is_smoke else 0.9995,
        report_every=10 if is_smoke else 100,
        checkpoint_every=10 if is_smoke else 1000,
        seed=0,
    )
    config.loss = config_dict.create(velocity=20.0, travel=4.0, contact=0.1)
    config.calibration_clips = 16 if is_smoke else 768
    config.frames_per_second = 30.0
    return config
