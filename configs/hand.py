"""The Hardcase Annotation stage for hands: find the labels whose hands are wrong, and repair them.

Command:  python -m tools.refine --subset=hand --input=out/annotate
Hardware: a laptop; about a hundred labels a second on 2 cores, most of it the second opinion; close-ups take longer.
Expected: on labels with planted errors nearly all hands that are replaced had been wrong; see docs/hardcases.md.
Variants: `full`, and `smoke` (three close-ups) for tests.

The limits of HardMo's authors are not known. These are ours, chosen on planted errors.
"""

from ml_collections import config_dict

#: Probability of being wrong from which a hand is mined, and replaced if it is better solved anew.
MIN_PROBABILITY = 0.9


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.refine`."""
    if variant not in ("full", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/hand.py; known: full, smoke")
    config = config_dict.ConfigDict()
    config.subset = "hand"
    config.again = False  # solve those once more that were no better before, as after a change of the gate
    config.body = config_dict.create(
        model="open_body",  # or the path of the file that the labels were made with
        view="smplh",  # `smpl`: 24 joints, hands rigid
    )
    config.mine = config_dict.create(
        min_probability=MIN_PROBABILITY,
        most_body_error=0.03,  # of the box: bodies up to it are right
        least_confidence=0.5,  # mean of the points of the hand that were seen
        apart_seconds=0.5,  # the same hand of the same person is taken once in this time
        most_per_video=200,
        most_per_category=config_dict.placeholder(int),  # all
    )
    config.gate = config_dict.create(
        least_fall=0.3,  # share by which the distance from its keypoints must fall
        least_turn_degrees=12.0,  # smaller turns are within the error of the solve
    )
    config.vote = config_dict.create(
        seconds=0.1,  # frames of a video within this vote
        run_seconds=0.5,
        most_degrees=35.0,  # a repaired wrist may be this far from the median of its run
    )
    config.fusion = config_dict.create(  # of --second_source
        most_apart=0.1,  # box sides: mean distance of body points of one person in both
        most_base_apart=0.06,  # box sides: of the two wrists
        least_confidence=0.4,  # mean of the points of a hand that the second source saw
    )
    config.close_ups = config_dict.create(
        most=3 if variant == "smoke" else 200,
        most_on_sheet=40,
        renderer="auto",  # gl, painter, or gl where there is one
    )
    return config
