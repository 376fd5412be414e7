"""The training loop on problems that have known answers: linear regression, and no gradient at all."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hardmo_jax.training import loop
from hardmo_jax.training.loop import LoopOptions, TrainingError

MATRIX, SHIFT = np.array([[1.0, -2.0], [0.5, 0.3], [-1.5, 2.0]]), np.array([0.7, -0.4])
OPTIONS = LoopOptions(
    steps=60, batch=32, learning_rate=0.1, warmup_steps=10, weight_decay=0.0, average_decay=0.8, report_every=5,
    checkpoint_every=20, clip_norm=100.0,
)  # fmt: skip


class StopError(Exception):
    """A run that is cut short."""


def start():
    return {"matrix": np.zeros((3, 2), np.float32), "shift": np.zeros(2, np.float32)}


def batch_of(number):
    rng = np.random.default_rng([7, number])
    inputs = rng.normal(size=(OPTIONS.batch, 3))
    return {
        "inputs": inputs.astype(np.float32),
        "outputs": (inputs @ MATRIX + SHIFT + rng.normal(size=(OPTIONS.batch, 2)) * 0.01).astype(np.float32),
    }


def loss(params, batch):
    error = batch["inputs"] @ params["matrix"] + params["shift"] - batch["outputs"]
    value = jnp.mean(error * error)
    return value, {"root": jnp.sqrt(value)}


def train(folder, options=OPTIONS, *, stop_at=None, batches=batch_of, of=loss, params=None):
    """The last state, and what was told."""
    told = []

    def on_report(step, means, average):
        if stop_at is not None and step >= stop_at:
            raise StopError
        told.append((step, means, jax.tree.map(np.asarray, average)))

    state = loop.train(params or start(), of, batches, options, folder, on_report=on_report)
    return jax.tree.map(np.asarray, state), told


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


def assert_same(ours, theirs):
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_loss_falls_and_the_answer_is_found(whole):
    state, told = whole
    losses = [means["loss"] for _, means, _ in told]
    assert losses[-1] < 0.02 * losses[0]
    np.testing.assert_allclose(state.params["matrix"], MATRIX, atol=0.25)
    np.testing.assert_allclose(state.params["shift"], SHIFT, atol=0.25)
    np.testing.assert_allclose(state.average["matrix"], MATRIX, atol=0.25)
    assert int(state.step) == OPTIONS.steps


def test_reports_come_when_they_should_with_what_the_loss_names(whole):
    _, told = whole
    assert [step for step, _, _ in told] == list(range(5, 61, 5))
    for _, means, _ in told:
        assert set(means) == {"loss", "root", "gradient_norm"}
        assert means["root"] ** 2 <= means["loss"] * (1 + 1e-5), "the mean of roots is below the root of the mean"


def test_reports_are_means_of_the_steps_since_the_last_one(tmp_path):
    """With a rate of zero the parameters stay, and every loss is known."""
    options = dataclasses.replace(OPTIONS, steps=7, report_every=3, learning_rate=0.0)
    _, told = train(tmp_path, options)
    losses = [float(np.mean(np.square(batch_of(number)["outputs"], dtype=np.float64))) for number in range(7)]
    assert [step for step, _, _ in told] == [3, 6, 7]
    expected = [np.mean(losses[:3]), np.mean(losses[3:6]), losses[6]]
    np.testing.assert_allclose([means["loss"] for _, means, _ in told], expected, rtol=1e-5)


def test_what_is_told_last_is_the_average_of_the_state(whole):
    state, told = whole
    assert_same(told[-1][2], state.average)
    assert np.any(state.average["matrix"] != state.params["matrix"])


def schedule(options):
    """Rate of each step: a line up from zero, then half a cosine down to zero."""
    step, top = np.arange(options.steps), min(options.warmup_steps, options.steps - 1)
    down = 0.5 * (1 + np.cos(np.pi * (step - top) / (options.steps - top)))
    return options.learning_rate * np.where(step < top, step / max(top, 1), down)


@pytest.mark.parametrize(
    "changes", [{}, {"warmup_steps": 0}, {"warmup_steps": 60}, {"warmup_steps": 400}, {"steps": 1}]
)
def test_only_matrices_decay_at_the_rate_of_the_schedule_and_the_average_follows(tmp_path, changes):
    """Without a gradient nothing but the decay of the weights moves them."""
    options = dataclasses.replace(OPTIONS, weight_decay=0.3, checkpoint_every=100, **changes)
    ones = {"matrix": np.ones((3, 2), np.float32), "shift": np.ones(2, np.float32)}
    state, _ = train(tmp_path, options, params=ones, of=lambda params, batch: (0.0 * jnp.sum(params["shift"]), {}))
    value, average = 1.0, 1.0
    for step, rate in enumerate(schedule(options)):
        value *= 1 - 0.3 * rate
        decay = min(options.average_decay, (step + 1) / (step + 10))
        average = decay * average + (1 - decay) * value
    np.testing.assert_allclose(state.params["matrix"], value, rtol=2e-5)
    np.testing.assert_allclose(state.average["matrix"], average, rtol=2e-5)
    np.testing.assert_array_equal(state.params["shift"], 1)
    np.testing.assert_allclose(state.average["shift"], 1, rtol=1e-6)


def test_gradients_are_cut_at_their_norm():
    options = dataclasses.replace(OPTIONS, clip_norm=0.5)
    optimizer = loop.make_optimizer(options)
    params = jax.tree.map(jnp.asarray, start())
    gradient = {"matrix": np.full((3, 2), 30.0, np.float32), "shift": np.full(2, -40.0, np.float32)}
    _, state = jax.jit(lambda gradient, params: optimizer.update(gradient, optimizer.init(params), params))(
        gradient, params
    )
    moment = next(part for part in jax.tree.leaves(state, is_leaf=lambda leaf: isinstance(leaf, optax.ScaleByAdamState))
                  if isinstance(part, optax.ScaleByAdamState)).mu  # fmt: skip
    norm = np.sqrt(sum(float(np.sum(np.square(leaf))) for leaf in jax.tree.leaves(moment)))
    np.testing.assert_allclose(norm, 0.1 * 0.5, rtol=1e-5)


# ---- stops and goes on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [10, 25, 45, 60])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(whole, tmp_path, stop_at):
    with pytest.raises(StopError):
        train(tmp_path, stop_at=stop_at)
    asked = []

    def batches(number):
        asked.append(number)
        return batch_of(number)

    state, told = train(tmp_path, batches=batches)
    kept = (stop_at - 1) // OPTIONS.checkpoint_every * OPTIONS.checkpoint_every
    assert asked[0] == kept, "it goes on from the last checkpoint, not from the start"
    assert told[0][0] == kept + OPTIONS.report_every
    assert_same(state, whole[0])
    assert_same(told[-1], whole[1][-1])


@pytest.mark.parametrize(("stopped_in", "kept"), [(31, 33), (59, 60)])
def test_ctrl_c_keeps_what_was_learnt_up_to_the_end_of_a_step(whole, tmp_path, stopped_in, kept):
    """Batches are made a step ahead, in another thread: the signal comes while the step before is at work or waits."""
    handler = signal.getsignal(signal.SIGINT)

    def batches(number):
        if number == stopped_in:
            os.kill(os.getpid(), signal.SIGINT)
        return batch_of(number)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, batches=batches)
    assert signal.getsignal(signal.SIGINT) is handler
    asked = []

    def again(number):
        asked.append(number)
        return batch_of(number)

    state, _ = train(tmp_path, batches=again)
    assert stopped_in - 1 <= asked[0] <= kept, "it goes on from the step that was done, not from the last checkpoint"
    assert_same(state, whole[0])


def test_a_run_that_is_done_is_not_done_again(tmp_path):
    options = dataclasses.replace(OPTIONS, steps=8)
    first, _ = train(tmp_path, options)
    again, told = train(tmp_path, options)
    assert_same(again, first)
    assert told == []


def test_batches_are_asked_for_in_order_and_each_once(tmp_path):
    asked = []

    def batches(number):
        asked.append(number)
        return batch_of(number)

    train(tmp_path, dataclasses.replace(OPTIONS, steps=8), batches=batches)
    assert asked[:8] == list(range(8))
    assert len(asked) == len(set(asked)) <= 9


def test_an_error_in_a_batch_is_the_users_to_see(tmp_path):
    def batches(number):
        if number == 3:
            raise KeyError("no such batch")
        return batch_of(number)

    with pytest.raises(KeyError, match="no such batch"):
        train(tmp_path, dataclasses.replace(OPTIONS, steps=8), batches=batches)


# ---- numbers that are none --------------------------------------------------------------------------------------


def spoilt(number, first_bad):
    """Batches of which those from a number on have no numbers."""
    batch = batch_of(number)
    return batch if number < first_bad else {**batch, "outputs": np.full_like(batch["outputs"], np.nan)}


@pytest.mark.parametrize(
    ("changes", "first_bad"),
    [
        ({}, 32),
        # Checkpoints between two reports must not hold what the next report would refuse.
        ({"report_every": 60, "checkpoint_every": 10}, 32),
        ({}, 0),
    ],
)
def test_a_loss_that_is_no_number_ends_the_run_and_the_folder_holds_the_last_good_state(
    whole, tmp_path, changes, first_bad
):
    options = dataclasses.replace(OPTIONS, **changes)
    with pytest.raises(TrainingError, match="nan") as caught:
        train(tmp_path, options, batches=lambda number: spoilt(number, first_bad))
    assert str(tmp_path) in str(caught.value)
    assert "learning_rate" in str(caught.value)
    # What is left can be gone on with: the same run with good batches ends as if nothing had happened.
    state, _ = train(tmp_path, options)
    assert_same(state.params, whole[0].params)


def test_a_gradient_that_is_no_number_ends_the_run_too(whole, tmp_path):
    """The loss of a step is that of the weights before it: at a checkpoint it may be good for the last time."""

    def of(params, batch):
        value, parts = loss(params, batch)
        nothing = params["shift"][0] - jax.lax.stop_gradient(params["shift"][0])
        return value + nothing * batch["much"] * batch["much"], parts

    def batches(first_bad):
        return lambda number: {**batch_of(number), "much": np.float32(1e30 if number == first_bad else 0)}

    with pytest.raises(TrainingError):
        train(tmp_path, batches=batches(19), of=of)
    state, _ = train(tmp_path, batches=batches(-1), of=of)
    np.testing.assert_allclose(state.params["matrix"], whole[0].params["matrix"], atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"steps": 0}, {"batch": 0}, {"report_every": 0}, {"checkpoint_every": 0}, {"average_decay": 1.0}]
)
def test_options_out_of_range_are_named(changes):
    with pytest.raises(ValueError, match=f"`{next(iter(changes))}`"):
        LoopOptions(**changes)
