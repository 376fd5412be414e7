"""Options from mappings: nothing misspelt or of another kind passes, and the message names the place."""

import dataclasses
import inspect
import json
from typing import Literal

import pytest

from hardmo_jax import options
from hardmo_jax.fitting import stages


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    width: int = 3
    scale: float = 0.5
    kind: Literal["mean", "median"] = "mean"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    is_fast: bool = False
    size: tuple[int, int] = (4, 5)
    parts: tuple[Inner, ...] = ()
    inner: Inner = Inner()
    limit: float | None = None
    choice: int | str = 1

    def __post_init__(self) -> None:
        if self.name == "forbidden":
            raise ValueError("`name` must not be 'forbidden'")


FULL = {
    "name": "a",
    "is_fast": True,
    "size": [6, 7],
    "parts": [{"width": 1}, {"kind": "median"}],
    "inner": {"scale": 2},
    "limit": 1.5,
    "choice": "two",
}


def test_values_arrive_as_annotated():
    made = options.from_mapping(Outer, FULL)
    assert made == Outer(
        name="a",
        is_fast=True,
        size=(6, 7),
        parts=(Inner(width=1), Inner(kind="median")),
        inner=Inner(scale=2.0),
        limit=1.5,
        choice="two",
    )
    assert isinstance(made.inner.scale, float)
    assert isinstance(made.parts, tuple)
    hash(made)


def test_absent_keys_keep_their_defaults():
    assert options.from_mapping(Outer, {"name": "b"}) == Outer(name="b")


def test_mapping_is_left_as_it_was():
    before = json.dumps(FULL)
    options.from_mapping(Outer, FULL)
    assert json.dumps(FULL) == before


@pytest.mark.parametrize("made", [Outer(name="c"), options.from_mapping(Outer, FULL), Outer(name="d", limit=None)])
def test_round_trip_through_json(made):
    plain = json.loads(json.dumps(options.to_mapping(made)))
    assert options.from_mapping(Outer, plain) == made


def test_fit_options_round_trip_through_json():
    stage = stages.Stage(iterations=3, free=("transl",), converged_below=1e-3)
    made = stages.FitOptions(solver="lbfgs", refine=(stage,), yaw_starts=2, slots=5)
    plain = json.loads(json.dumps(options.to_mapping(made)))
    again = options.from_mapping(stages.FitOptions, plain)
    assert again == made
    assert hash(again) == hash(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "x"}, "Outer: unknown key 'nmae'; did you mean 'name'?"),
        ({"zzzzzz": 1}, "Outer: unknown key 'zzzzzz'; known keys: name, is_fast, size"),
        ({"inner": {"widht": 1}}, "Outer.inner: unknown key 'widht'; did you mean 'width'?"),
        ({"parts": [{}, {"scal": 1}]}, "Outer.parts[1]: unknown key 'scal'; did you mean 'scale'?"),
        ({"inner": {"width": True}}, "Outer.inner.width: expected int, got True"),
        ({"inner": {"width": 1.0}}, "Outer.inner.width: expected int, got 1.0"),
        ({"inner": {"width": "1"}}, "Outer.inner.width: expected int, got '1'"),
        ({"inner": {"width": None}}, "Outer.inner.width: expected int, got None"),
        ({"inner": {"scale": True}}, "Outer.inner.scale: expected float, got True"),
        ({"inner": {"kind": "meen"}}, "Outer.inner.kind: 'meen' is not one of 'mean', 'median'"),
        ({"is_fast": 1}, "Outer.is_fast: expected bool, got 1"),
        ({"is_fast": "true"}, "Outer.is_fast: expected bool, got 'true'"),
        ({"size": [1]}, "Outer.size: expected 2 values, got 1"),
        ({"size": "12"}, "Outer.size: expected a list, got '12'"),
        ({"size": 4}, "Outer.size: expected a list, got 4"),
        ({"size": [1, "a"]}, "Outer.size[1]: expected int, got 'a'"),
        ({"limit": "far"}, "Outer.limit: expected float, got 'far'"),
        ({"limit": False}, "Outer.limit: expected float, got False"),
        ({"choice": 2.5}, "Outer.choice: expected str, got 2.5"),
        ({"name": "forbidden"}, "Outer: `name` must not be 'forbidden'"),
    ],
)
def test_mistakes_are_named_with_their_place(change, message):
    with pytest.raises(options.OptionsError) as caught:
        options.from_mapping(Outer, {"name": "a", **change})
    assert str(caught.value).startswith(message)


def test_section_that_is_no_section_is_named():
    # Past the type check that only runs in tests.
    with pytest.raises(options.OptionsError, match="inner: expected a section with keys, got 3"):
        inspect.unwrap(options.from_mapping)(Inner, 3, where="inner")


def test_missing_key_is_named():
    with pytest.raises(options.OptionsError, match="Outer: missing key 'name'"):
        options.from_mapping(Outer, {})


def test_section_name_leads_the_message():
    with pytest.raises(options.OptionsError, match=r"^fit\.refine\[0\]: missing key 'iterations'"):
        options.from_mapping(stages.FitOptions, {"refine": [{"pose_prior": 1.0}]}, where="fit")
    with pytest.raises(options.OptionsError, match=r"^fit\.explore\[0\]: `free` names unknown groups \['legs'\]"):
        options.from_mapping(stages.FitOptions, {"explore": [{"iterations": 1, "free": ["legs"]}]}, where="fit")
    with pytest.raises(options.OptionsError, match=r"^fit\.solver: 'newton' is not one of 'levenberg_marquardt'"):
        options.from_mapping(stages.FitOptions, {"solver": "newton"}, where="fit")


def test_option_that_moved_to_the_stages_is_refused_by_name():
    with pytest.raises(options.OptionsError, match=r"^fit: unknown key 'converged_below'"):
        options.from_mapping(stages.FitOptions, {"converged_below": 1e-3}, where="fit")
    made = options.from_mapping(stages.FitOptions, {"refine": [{"iterations": 2, "converged_below": 1e-3}]})
    assert made.refine[0].converged_below == 1e-3


def test_whole_numbers_become_floats_but_true_does_not():
    assert options.from_mapping(Inner, {"scale": 2}).scale == 2.0
    with pytest.raises(options.OptionsError, match=r"Inner\.kind: True is not one of"):
        options.from_mapping(Inner, {"kind": True})


def test_literals_tell_true_from_one():
    @dataclasses.dataclass(frozen=True)
    class Level:
        level: Literal[0, 1] = 0

    with pytest.raises(options.OptionsError, match="level: True is not one of 0, 1"):
        options.from_mapping(Level, {"level": True})


def test_none_is_taken_only_where_it_is_annotated():
    assert options.from_mapping(Outer, {"name": "a", "limit": None}).limit is None
    with pytest.raises(options.OptionsError, match=r"Outer\.name: expected str, got None"):
        options.from_mapping(Outer, {"name": None})


def test_ready_made_sections_are_kept():
    inner = Inner(width=9)
    assert options.from_mapping(Outer, {"name": "a", "inner": inner}).inner is inner
