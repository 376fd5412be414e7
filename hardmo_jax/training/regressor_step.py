"""One step of training a regressor: gradients over parts of a batch, an optimiser, an average of the weights.

The step is one program, and so is what many devices do together: a batch lies over a mesh, weights on every device, and
sums over the batch are sums over all (normalisation by batches too).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.hmr2_discriminator import Hmr2Discriminator
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.training import hmr2_loss, regressor_objective
from hardmo_jax.training.label_counts import LabelCounts
from hardmo_jax.training.regressor_objective import Compared, ComparedBody, LossKind, ObjectiveOptions, TrainingBatch

#: Axis of the mesh over which batches lie.
DATA_AXIS = "data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepOptions:
    """The optimiser, and how batches are taken."""

    learning_rate: float = 1e-5
    """Highest."""
    schedule: str = "constant"
    """`constant` as published, or `cosine`: to zero at the last step."""
    warmup_steps: int = 0
    weight_decay: float = 1e-4
    """AdamW's; 0 is Adam."""
    clip_norm: float = 0.0
    """Norm to which gradients are cut; 0 leaves them."""
    average_decay: float = 0.999
    """Of the average of the weights, which validation and export take; 0 takes the weights themselves."""
    accumulate: int = 1
    """Parts that a batch is cut into, one after the other, for its gradients to fit into memory."""
    discriminator_learning_rate: float = 1e-5
    discriminator_weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"`schedule` must be constant or cosine, got {self.schedule!r}")
        if not 0 <= self.average_decay < 1 or self.accumulate < 1 or not self.learning_rate > 0:
            raise ValueError(
                "`average_decay` must be in [0, 1), `accumulate` at least 1 and `learning_rate` above 0, got "
                f"{self.average_decay}, {self.accumulate} and {self.learning_rate}"
            )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressorState:
    """Everything that a step changes."""

    params: Any
    """What is learnt."""
    remembered: Any
    """Statistics of batches, and what is not learnt."""
    average: Any
    """Of the parameters."""
    optimizer: Any
    judge: Any
    """Parameters of the discriminator; None without one."""
    judge_optimizer: Any
    key: Any
    """Of what is drawn in steps."""
    step: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RealBodies:
    """Bodies of motion capture for the discriminator."""

    body_pose: Float[AnyArray, "M 23 3 3"]
    betas: Float[AnyArray, "M 10"]


def regressor_optimizer(options: StepOptions, steps: int) -> optax.GradientTransformation:
    """AdamW as published, with what is asked for beside it."""
    rate: Any = options.learning_rate
    if options.schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(0.0, rate, min(options.warmup_steps, steps - 1), steps)
    elif options.warmup_steps:
        rate = optax.linear_schedule(0.0, rate, options.warmup_steps)
    clip = [optax.clip_by_global_norm(options.clip_norm)] if options.clip_norm else []
    return optax.chain(*clip, optax.adamw(rate, weight_decay=options.weight_decay))


def start_state(
    regressor: Regressor, options: StepOptions, *, steps: int, seed: int, has_judge: bool = False
) -> RegressorState:
    """State before the first step.

    Args:
        regressor: Untrained, or converted from a checkpoint.
        options: Of steps.
        steps: Of the whole run.
        seed: Of what is drawn in steps, and of the discriminator.
        has_judge: Whether there is one.
    """
    # Copies: steps take the arrays of a state over, and the network given stays the caller's.
    params, remembered = jax.tree.map(jnp.copy, nnx.split_state(regressor.weights, nnx.Param, ...))
    judge = judge_optimizer = None
    if has_judge:
        judge = nnx.split(Hmr2Discriminator(policy=regressor.policy, rngs=nnx.Rngs(seed)))[1]
        judge_optimizer = _judge_optimizer(options).init(judge)
    return RegressorState(
        params=params,
        remembered=remembered,
        average=jax.tree.map(jnp.copy, params),
        optimizer=regressor_optimizer(options, steps).init(params),
        judge=judge,
        judge_optimizer=judge_optimizer,
        key=jax.random.key_data(jax.random.key(seed)),
        step=jnp.zeros((), jnp.int32),
    )


