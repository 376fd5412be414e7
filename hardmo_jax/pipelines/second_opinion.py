"""People of labels recovered anew from their keypoints alone: what the scores of their feet and hands compare with."""

import jax
import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase.part_scores import SecondOpinion
from hardmo_jax.observations import Observations
from hardmo_jax.recovery import lift as lifting
from hardmo_jax.recovery.lift_and_fit import lift_and_fit
from hardmo_jax.recovery.starts import StartOptions


def second_opinion(body: BodyModel, observations: Observations) -> SecondOpinion:
    """What keypoints alone say of people: the lifter's guess, and the fit from there."""
    lifted, precision = lifting.lift(body, observations)
    fitted = lift_and_fit(body, observations, start=StartOptions()).result.params
    guess = jax.tree.map(np.asarray, lifting.guess_of(lifted, precision))
    return SecondOpinion(guess=guess, params=jax.tree.map(np.asarray, fitted))
