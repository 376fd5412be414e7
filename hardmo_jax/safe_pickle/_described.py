"""Pickles of other programs' objects: each comes out as a description, and none is made."""

import re
from collections.abc import Callable
from typing import Any

from hardmo_jax.safe_pickle._allowed_names import GLOBALS, Recipe
from hardmo_jax.safe_pickle._machine import INSTRUCTIONS, MAX_NAME_BYTES, Machine
from hardmo_jax.safe_pickle._parts import KEY_TYPES
from hardmo_jax.safe_pickle.read_values import PERSISTENT_ID, WITHIN_ITSELF, Described


class Object:
    """An object of another program under construction, which stays a description."""

    __slots__ = ("arguments", "entries", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments, self.state = name, arguments, None
        self.entries: dict[Any, Any] | list[Any] | None = None


class DescribingMachine(Machine):
    """Interprets a pickle of another program's objects; the rest is as strict as for any other pickle."""

    names: re.Pattern[str]
    calls: frozenset[str]

    @property
    def instructions(self) -> dict[int, Callable[[Any], None]]:
        return _DESCRIBING_INSTRUCTIONS

    def push_global(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        is_described = len(full) < MAX_NAME_BYTES and (full in self.calls or self.names.fullmatch(full))
        if (module, name) not in GLOBALS and is_described:
            self.push(Recipe("described", full))
        else:
            super().push_global(module, name)

    def new_instance(self, recipe: Any, arguments: Any) -> Any:
        if type(recipe) is Recipe and recipe.kind == "described" and arguments == ():
            return Object(recipe.name, ())
        return super().new_instance(recipe, arguments)

    def op_reduce(self) -> None:
        arguments, recipe = self.pop(), self.pop()
        if type(recipe) is Recipe and self.is_callable(recipe) and type(arguments) is tuple:
            self.push_container(Object(recipe.name, arguments))
            return
        self.push(recipe)
        self.push(arguments)
        super().op_reduce()

    def is_callable(self, recipe: Recipe) -> bool:
        return recipe.name in self.calls

    def op_build(self) -> None:
        state, target = self.pop(), self.top()
        if type(target) is Object and target.state is None:
            target.state = state
        elif type(target) is not dict:  # attributes that somebody gave to an OrderedDict are left out
            self.push(state)
            super().op_build()

    def op_persistent_id(self) -> None:
        self.push_container(Object(PERSISTENT_ID, (self.pop(),)))

    def finish_new(self, node: Any, depth: int) -> tuple[Any, int]:
        if type(node) is Recipe and node.kind == "described":
            return Described(name=node.name), 1
        if type(node) is not Object:
            return super().finish_new(node, depth)
        arguments, count = self.finish(node.arguments, depth + 1)
        state, more = self.finish(node.state, depth + 1)
        entries, most = self.finish(node.entries, depth + 1)
        found = Described(name=node.name, arguments=arguments, state=state, entries=entries)
        return found, 1 + count + more + most


class LenientMachine(DescribingMachine):
    """Interprets a checkpoint of a training program, whose objects are of more kinds; all stay descriptions."""

    def new_instance(self, recipe: Any, arguments: Any) -> Any:
        if type(recipe) is Recipe and recipe.kind == "described" and type(arguments) is tuple:
            return Object(recipe.name, arguments)
        return super().new_instance(recipe, arguments)

    def is_callable(self, recipe: Recipe) -> bool:
        return recipe.kind == "described"

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not Object or isinstance(target.entries, dict):
            super().extend(items)
            return
        target.entries = [] if target.entries is None else target.entries
        target.entries.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not Object or isinstance(target.entries, list):
            super().update(items)
            return
        target.entries = {} if target.entries is None else target.entries
        self.fill_dict(target.entries, items)

    def check_key(self, key: Any) -> Any:
        if type(key) is Recipe:  # older programs list callbacks by their class
            return f"class {key.name}"
        if type(key) is tuple and all(type(part) in KEY_TYPES for part in key):
            return tuple(self.check_key(part) for part in key)
        return super().check_key(key)

    def finish_within_itself(self) -> Any:
        return Described(name=WITHIN_ITSELF)


_DESCRIBING_INSTRUCTIONS: dict[int, Callable[[Any], None]] = {
    **INSTRUCTIONS,
    ord("Q"): DescribingMachine.op_persistent_id,
    ord("R"): DescribingMachine.op_reduce,
    ord("b"): DescribingMachine.op_build,
}
