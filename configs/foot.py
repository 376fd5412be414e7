"""The Hardcase Annotation stage for feet: find the labels whose feet are wrong, and repair them.

Command:  python -m tools.refine --subset=foot --input=out/annotate
Hardware: a laptop; about a hundred labels a second on 2 cores, most of it the second opinion; close-ups take longer.
Expected: on labels with planted errors nearly all feet that are replaced had been wrong; see docs/hardcases.md.
Variants: `full`, and `smoke` (three close-ups) for tests.

The limits are those of hands (configs/hand.py): of ankles where these are of wrists.
"""

from ml_collections import config_dict

from configs import hand


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.refine`."""
    if variant not in ("full", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/foot.py; known: full, smoke")
    config = hand.get_config(variant)
    config.subset = "foot"
    return config
