"""What a fit is asked to do: options, and the stages it goes through, as hashable values."""

import dataclasses
from typing import Literal, get_args

#: Groups of parameters that a stage can free.
GROUPS = ("transl", "global_orient", "betas", "body_pose", "hand_pose")

Solver = Literal["levenberg_marquardt", "adam", "lbfgs"]
PosePriorName = Literal["mixture", "gaussian", "written"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of iterations with fixed weights. Residuals are in standard deviations, so weights are near 1."""

    iterations: int
    """Number of solver steps."""
    free: tuple[str, ...] = GROUPS
    """Parameter groups that move."""
    keypoints_2d: float = 1.0
    """Weight of the reprojection residuals."""
    keypoints_3d: float = 1.0
    """Weight of the 3D keypoint residuals, where there are any."""
    hands: float = 1.0
    """Further factor on finger points. Two hands have 42 of them: until the body is in place they would outvote it."""
    pose_prior: float = 1.0
    """Weight of the pose prior."""
    hand_prior: float = 1.0
    """Further factor on the pose prior of fingers."""
    shape_prior: float = 1.0
    """Weight of the shape prior."""
    joint_limits: float = 1.0
    """Weight of the joint limits."""
    guess: float = 1.0
    """Weight of the distance from a guess (`hm.Guess`), where the fit starts from one."""
    pose_density: float = 1.0
    """Weight of the residuals of a density (`hm.PoseDensity`), where there is one; 0 brings the usual prior back."""
    robust_scale: float = 0.1
    """Geman-McClure scale of the reprojection error, in box sides: errors far beyond it count as outliers."""
    converged_below: float = 1e-4
    """Levenberg-Marquardt ends the stage after two steps that change the cost by less than this share of it, without a
    larger one between them. For the other solvers it only decides at the end whether a fit counts as converged: ten
    times as much over three iterations."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.free) - set(GROUPS))
        if unknown:
            raise ValueError(f"`free` names unknown groups {unknown}; known: {', '.join(GROUPS)}")
        if self.iterations < 1:
            raise ValueError(f"`iterations` must be at least 1, got {self.iterations}")
        if self.pose_density < 0:
            raise ValueError(f"`pose_density` must not be negative, got {self.pose_density}")
        if self.converged_below < 0:
            raise ValueError(f"`converged_below` must not be negative, got {self.converged_below}")
        if self.robust_scale <= 0:
            raise ValueError(f"`robust_scale` must be positive, got {self.robust_scale}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartWeights:
    """Factor on the residuals of each part, so the cost has its square: how much nearer than usual keypoints are."""

    body: float = 1.0
    """COCO-like body points."""
    hips: float = 0.5
    """Hips: annotators and SMPL mean different places."""
    face: float = 0.5
    """Nose, eyes, ears."""
    feet: float = 1.25
    """Toes and heels."""
    hands: float = 1.5
    """Finger points: hands are small in the box, and their keypoints are precise within it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Options of `hm.fit`. Hashable values."""

    solver: Solver = "levenberg_marquardt"
    """Second-order by default; Adam and L-BFGS for comparison, and for residuals of one's own that are many."""
    yaw_starts: int = 4
    """Headings tried per person; with 3D keypoints one more start takes its heading from them."""
    explore: tuple[Stage, ...] = (
        Stage(iterations=3, free=("transl", "global_orient"), hands=0.0, robust_scale=0.5),
        Stage(iterations=8, hands=0.0, pose_prior=2.0, joint_limits=0.3, robust_scale=0.5),
    )
    """Stages run from every start; the start with the lowest cost goes on. A wide robust scale and soft limits
    keep limbs from getting stuck on the wrong side."""
    refine: tuple[Stage, ...] = (
        Stage(iterations=5, hands=0.1, robust_scale=0.3),
        Stage(iterations=5, hands=0.4, robust_scale=0.15),
        Stage(iterations=24, pose_prior=0.5, shape_prior=0.7, robust_scale=0.08),
    )
    """Stages run from the best start."""
    prior: PosePriorName = "written"
    """`mixture` and `gaussian` are learnt from motion capture, with several Gaussians or one for each part of the body;
    `written` is a wide diagonal Gaussian read off anatomy."""
    keypoints_2d_spread: float = 0.005
    """Standard deviation of a body keypoint, in box sides."""
    keypoints_3d_spread: float = 0.01
    """Standard deviation of a 3D keypoint, metres."""
    joint_limit_spread: float = 0.05
    """Overstepping of a joint limit that costs as much as one standard deviation, radians."""
    part_weights: PartWeights = PartWeights()
    """Weights by part."""
    min_confidence: float = 0.2
    """Keypoints below this are not used."""
    min_keypoints: int = 5
    """People with fewer usable body keypoints get the status NO_EVIDENCE."""
    learning_rate: float = 0.02
    """Step of Adam; with that solver and with L-BFGS an iteration of a stage is `adam_steps_per_iteration` steps."""
    adam_steps_per_iteration: int = 10
    """First-order steps for one Levenberg-Marquardt iteration: about the same time."""
    slots: int | None = None
    """People worked on at once by one thread or device; None takes 16 on a CPU, where their matrices should stay in the
    cache, and 4096 elsewhere. Memory grows with it and not with the number of people."""
    max_batch: int = 1024
    """People handed to one call of the solver; larger batches are cut, smaller ones padded to a power of four:
    each size is compiled once. Padding costs nothing with Levenberg-Marquardt; other solvers compute it."""

    def __post_init__(self) -> None:
        if self.solver not in get_args(Solver):
            raise ValueError(f"unknown solver {self.solver!r}; known: {', '.join(get_args(Solver))}")
        if self.prior not in get_args(PosePriorName):
            raise ValueError(f"unknown prior {self.prior!r}; known: {', '.join(get_args(PosePriorName))}")
        if self.slots is not None and self.slots < 1:
            raise ValueError(f"`slots` must be at least 1, got {self.slots}")
        for name in ("yaw_starts", "adam_steps_per_iteration", "max_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if not self.explore or not self.refine:
            raise ValueError("`explore` and `refine` need at least one stage each")
        if min(self.keypoints_2d_spread, self.keypoints_3d_spread, self.joint_limit_spread) <= 0:
            raise ValueError("spreads must be positive")
