"""Stages and options as values: checked at once, hashable, and laid out one row an evaluation."""

import dataclasses

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import objective, stages, variables


def schedule_of(*rows):
    layout = variables.Layout.of(hm.open_body(view="smpl"))
    return layout, objective.stage_schedule(rows, layout, np.dtype(np.float32))


def test_schedule_has_one_row_more_than_steps_for_each_stage():
    first = stages.Stage(iterations=2, free=("transl",), pose_prior=3.0, robust_scale=0.5)
    second = stages.Stage(iterations=3, keypoints_3d=0.25, shape_prior=4.0, joint_limits=5.0, keypoints_2d=6.0)
    layout, schedule = schedule_of(first, second)
    np.testing.assert_array_equal(schedule.is_stage_start, [1, 0, 0, 1, 0, 0, 0])
    for name in ("keypoints_2d", "keypoints_3d", "pose_prior", "shape_prior", "joint_limits", "robust_scale"):
        expected = [getattr(first, name)] * 3 + [getattr(second, name)] * 4
        np.testing.assert_array_equal(getattr(schedule, name), np.array(expected, np.float32), err_msg=name)
    np.testing.assert_array_equal(schedule.free[:3], np.tile(layout.group_mask(("transl",)), (3, 1)))
    np.testing.assert_array_equal(schedule.free[3:], 1)


@pytest.mark.parametrize("group", stages.GROUPS)
def test_each_group_can_be_freed_alone(group):
    layout, schedule = schedule_of(stages.Stage(iterations=1, free=(group,)))
    np.testing.assert_array_equal(schedule.free[0], layout.group_mask((group,)))


def test_unknown_group_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown groups \['orient'\]; known: transl, global_orient"):
        stages.Stage(iterations=3, free=("transl", "orient"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "`iterations` must be at least 1"),
        ({"robust_scale": 0.0}, "`robust_scale` must be positive"),
    ],
)
def test_impossible_stages_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stages.Stage(**{"iterations": 1, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"yaw_starts": 0}, "`yaw_starts` must be at least 1"),
        ({"refine": ()}, "at least one stage each"),
        ({"explore": ()}, "at least one stage each"),
        ({"keypoints_2d_spread": 0.0}, "spreads must be positive"),
        ({"keypoints_3d_spread": -1.0}, "spreads must be positive"),
        ({"joint_limit_spread": 0.0}, "spreads must be positive"),
        ({"max_batch": 0}, "`max_batch` must be at least 1"),
        ({"adam_steps_per_iteration": 0}, "`adam_steps_per_iteration` must be at least 1"),
    ],
)
def test_impossible_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stages.FitOptions(**changes)


def test_unknown_solver_is_refused_by_name():
    # Past the type check that only runs in tests: a user's typo reaches `__post_init__`.
    options = stages.FitOptions()
    object.__setattr__(options, "solver", "gauss_newton")
    with pytest.raises(ValueError, match="unknown solver 'gauss_newton'; known: levenberg_marquardt, adam"):
        options.__post_init__()


def test_options_are_values():
    same, other = stages.FitOptions(), stages.FitOptions(yaw_starts=8)
    assert same == stages.FitOptions()
    assert hash(same) == hash(stages.FitOptions())
    assert same != other
    with pytest.raises(dataclasses.FrozenInstanceError):
        same.yaw_starts = 8
