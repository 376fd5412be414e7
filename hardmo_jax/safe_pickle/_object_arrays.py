"""Pickles with arrays of objects, as published labels have them: the same machine, and still nothing is executed.

There are two kinds: names of pictures that were saved as objects, and losses of a fit as an array without axes that
holds a dict. Such an array comes out as a NumPy array of objects that are again plain values.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hardmo_jax.safe_pickle._allowed_names import Recipe
from hardmo_jax.safe_pickle._machine import INSTRUCTIONS, Machine
from hardmo_jax.safe_pickle._parts import Array

#: What NumPy writes of the type of such arrays: code and options, and then version, byte order, no fields, sizes as
#: usual, flags of objects.
_TYPE = ("O8", False, True)
_STATE = (3, "|", None, None, None, -1, -1, 63)


class _ObjectType:
    """The NumPy type of objects."""


class _ObjectArray:
    """Content of an array of objects under construction."""

    __slots__ = ("items", "shape")

    def __init__(self, shape: tuple[int, ...], items: list[Any]) -> None:
        self.shape, self.items = shape, items


class ObjectArrayMachine(Machine):
    """As strict as for any pickle, but for arrays of objects."""

    @property
    def instructions(self) -> dict[int, Callable[[Any], None]]:
        return _OBJECT_INSTRUCTIONS

    def op_reduce(self) -> None:
        arguments, recipe = self.pop(), self.pop()
        is_type = type(recipe) is Recipe and recipe.kind == "dtype" and type(arguments) is tuple
        if is_type and arguments == _TYPE:
            self.push_container(_ObjectType())
            return
        self.push(recipe)
        self.push(arguments)
        super().op_reduce()

    def op_build(self) -> None:
        state, target = self.pop(), self.top()
        if type(target) is _ObjectType:
            if state != _STATE:
                raise self.unsafe("an array type of objects with unknown options")
        elif self.is_empty_array(target) and type(state) is tuple and len(state) == 5 and self.is_of_objects(state[2]):
            target.value = self.build_object_array(*state)
        else:
            self.push(state)
            super().op_build()

    def is_empty_array(self, target: Any) -> bool:
        return type(target) is Array and target.value is None

    def is_of_objects(self, dtype: Any) -> bool:
        return type(dtype) is _ObjectType

    def build_object_array(self, version: Any, shape: Any, dtype: Any, is_fortran: Any, items: Any) -> Any:
        if version != 1 or type(is_fortran) not in (int, bool) or type(items) is not list:
            raise self.unsafe("the state of an array of objects is of an unknown version")
        shape = self.check_shape(shape)
        if math.prod(shape) != len(items):
            raise self.unsafe(f"an array of objects of shape {shape} has {len(items)} of them")
        return _ObjectArray(shape, items)

    def finish_new(self, node: Any, depth: int) -> tuple[Any, int]:
        content: Any = node.value if type(node) is Array else None
        if type(content) is not _ObjectArray:
            return super().finish_new(node, depth)
        items, count = self.finish(content.items, depth + 1)
        array = np.empty(len(items), object)
        for place, item in enumerate(items):
            array[place] = item
        # NumPy writes objects row by row, whatever it says of their order in memory.
        return array.reshape(content.shape), 1 + count


_OBJECT_INSTRUCTIONS: dict[int, Callable[[Any], None]] = {
    **INSTRUCTIONS,
    ord("R"): ObjectArrayMachine.op_reduce,
    ord("b"): ObjectArrayMachine.op_build,
}
