"""What the allowed names make: arrays, types, numbers, bytes, sets and dicts, each after a check of all it is given."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from hardmo_jax.safe_pickle._allowed_names import INSTANCES, Recipe
from hardmo_jax.safe_pickle._parts import KEY_TYPES, SINGLE_BYTE, Array, DType, Instance, brief
from hardmo_jax.safe_pickle._tape import Tape

_BYTES_A_MEMBER = 16
_MAX_AXES = 32
_MAX_AXIS_PRODUCT = 1 << 40
_MAX_KEY_MAGNITUDE = 1 << 60  # below the modulus of int hashes, so keys cannot be made to collide
_DTYPE_CODE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,5}", re.ASCII)


class Maker(Tape):
    """A pickle, and what may be made on its behalf."""

    def fill_dict(self, target: dict[Any, Any], items: list[Any]) -> None:
        if len(items) % 2:
            raise self.corrupt("a dict has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.check_key(key)] = value

    def check_key(self, key: Any) -> Any:
        if type(key) not in KEY_TYPES:
            raise self.unsafe("a dict key or set member that is neither text nor a whole number")
        if type(key) is int and abs(key) >= _MAX_KEY_MAGNITUDE:
            raise self.unsafe("a dict key or set member that is a huge number")
        return key

    def new_instance(self, recipe: Any, arguments: Any) -> Instance:
        if type(recipe) is not Recipe or recipe.kind not in INSTANCES:
            name = recipe.name if type(recipe) is Recipe else f"a {type(recipe).__name__}"
            raise self.unsafe(f"it makes an instance of {name}")
        if arguments != ():
            raise self.unsafe(f"it passes arguments to {recipe.name}")
        return Instance(recipe)

    def make(self, recipe: Recipe, arguments: tuple[Any, ...]) -> Any:
        """What an allowed name gives when it is called."""
        maker = _MAKERS.get(recipe.kind)
        if maker is None:
            raise self.unsafe(f"it calls {recipe.name}")
        return maker(self, recipe, arguments)

    def make_array_shell(self, recipe: Recipe, arguments: tuple[Any, ...]) -> Array:
        kind = arguments[0].kind if arguments and type(arguments[0]) is Recipe else None
        if kind != "ndarray" or arguments[1:] not in (((0,), b"b"), ((0,), "b")):
            raise self.unsafe(f"{recipe.name} for something that is not a plain array")
        return Array()

    def make_dtype(self, recipe: Recipe, arguments: tuple[Any, ...]) -> DType:
        code, *flags = arguments or (None,)
        if type(code) is not str or not _DTYPE_CODE.fullmatch(code):
            raise self.unsafe(f"the array type {brief(code)} (object and record arrays are not read)")
        if len(flags) > 2 or any(type(flag) not in (int, bool) for flag in flags):
            raise self.unsafe("an array type with unknown options")
        return DType(code)

    def build_dtype(self, target: DType, state: Any) -> None:
        if type(state) is not tuple or (*state[:1], len(state)) not in ((3, 8), (4, 9)):
            raise self.unsafe("the state of an array type is of an unknown version")
        order, fields, (size, _, flags) = state[1], state[2:5], state[5:8]
        if fields != (None, None, None) or state[8:] not in ((), (None,)) or flags not in (0, 8):
            raise self.unsafe("a record, object or annotated array type")
        is_text = target.code[0] in "SU"
        allowed = ("|",) if target.code in SINGLE_BYTE or target.code[0] == "S" else ("<", ">")
        if type(order) is not str or order not in allowed:
            raise self.unsafe(f"the byte order {brief(order)} of array type {target.code}")
        if size not in ((target.to_numpy().itemsize,) if is_text else (-1,)):
            raise self.unsafe(f"array type {target.code} declares {brief(size)} bytes an element")
        target.order, target.built = order, True

    def make_scalar(self, recipe: Recipe, arguments: tuple[Any, ...]) -> Any:
        if len(arguments) != 2 or type(arguments[0]) is not DType:
            raise self.unsafe(f"{recipe.name} of something that is not a plain number")
        return self.make_array((), arguments[0], "C", arguments[1])[()]

    def make_array_from_buffer(self, recipe: Recipe, arguments: tuple[Any, ...]) -> Array:
        if len(arguments) not in (4, 5):
            raise self.unsafe(f"{recipe.name} with {len(arguments)} arguments")
        raw, dtype, shape, order = arguments[:4]
        axes = arguments[4] if len(arguments) == 5 else None
        made = Array()
        if order == "K" and axes is not None:
            made.value = self.make_array(shape, dtype, "C", raw)
            if type(axes) is not tuple or any(type(axis) is not int for axis in axes):
                raise self.unsafe("the axes of an array are not a tuple of integers")
            if sorted(axes) != list(range(made.value.ndim)):
                raise self.corrupt("the axes of an array are not a permutation")
            made.value = made.value.transpose(axes)
        elif order in ("C", "F"):
            made.value = self.make_array(shape, dtype, order, raw)
        else:
            raise self.unsafe(f"the memory order {brief(order)} of an array")
        return made

    def build_array(self, state: Any) -> np.ndarray:
        if type(state) is not tuple or len(state) != 5 or state[0] != 1:
            raise self.unsafe("the state of an array is of an unknown version")
        shape, dtype, is_fortran, raw = state[1:]
        if type(is_fortran) not in (int, bool):
            raise self.unsafe("the memory order of an array is neither true nor false")
        return self.make_array(shape, dtype, "F" if is_fortran else "C", raw)

    def make_array(self, shape: Any, dtype: Any, order: Any, raw: Any) -> np.ndarray:
        """Build an array after checking that the bytes at hand are exactly what it declares."""
        if type(dtype) is not DType:
            raise self.unsafe("an array whose type is not a NumPy type")
        if type(raw) is str:
            raw = self.encode_latin1(raw)
        if type(raw) is not bytes:
            raise self.unsafe("an array whose content is not bytes (an object array)")
        shape = self.check_shape(shape)
        numpy_dtype = dtype.to_numpy()
        declared = math.prod(shape) * numpy_dtype.itemsize
        if declared != len(raw):
            raise self.unsafe(f"an array of shape {brief(shape)} needs {declared} bytes and has {len(raw)}")
        self.spend(declared)
        if declared == 0:
            return np.zeros(shape, numpy_dtype)
        if dtype.code == "b1" and np.frombuffer(raw, np.uint8).max() > 1:
            raise self.corrupt("a boolean array holds other values than 0 and 1")
        if dtype.code[0] == "U" and np.frombuffer(raw, dtype.order + "u4").max() > 0x10FFFF:
            raise self.corrupt("a text array holds invalid characters")
        return np.frombuffer(raw, numpy_dtype).reshape(shape, order=order).copy(order="K")

    def check_shape(self, shape: Any) -> tuple[int, ...]:
        if type(shape) is not tuple or len(shape) > _MAX_AXES:
            raise self.unsafe("a shape that is not a short tuple of integers")
        axes = tuple(int(axis) if isinstance(axis, np.integer) else axis for axis in shape)
        if any(type(axis) is not int or axis < 0 for axis in axes):
            raise self.unsafe("a shape with entries that are not whole numbers from 0 on")
        if math.prod(max(axis, 1) for axis in axes) > _MAX_AXIS_PRODUCT:
            raise self.unsafe(f"the huge shape {brief(axes)}")
        return axes

    def encode_latin1(self, text: str) -> bytes:
        self.spend(len(text))
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError as error:
            raise self.corrupt("raw bytes are written with characters outside latin-1") from error

    def make_bytes_from_text(self, recipe: Recipe, arguments: tuple[Any, ...]) -> bytes:
        text, *encoding = arguments or (None,)
        if type(text) is not str or encoding not in (["latin1"], ["latin-1"]):
            raise self.unsafe(f"{recipe.name} for anything but latin-1 bytes")
        return self.encode_latin1(text)

    def make_empty_bytes(self, recipe: Recipe, arguments: tuple[Any, ...]) -> bytes:
        if arguments:
            raise self.unsafe(f"{recipe.name} with arguments")
        return b""

    def make_set(self, recipe: Recipe, arguments: tuple[Any, ...]) -> set[Any] | frozenset[Any]:
        if len(arguments) > 1 or any(type(items) is not list for items in arguments):
            raise self.unsafe(f"{recipe.name} of something that is not a list")
        self.spend(sum(_BYTES_A_MEMBER * len(items) for items in arguments))
        members = {self.check_key(item) for items in arguments for item in items}
        return frozenset(members) if recipe.kind == "frozenset" else members

    def make_dict(self, recipe: Recipe, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        if len(arguments) > 1 or any(type(items) is not list for items in arguments):
            raise self.unsafe(f"{recipe.name} of something that is not a list")
        self.spend(sum(_BYTES_A_MEMBER * len(items) for items in arguments))
        made: dict[Any, Any] = {}
        for pair in arguments[0] if arguments else ():
            if type(pair) not in (list, tuple) or len(pair) != 2:
                raise self.unsafe(f"{recipe.name} of something that is not a list of pairs")
            self.fill_dict(made, list(pair))
        return made

    def make_reconstructed(self, recipe: Recipe, arguments: tuple[Any, ...]) -> Instance:
        base = arguments[1].kind if len(arguments) == 3 and type(arguments[1]) is Recipe else None
        if base != "object" or arguments[2] is not None:
            raise self.unsafe(f"{recipe.name} with anything but a class, object and None")
        return self.new_instance(arguments[0], ())


_MAKERS: dict[str, Callable[[Maker, Recipe, tuple[Any, ...]], Any]] = {
    "reconstruct": Maker.make_array_shell,
    "dtype": Maker.make_dtype,
    "scalar": Maker.make_scalar,
    "frombuffer": Maker.make_array_from_buffer,
    "encode": Maker.make_bytes_from_text,
    "bytes": Maker.make_empty_bytes,
    "set": Maker.make_set,
    "frozenset": Maker.make_set,
    "dict": Maker.make_dict,
    "reconstructor": Maker.make_reconstructed,
    **dict.fromkeys(INSTANCES, Maker.new_instance),
}