def trained_regressor(regressor: Regressor, state: RegressorState, *, averaged: bool = True) -> Regressor:
    """The network with the weights of a state."""
    weights = nnx.merge_state(state.average if averaged else state.params, state.remembered)
    return dataclasses.replace(regressor, weights=weights)


def _judge_optimizer(options: StepOptions) -> optax.GradientTransformation:
    return optax.adamw(options.discriminator_learning_rate, weight_decay=options.discriminator_weight_decay)


def _judge(regressor: Regressor, weights: Any) -> Any:
    graph = nnx.split(nnx.eval_shape(lambda: Hmr2Discriminator(policy=regressor.policy, rngs=nnx.Rngs(0))))[0]
    return nnx.merge(graph, weights)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A step as a function of its arguments; hashable, so that it is compiled once."""

    blank: Regressor
    """The network without weights."""
    options: StepOptions
    objective: ObjectiveOptions
    steps: int
    """Of the whole run."""

    def __call__(
        self, state: RegressorState, body: ComparedBody, batch: TrainingBatch, real: RealBodies | None
    ) -> tuple[RegressorState, dict[str, Array]]:
        """The state after a step, and what is reported.

        A step whose loss or gradient is no number changes nothing: `is_finite` is zero.
        """
        key, own = jax.random.split(jax.random.wrap_key_data(state.key))
        parts = self.options.accumulate
        loss_of = jax.value_and_grad(self._loss, has_aux=True)
        if parts == 1:
            (loss, (terms, remembered, fakes)), slope = loss_of(
                state.params, state.remembered, state.judge, body, batch, own, None
            )
        else:
            counts = regressor_objective.counts_of_batch(batch, body, self.objective, self._kind, parts=parts)
            pieces = jax.tree.map(lambda leaf: _cut(leaf, parts), batch)

            def piece(carry: Any, given: Any) -> tuple[Any, Any]:
                remembered, total = carry
                (loss, (terms, remembered, fakes)), slope = loss_of(
                    state.params, remembered, state.judge, body, given[0], given[1], counts
                )
                return (remembered, jax.tree.map(jnp.add, total, slope)), (loss, terms, fakes)

            none = jax.tree.map(jnp.zeros_like, state.params)
            (remembered, slope), (losses, each, fakes) = jax.lax.scan(
                piece, (state.remembered, none), (pieces, jax.random.split(own, parts))
            )
            scale = 1.0 if self._is_sum else 1.0 / parts
            slope = jax.tree.map(lambda leaf: scale * leaf, slope)
            loss, terms = scale * jnp.sum(losses), jax.tree.map(lambda leaf: scale * jnp.sum(leaf), each)
            fakes = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), fakes)
        norm = optax.global_norm(slope)
        updates, optimizer = regressor_optimizer(self.options, self.steps).update(slope, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        # The average starts as a plain mean: the first weights should not linger in it.
        decay = jnp.minimum(self.options.average_decay, (state.step + 1.0) / (state.step + 10.0))
        decay = decay if self.options.average_decay else 0.0
        average = jax.tree.map(lambda kept, new: kept * decay + new * (1 - decay), state.average, params)
        after = dataclasses.replace(
            state, params=params, remembered=remembered, average=average, optimizer=optimizer,
            key=jax.random.key_data(key), step=state.step + 1,
        )  # fmt: skip
        reported = {"loss": loss, "gradient_norm": norm, **terms}
        if state.judge is not None and real is not None:
            after, reported["discriminator"] = self._teach_judge(after, fakes, real)
        is_finite = jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(reported.get("discriminator", 0.0))
        after = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), after, state)
        return after, reported | {"is_finite": is_finite}

    @property
    def _kind(self) -> LossKind:
        return regressor_objective.LOSSES[self.blank.name]

    @property
    def _is_sum(self) -> bool:
        """Whether losses are sums over the batch, so that parts of it add up."""
        return self._kind == "hmr2"

    @property
    def _adversarial(self) -> float:
        """Weight of the discriminator's term."""
        return (self.objective.prohmr if self._kind == "prohmr" else self.objective.hmr2).adversarial

    def _loss(
        self,
        params: Any,
        remembered: Any,
        judge: Any,
        body: ComparedBody,
        batch: TrainingBatch,
        key: AnyArray,
        counts: LabelCounts | None,
    ) -> tuple[Float[Array, ""], Any]:
        # Taken apart and put together: statistics may be written to only where they were made.
        own = jax.tree.map(lambda leaf: leaf, remembered)
        regressor = dataclasses.replace(self.blank, weights=nnx.merge_state(params, own))
        loss, terms, compared, weights = regressor_objective.loss_of_batch(
            regressor, body, batch, key, self.objective, counts=counts
        )
        fakes = _fakes(compared)
        if judge is not None:
            adversarial = hmr2_loss.adversarial_term(_judge(self.blank, judge)(fakes.body_pose, fakes.betas))
            # Over the crops, however many bodies of each are judged.
            adversarial = adversarial * (len(fakes.betas) // len(batch.image))
            # Means of parts of a batch are added up as sums are.
            loss = loss + self._adversarial * adversarial / (self.options.accumulate if self._is_sum else 1)
            terms = terms | {"adversarial": adversarial / (self.options.accumulate if self._is_sum else 1)}
        kept = nnx.split_state(weights, nnx.Param, ...)[1]
        return loss, (terms, jax.lax.stop_gradient(kept), jax.lax.stop_gradient(fakes))

    def _teach_judge(
        self, state: RegressorState, fakes: RealBodies, real: RealBodies
    ) -> tuple[RegressorState, Float[Array, ""]]:
        def loss(weights: Any) -> Float[Array, ""]:
            judge = _judge(self.blank, weights)
            return hmr2_loss.discriminator_loss(
                judge(fakes.body_pose, fakes.betas), judge(real.body_pose, real.betas),
                dataclasses.replace(self.objective.hmr2, adversarial=self._adversarial),
            )  # fmt: skip

        value, slope = jax.value_and_grad(loss)(state.judge)
        updates, optimizer = _judge_optimizer(self.options).update(slope, state.judge_optimizer, state.judge)
        learnt = optax.apply_updates(state.judge, updates)
        return dataclasses.replace(state, judge=learnt, judge_optimizer=optimizer), value


def _fakes(compared: Compared) -> RealBodies:
    """Bodies of the network as the discriminator sees them, all of each crop: SMPL's 23 joints and ten betas."""
    output = compared.output if compared.every is None else compared.every
    pose = output.body_pose.reshape(-1, *output.body_pose.shape[-3:])
    betas = output.betas.reshape(-1, output.betas.shape[-1])
    still = jnp.broadcast_to(jnp.eye(3, dtype=pose.dtype), (*pose.shape[:-3], 23 - pose.shape[-3], 3, 3))
    return RealBodies(body_pose=jnp.concatenate([pose, still], -3), betas=betas[..., :10])


def _cut(leaf: Any, parts: int) -> Array:
    """Parts of a batch; strided, so that each lies over all devices as the batch does."""
    leaf = jnp.asarray(leaf)
    return jnp.moveaxis(leaf.reshape(leaf.shape[0] // parts, parts, *leaf.shape[1:]), 1, 0)


def data_mesh(devices: Any = None) -> Mesh:
    """All devices of all processes as one axis."""
    return Mesh(np.array(jax.devices() if devices is None else devices), (DATA_AXIS,))


def on_mesh(tree: Any, mesh: Mesh, *, over_data: bool) -> Any:
    """Arrays on all devices: each its part of the first axis, or each everything.

    Args:
        tree: This process's part of a batch, or what is the same everywhere.
        mesh: Of `data_mesh`.
        over_data: Whether the first axis lies over the devices.
    """
    sharding = NamedSharding(mesh, PartitionSpec(DATA_AXIS) if over_data else PartitionSpec())
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)
