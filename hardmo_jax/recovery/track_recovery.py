"""What a track is recovered with, and a track that is recovered in one go."""

import dataclasses
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Bool, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting import evidence
from hardmo_jax.fitting.fit_motion import MotionOptions, fit_motion
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.result import FitResult
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.networks.motion_lifter_file import TrainedMotionLifter
from hardmo_jax.observations import Observations
from hardmo_jax.recovery.lift import seen_by_the_fit
from hardmo_jax.recovery.lift_motion import LiftedMotion, lift_motion, with_betas
from hardmo_jax.recovery.regressor_start import RegressorStart, rows_of_start, with_lifted
from hardmo_jax.recovery.starts import read_as
from hardmo_jax.recovery.track_sides import settle_sides


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecoveredMotion:
    """A track and what is known of its feet."""

    result: FitResult
    """Of all frames; betas are the same in all."""
    stands: Float[AnyArray, "T 4"]
    """Probability that each of `layouts.CONTACT_POINTS` stands on the ground."""
    keypoint_order: Int[AnyArray, "T K"]
    """Which measured keypoint was taken for each point of the layout: others than its own in frames in which left and
    right were taken for exchanged."""
    is_from_lifter: Bool[np.ndarray, "T"] | None = None
    """Where a regressor was asked, in which frames the lifter's guess was taken all the same; None where none was."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackRecovery:
    """What every part of a track is recovered with."""

    body: BodyModel
    """Model with landmarks."""
    frames_per_second: float
    """Of the track."""
    camera_is_fixed: bool
    """Whether standing feet are locked."""
    options: FitOptions
    """Weights of each frame."""
    motion_options: MotionOptions
    """How frames are tied together."""
    trained: TrainedLifter
    """Of single frames."""
    trained_motion: TrainedMotionLifter
    """Of frames together."""
    regressed: RegressorStart | None = None
    """What a regressor says of all frames of the track, in place of the lifter's guesses."""

    def ready(self, observations: Observations) -> Observations:
        """Frames as the fit sees them: one box and camera each, and without keypoints that are not used.

        Raises:
            ObservationError: As `hm.fit`.
        """
        evidence.flatten(observations)  # what is wrong is refused before it is changed
        batch = observations.batch_shape
        observations = seen_by_the_fit(_without_nan(observations), self.options.min_confidence)
        if observations.bbox is not None:
            observations = dataclasses.replace(observations, bbox=np.broadcast_to(observations.bbox, (*batch, 4)))
        camera = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (*batch, 2)), observations.camera)
        return dataclasses.replace(observations, camera=camera)

    def lift(self, observations: Observations, rows: Int[np.ndarray, "N"] | None = None) -> LiftedMotion:
        """Guesses of frames one after the other.

        Args:
            observations: Of N frames.
            rows: Which frames of the track they are; None for all of them.
        """
        lifted = lift_motion(
            self.body,
            observations,
            frames_per_second=self.frames_per_second,
            trained=self.trained,
            trained_motion=self.trained_motion,
        )
        if self.regressed is None:
            return lifted
        some = self.regressed if rows is None else rows_of_start(self.regressed, rows)
        guess = with_lifted(some, lifted.guess)
        betas = _one_shape(self.regressed) if self.regressed.knows_shape else None
        if betas is not None:
            guess = dataclasses.replace(guess, params=with_betas(self.body, guess.params, betas))
        return LiftedMotion(guess=guess, stands=lifted.stands)

    def fit(
        self, observations: Observations, guess: Guess, stands: Float[np.ndarray, "T 4"], **changes: Any
    ) -> FitResult:
        """Fit frames that are ready; a change is an argument of `fit_motion`."""
        given = {"options": self.options, "motion_options": self.motion_options, **changes}
        locked = stands if self.camera_is_fixed else None
        rate = self.frames_per_second
        return fit_motion(self.body, observations, guess, frames_per_second=rate, stands=locked, **given)

    def recover(self, observations: Observations) -> RecoveredMotion:
        """Recover a track of which everything is held in memory at once.

        Raises:
            ObservationError: As `hm.fit`.
        """
        observations = self.ready(observations)
        lifted = self.lift(observations)
        order = settle_sides(self.body, observations, lifted.guess.params)
        if (order != np.arange(order.shape[1])).any():
            observations = read_as(observations, np.arange(len(order)), order)
            lifted = self.lift(observations)
        stands = np.asarray(lifted.stands)
        result = self.fit(observations, lifted.guess, stands)
        return RecoveredMotion(result=result, stands=stands, keypoint_order=order)


def _one_shape(start: RegressorStart) -> Float[np.ndarray, "S"] | None:
    """Mean shape of the frames of a track in which a network saw the person; None if there are none."""
    if not start.is_usable.any():
        return None
    return np.asarray(start.guess.params.betas, np.float64)[start.is_usable].mean(0)


def _without_nan(observations: Observations) -> Observations:
    """Keypoints that are not numbers as keypoints that were not found."""
    points = np.asarray(observations.keypoints_2d)
    if observations.keypoints_2d is None or np.isfinite(points).all():
        return observations
    is_number = np.asarray(np.isfinite(points).all(-1))
    confidence = np.ones(is_number.shape) if observations.confidence is None else np.asarray(observations.confidence)
    return dataclasses.replace(
        observations,
        keypoints_2d=np.where(is_number[..., None], points, 0),
        confidence=np.where(is_number, confidence, 0),
    )
