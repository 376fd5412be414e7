"""People of labels recovered anew from their keypoints alone: what the scores of their feet and hands compare with."""

import jax
import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase.part_scores import SecondOpinion
from hardmo_jax.observations import Observations
from hardmo_jax.recovery import lift as lifting
from hardmo_jax.recovery.lift_and_fit import lift_and_fit
from hardmo_jax.recovery.starts import StartOptions

#: People are recovered in groups of this size, or of a few: programs for sizes between would take longer to compile
#: than they save.
PEOPLE_AT_ONCE = 256
_A_GROUP = 16


def second_opinion(body: BodyModel, observations: Observations) -> SecondOpinion:
    """What keypoints alone say of people: the lifter's guess, and the fit from there.

    Args:
        body: Model with landmarks.
        observations: Of N people, along one axis.
    """
    (count,) = observations.batch_shape
    rows = np.arange(count)
    if _A_GROUP < count < PEOPLE_AT_ONCE:
        rows = np.minimum(np.arange(PEOPLE_AT_ONCE), count - 1)
    some = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], observations)
    lifted, precision = lifting.lift(body, some)
    fitted = lift_and_fit(body, some, start=StartOptions()).result.params
    lifted, params = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], (lifted, fitted))
    return SecondOpinion(guess=lifting.guess_of(lifted, precision), params=params)
