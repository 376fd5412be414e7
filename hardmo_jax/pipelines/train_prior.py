"""Training of the pose prior: mixtures over the parts of the body, from the poses that the lifter learns from."""

import dataclasses
import pathlib

import numpy as np

from hardmo_jax.data.pose_mixing import MixingOptions, PoseMixer
from hardmo_jax.fitting import pose_mixture
from hardmo_jax.labels import provenance
from hardmo_jax.pipelines import training_poses, training_runs
from hardmo_jax.pipelines.training_poses import Progress
from hardmo_jax.skeleton import joint_limits, layouts
from hardmo_jax.training import mixture


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainPriorOptions:
    """What is learnt."""

    mixing: MixingOptions = MixingOptions(noise_degrees=4.0, free_ankle=0.1, free_toes=0.3)
    components: int = 8
    """Gaussians of each part."""
    least_spread_degrees: float = 3.0
    """Added to every direction: nobody is certain to less."""
    people: int = 40_000
    held_out_people: int = 5_000
    """Further poses by which mixtures are compared."""
    frames_per_second: float = 30.0
    seed: int = 0


def train_prior(
    options: TrainPriorOptions, output_dir: pathlib.Path, *, mocap: pathlib.Path, progress: Progress | None = None
) -> tuple[pathlib.Path, str, list[tuple[str, float, float]]]:
    """Fit the mixtures and write them to `pose_prior.npz`.

    Args:
        options: What to learn.
        output_dir: Folder.
        mocap: Folder of motion capture.
        progress: Told the stage, what is done, and of how much.

    Returns:
        The file, its SHA-256, and by part the mean logarithm of the density of poses drawn anew from the same takes,
        under one Gaussian and under the mixture.

    Raises:
        PrepareError: If there is no motion capture.
    """
    report = progress or (lambda stage, done, total: None)
    pool, pool_path = training_poses.collect_poses(
        mocap, output_dir, frames_per_second=options.frames_per_second, progress=progress
    )
    mixer = PoseMixer(pool, options.mixing, seed=options.seed)
    rng = np.random.default_rng([options.seed, 2])
    learnt, held_out = mixer.draw(rng, options.people), mixer.draw(rng, options.held_out_people)
    mixtures, scores = {}, []
    for done, (part, joints) in enumerate(pose_mixture.PARTS.items()):
        report("mixtures", done, len(pose_mixture.PARTS))
        values, unseen = _of_part(learnt, joints), _of_part(held_out, joints)
        least = np.radians(options.least_spread_degrees)
        found = mixture.fit_mixture(rng, values, options.components, least_spread=least)
        mixtures[part] = found
        scores.append((part, mixture.mean_log_density(found.as_one(), unseen), mixture.mean_log_density(found, unseen)))
    report("mixtures", len(pose_mixture.PARTS), len(pose_mixture.PARTS))
    record = training_runs.record_of(
        options,
        pool,
        poses_sha256=provenance.file_sha256(pool_path),
        held_out_log_density={part: [one, many] for part, one, many in scores},
    )
    path = output_dir / "pose_prior.npz"
    return path, pose_mixture.save_mixtures(path, mixtures, record), scores


def _of_part(full_pose: np.ndarray, joints: tuple[str, ...]) -> np.ndarray:
    """Poses of a part; a part with sides has those of both, the right one mirrored."""
    own = full_pose[:, [layouts.SMPLH_JOINTS.index(joint) for joint in joints]]
    if not all(joint.startswith("left_") for joint in joints):
        return own.reshape(len(own), -1)
    other = [layouts.SMPLH_JOINTS.index(joint.replace("left_", "right_", 1)) for joint in joints]
    mirrored = full_pose[:, other] * np.array(joint_limits.MIRROR_SIGNS)
    return np.concatenate([own, mirrored]).reshape(2 * len(own), -1)
