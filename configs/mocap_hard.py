"""Benchmarks whose truth is nobody's pseudo-label: MocapHard, from motion capture, and SynthHard, from written poses.

Command:  python -m tools.prepare --config=configs/mocap_hard.py
Hardware: a laptop; 2 cores take 40 seconds for `full`, less for `synth_hard`.
Expected: 1,500 test people (500 a style), 300 for validation, 60 clips of 30 frames, the hand and foot sets in two
    difficulties, six sets in which the detector or the camera fails; the same files for the same seed.
Variants: `full`; `synth_hard`, which needs no motion capture; `smoke` and `synth_smoke`, a few people, for tests.

Numbers of cameras, noise and shapes are part of the benchmark: changing one makes another benchmark.
"""

from ml_collections import config_dict

_VARIANTS = ("full", "synth_hard", "smoke", "synth_smoke")


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.prepare`."""
    if variant not in _VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/mocap_hard.py; known: {', '.join(_VARIANTS)}")
    is_smoke = variant.endswith("smoke")
    config = config_dict.ConfigDict()
    config.benchmark = "synth_hard" if variant.startswith("synth") else "mocap_hard"
    config.seed = 0
    config.frames_per_second = 3.0 if is_smoke else 30.0
    config.test_frames = 8 if is_smoke else 500  # a style
    config.validation_frames = 4 if is_smoke else 100
    config.test_windows = 2 if is_smoke else 20
    config.window_frames = 5 if is_smoke else 30
    config.tail_frames = 6 if is_smoke else 300  # of each difficulty
    config.tail_shares = (0.05, 0.15)  # P1 up to the first, P2 up to the second
    # degrees beyond the joint limits: markers were mixed up
    config.soundness = config_dict.create(feet_within_degrees=5.0, others_within_degrees=20.0)
    config.staging = config_dict.create(
        shape=config_dict.create(first_spread=1.06, spread=1.0),  # heights of 1.70 +- 0.10 m
        viewpoint=config_dict.create(
            pitch_degrees=(-15.0, 25.0),
            roll_spread_degrees=5.0,
            distance=(3.0, 8.0),
            vertical_field_of_view_degrees=(30.0, 70.0),
            image_size=(1280, 720),
        ),
        noise=_noise(),
    )
    config.stress = config_dict.create(
        swaps=_noise(swap_all=0.04, swap_legs=0.04),
        limb_lost=_noise(lose_limb=0.4),
        truncated=_noise(cut=1.0),
        noise_doubled=_noise(body_spread=0.02, extremity_spread=0.03),
        wrong_focal_length=1.2,
        frame_correlation=0.85,
    )
    return config


def _noise(**changes: float) -> config_dict.ConfigDict:
    """The detector; lengths are shares of the longest side of the person's box."""
    noise = config_dict.create(
        body_spread=0.010, extremity_spread=0.015, person_log_spread=0.4, missing=0.05, gross=0.02, gross_reach=0.35
    )
    for name, value in changes.items():
        noise[name] = value
    return noise
