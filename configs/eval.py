"""Evaluation on people whose truth is known: the poster's tables for what users get, beside a plain baseline.

Command:  python -m tools.eval
Hardware: a laptop; 2 cores take some minutes from a stored benchmark.
Expected: see docs/evaluation.md.
Variants: `full`; `everything` adds clips and the sets in which detectors fail; `ablation` leaves out a term or a start
at a time; `clips` is about video alone; `smoke`, a few people, for tests.

Rows: `zero_start` is SMPLify (Bogo et al., ECCV 2016) by this engine: starts at rest, facing the camera and away, the
written prior; `lifter` is the network's first guess, untouched; `lifter_fit` a fit that starts there and is drawn
there; `multi_start` several starts of which the ranker takes one, and a second look; `second_look`, the default of
`tools.annotate` for photos (configs/normal.py), the lifter's first guess and a second look; `over_time`, its default
for video, all frames of a clip together, which is scored on clips alone.
"""

from typing import Any

from ml_collections import config_dict

from configs import mocap_hard, normal

_STRESS = ("stress_swaps", "stress_limb_lost", "stress_truncated", "stress_noise_doubled", "stress_focal_length")


#: What each row of the ablation changes, in the fit from the lifter's first guess.
_ABLATIONS: dict[str, dict[str, Any]] = {
    "without_guess": {"guess": 0.0},
    "without_pose_prior": {"pose_prior": 0.0},
    "without_shape_prior": {"shape_prior": 0.0},
    "without_joint_limits": {"joint_limits": 0.0},
    "half_guess": {"guess": 0.7},
    "double_guess": {"guess": 1.4},
}
_PRIORS = ("gaussian", "written")
_METHODS = ("zero_start", "lifter", "lifter_fit", "multi_start", "second_look")
_CLIPS = ("video", "video_correlated")


def _method(name: str) -> config_dict.ConfigDict:
    """A row of the tables."""
    headings: Any = normal.get_config("headings")
    normal_config: Any = normal.get_config()
    start, fit = normal_config.start, normal_config.fit
    if name.startswith(("zero_start", "headings")):
        start, fit = headings.start, headings.fit
    # Whether clips are looked at over time is the method's; cameras are fixed.
    del fit.temporal, fit.camera_is_fixed, fit.longest_take
    if name == "zero_start":
        fit.yaw_starts = 2  # facing the camera, and facing away
        fit.prior = "written"
    if name.startswith("multi_start"):
        left_out = {"multi_start_without_swaps": "swapped", "multi_start_without_plain": "plain"}.get(name, "none")
        start.hypotheses = tuple(start for start in normal.HYPOTHESES if not start.startswith(left_out))
    elif start.kind == "lifter":
        start.hypotheses = ("guess_1",)
        start.second_look = name in ("second_look", "over_time")
    if name == "lifter":
        fit.refine = (config_dict.create(iterations=1, free=()),)  # nothing moves
    for stage in fit.refine:
        stage.update(_ABLATIONS.get(name, {}))
    if name.startswith("prior_"):
        fit.prior = name.removeprefix("prior_")
    return config_dict.create(name=name, start=start, fit=fit, is_over_time=name == "over_time")


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.eval`."""
    if variant not in ("full", "everything", "ablation", "clips", "smoke"):
        raise ValueError(
            f"unknown variant {variant!r} of configs/eval.py; known: full, everything, ablation, clips, smoke"
        )
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.prepare = mocap_hard.get_config("smoke" if is_smoke else "full")
    config.protocol = "hardmo"  # 4dhumans, 3dpw14, smpl24
    names = ("zero_start", "second_look") if is_smoke else _METHODS
    if variant == "ablation":
        names = (
            *_METHODS[:2], "headings", *(f"prior_{prior}" for prior in _PRIORS), *_ABLATIONS,
            "multi_start_without_swaps", "multi_start_without_plain", *_METHODS[2:],
        )  # fmt: skip
    if variant == "clips":
        names = ("second_look", "over_time")
    if variant == "everything":
        names = (*_METHODS, "over_time")
    config.methods = tuple(_method(name) for name in names)
    config.sets = ("test", "foot_p1") if is_smoke else ("test", "hand_p1", "hand_p2", "foot_p1", "foot_p2")
    if variant in ("ablation", "clips"):
        config.sets = ("test",) if variant == "ablation" else _CLIPS
    config.last_methods = 3 if variant == "everything" else 2
    config.last_method_sets = (*_STRESS, *_CLIPS) if variant == "everything" else ()
    config.limit = config_dict.placeholder(int)  # samples of each set at most
    config.num_resamples = 10_000
    return config
