"""The loop: annotate, repair hands and feet, train a network on that, and annotate from it again.

Command:  python -m tools.loop --config=configs/loop.py --input=photos
          python -m tools.loop --config=configs/loop.py:smoke
Hardware: `full` trains a network for days on a GPU; `smoke` takes minutes on two cores.
Expected: out/loop with `store/labels.parquet`, a folder for each round, and `table.txt`; see docs/training.md.
Variants: `full`; `smoke`: two rounds, a few rendered people, a small network and 60 steps a round, to see that it runs.

Sections are those of configs/render.py, normal.py, hand.py, foot.py and train_hmr.py, and what these say stands; body
and number of people are told in one place: `annotate.body` and `people`. Labels of `smoke` rest on body keypoints
alone, as those of most methods do, so that there are hands and feet to repair.
"""

from typing import cast

from ml_collections import config_dict

from configs import foot, hand, normal, render
from configs.train_hmr import regressor_config

VARIANTS = ("full", "smoke")


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.loop`."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/loop.py; known: {', '.join(VARIANTS)}")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.rounds = 2 if is_smoke else 3
    config.people = 32 if is_smoke else 2_000  # rendered where there is no --input
    config.goes_on_training = True  # the network of a round begins as that of the round before
    config.least_labels = 16  # fewer teach nothing
    config.render = render.get_config(variant)
    config.annotate = normal.get_config(variant)
    config.hand = hand.get_config(variant)
    config.foot = foot.get_config(variant)
    config.train = regressor_config("hmr" if is_smoke else "hmr2", variant)
    del config.train.kind
    if is_smoke:
        changes = {
            "render.poses": "written",  # hard ones at once; motion capture takes minutes to be read
            "annotate.output.overlay": False,
            "annotate.fit.part_weights.feet": 0.0,
            "annotate.fit.part_weights.hands": 0.0,
            "train.run.steps": 60,
        }
        config.update_from_flattened_dict(changes)
    # One body for all stages, and one number of people.
    config.render.people = config.get_ref("people")
    body = cast(config_dict.ConfigDict, config.annotate.body)
    config.hand.body, config.foot.body = (
        config_dict.ConfigDict({name: body.get_ref(name) for name in body}) for _ in range(2)
    )
    config.train.body_model = body.get_ref("model")
    return config
