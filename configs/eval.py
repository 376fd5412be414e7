"""Evaluation on people whose truth is known: the poster's tables for what users get, beside a plain baseline.

Command:  python -m tools.eval
Hardware: a laptop; 2 cores take a minute and a half from a stored benchmark.
Expected: see docs/evaluation.md.
Variants: `full`; `everything` adds clips and the sets in which detectors fail; `smoke`, a few people, for tests.

Rows: `zero_start` is SMPLify (Bogo et al., ECCV 2016) by this engine: starts at rest, facing the camera and away;
`default` is what `tools.annotate` does (configs/normal.py).
"""

from typing import Any

from ml_collections import config_dict

from configs import mocap_hard, normal

_STRESS = ("stress_swaps", "stress_limb_lost", "stress_truncated", "stress_noise_doubled", "stress_focal_length")


def _method(name: str) -> config_dict.ConfigDict:
    """A row of the tables."""
    headings: Any = normal.get_config("headings")
    normal_config: Any = normal.get_config()
    start, fit = normal_config.start, normal_config.fit
    if name == "zero_start":
        start, fit = headings.start, headings.fit
        fit.yaw_starts = 2  # facing the camera, and facing away
        fit.prior = "written"
    if name in ("lifter", "lifter_fit"):
        start.hypotheses = ("guess_1",)
    if name == "lifter":
        fit.refine = (config_dict.create(iterations=1, free=()),)  # nothing moves
    return config_dict.create(name=name, start=start, fit=fit)


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.eval`."""
    if variant not in ("full", "everything", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/eval.py; known: full, everything, smoke")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.prepare = mocap_hard.get_config("smoke" if is_smoke else "full")
    config.protocol = "hardmo"  # 4dhumans, 3dpw14, smpl24
    config.methods = tuple(_method(name) for name in ("zero_start", "lifter", "lifter_fit", "multi_start"))
    config.sets = ("test", "foot_p1") if is_smoke else ("test", "hand_p1", "hand_p2", "foot_p1", "foot_p2")
    config.last_method_sets = (*_STRESS, "video", "video_correlated") if variant == "everything" else ()
    config.limit = config_dict.placeholder(int)  # samples of each set at most
    config.num_resamples = 10_000
    return config
