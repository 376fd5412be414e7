"""Made samples of crops with labels, as a loader gives them, and an endless loader of them."""

import numpy as np


def made_samples(count, shape=(224, 224), seed=0):
    rng = np.random.default_rng(seed)

    def draw(*rest):
        return rng.normal(size=(count, *rest))

    sample = {
        "image": draw(*shape, 3), "keypoints_2d": 0.2 * draw(44, 2), "confidence_2d": rng.uniform(size=(count, 44)),
        "keypoints_3d": 0.5 * draw(44, 3), "confidence_3d": rng.uniform(size=(count, 44)),
        "global_orient": draw(3), "body_pose": 0.3 * draw(23, 3), "betas": draw(10), "has_pose": np.ones(count),
        "has_betas": np.ones(count), "box_center": np.full((count, 2), 300.0), "box_size": np.full(count, 200.0),
        "image_size": np.full((count, 2), 600.0), "focal_length": np.full(count, 700.0), "weight": np.ones(count),
        "fingertips_2d": 0.2 * draw(10, 2), "fingertips_confidence_2d": np.ones((count, 10)),
        "fingertips_3d": 0.5 * draw(10, 3), "fingertips_confidence_3d": np.ones((count, 10)),
    }  # fmt: skip
    return {name: np.asarray(value, np.float32) for name, value in sample.items()}


class MadeLoader:
    """Batches by number, with a state as grain's."""

    def __init__(self, count, shape=(224, 224), bad=None):
        self._count, self._shape, self._bad, self._number = count, shape, bad, 0

    def __next__(self):
        sample = made_samples(self._count, self._shape, seed=self._number)
        if self._number == self._bad:
            sample["keypoints_2d"][0, 0] = np.inf
        self._number += 1
        return sample

    def get_state(self):
        return {"next": self._number}

    def set_state(self, state):
        self._number = state["next"]
