"""The stack machine that interprets a pickle: one method an instruction, and none that runs anything of the file."""

import struct
from codecs import escape_decode
from collections.abc import Callable
from typing import Any

from hardmo_jax.safe_pickle._allowed_names import CHUMPY, GLOBALS, Recipe
from hardmo_jax.safe_pickle._finishing import Finisher
from hardmo_jax.safe_pickle._parts import Array, DType, Instance
from hardmo_jax.safe_pickle._tape import DAMAGED, MAX_DIGITS
from hardmo_jax.safe_pickle.errors import CorruptPickleError
from hardmo_jax.safe_pickle.foreign_formats import foreign_format

MAX_OPCODES = 2_000_000
"""Default cap on the instructions of one pickle; a body model needs a few thousand."""
_MAX_STACK = 1_000_000
_MAX_MEMO = 5_000_000
_DICT, _SET = 3, 4  # in memory, measured in lists
MAX_NAME_BYTES = 256


class Machine(Finisher):
    """Interprets one pickle; every method named `op_*` is one instruction.

    Args:
        data: The pickle, and where `is_followed` is set, whatever comes after it.
        source: Name to use in messages.
        max_opcodes: Largest number of instructions that is followed.
    """

    @property
    def instructions(self) -> dict[int, Callable[[Any], None]]:
        """What each byte does; a machine of other objects has a table of its own."""
        return INSTRUCTIONS

    def __init__(self, data: bytes, source: str, max_opcodes: int) -> None:
        super().__init__(data, source)
        self.max_opcodes = max_opcodes
        self.is_followed = False
        self.stack: list[Any] = []
        self.outer_stacks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    # ---- the run ------------------------------------------------------------------------------------

    def run(self) -> Any:
        if not self.data:
            raise CorruptPickleError(f"{self.source}: the file is empty; {DAMAGED}")
        size, instructions = len(self.data), self.instructions
        for _ in range(self.max_opcodes):
            if self.position >= size:
                raise self.corrupt("it is cut off before its end")
            opcode = self.data[self.position]
            self.position += 1
            if opcode == _STOP:
                return self.stop()
            instruction = instructions.get(opcode)
            if instruction is None:
                raise self.bad_opcode(opcode)
            instruction(self)
            if len(self.stack) > _MAX_STACK or len(self.outer_stacks) > _MAX_STACK:
                raise self.unsafe(f"more than {_MAX_STACK} values wait on its stack")
        raise self.unsafe(f"it has more than {self.max_opcodes} instructions")

    def bad_opcode(self, opcode: int) -> ValueError:
        reason = _FORBIDDEN.get(opcode)
        if reason is not None and foreign_format(self.data) is None:
            return self.unsafe(reason)
        return self.corrupt(f"byte 0x{opcode:02x} at offset {self.position - 1} is no instruction")

    def stop(self) -> Any:
        value = self.pop()
        if self.stack or self.outer_stacks:
            raise self.corrupt("values are left over at its end")
        if self.position != len(self.data) and not self.is_followed:
            raise self.unsafe(f"{len(self.data) - self.position} bytes follow the end of the pickle")
        return self.finish(value, 0)[0]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_container(self, value: Any, size: int = 1) -> None:
        self.spend_containers(size)
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise self.corrupt("it takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise self.corrupt("it looks for a value on an empty stack")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        if not self.outer_stacks:
            raise self.corrupt("it looks for a mark that was never set")
        items, self.stack = self.stack, self.outer_stacks.pop()
        return items

    def store(self, index: int) -> None:
        if index < 0:
            raise self.corrupt("it stores at a negative memo index")
        if len(self.memo) >= _MAX_MEMO:
            raise self.unsafe(f"it remembers more than {_MAX_MEMO} values")
        self.memo[index] = self.top()

    def fetch(self, index: int) -> None:
        if index not in self.memo:
            raise self.corrupt(f"it fetches memo entry {index}, which was never stored")
        self.push(self.memo[index])

    # ---- instructions that need more than one line ----------------------------------------------------

    def op_protocol(self) -> None:
        protocol = self.take(1)[0]
        if protocol > 5:
            raise self.corrupt(f"protocol {protocol} is unknown (0 to 5 are read)")

    def op_frame(self) -> None:
        length = self.take_number("<Q")
        if length > len(self.data) - self.position:
            raise self.corrupt(f"it declares a frame of {length} bytes, which is cut off")

    def op_mark(self) -> None:
        self.outer_stacks.append(self.stack)
        self.stack = []

    def op_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def op_int_line(self) -> None:
        start = self.position
        value = self.take_integer_line()
        text = self.data[start : self.position - 1]
        self.push({b"00": False, b"01": True}.get(text, value))

    def op_long(self, size: int) -> None:
        if not 0 <= size <= MAX_DIGITS:
            raise self.unsafe(f"an integer of {size} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def op_float_line(self) -> None:
        line = self.take_line(MAX_DIGITS)
        try:
            self.push(float(line))
        except ValueError as error:
            raise self.corrupt(f"{line[:40]!r} is no number") from error

    def op_string_line(self) -> None:
        line = self.take_line()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise self.corrupt("a text is not in quotes")
        try:
            plain = escape_decode(line[1:-1])[0]
        except (ValueError, Warning) as error:  # an unknown escape is a warning to Python, fatal under -W error
            raise self.corrupt("a text has a broken escape sequence") from error
        self.push(plain.decode("latin-1"))

    def op_global_line(self) -> None:
        module = self.decode(self.take_line(MAX_NAME_BYTES), "utf-8")
        self.push_global(module, self.decode(self.take_line(MAX_NAME_BYTES), "utf-8"))

    def op_global_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise self.unsafe("a global whose name is not text")
        self.push_global(module, name)

    def push_global(self, module: str, name: str) -> None:
        kind = GLOBALS.get((module, name))
        if kind is None and len(module) + len(name) < MAX_NAME_BYTES:
            kind = "chumpy" if CHUMPY.fullmatch(f"{module} {name}") else None
        if kind is None:
            raise self.unsafe(f"it asks for {f'{module}.{name}'[:100]!a}, which could run code")
        self.push(Recipe(kind, f"{module}.{name}"))

    def op_append(self) -> None:
        self.extend([self.pop()])

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            raise self.unsafe("it appends to something that is not a list")
        target.extend(items)

    def op_set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.update([key, value])

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not dict:
            raise self.unsafe("it sets entries of something that is not a dict")
        self.fill_dict(target, items)

    def op_dict_from_mark(self) -> None:
        target: dict[Any, Any] = {}
        self.fill_dict(target, self.pop_to_mark())
        self.push_container(target, _DICT)

    def op_add_items(self) -> None:
        items = self.pop_to_mark()
        target = self.top()
        if type(target) is not set:
            raise self.unsafe("it adds members to something that is not a set")
        target.update(self.check_key(item) for item in items)

    def op_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push_container(tuple(reversed(items)))

    def op_new_object(self) -> None:
        arguments, recipe = self.pop(), self.pop()
        self.push_container(self.new_instance(recipe, arguments))

    def op_reduce(self) -> None:
        arguments, recipe = self.pop(), self.pop()
        if type(recipe) is not Recipe:
            raise self.unsafe(f"it calls a {type(recipe).__name__}")
        if type(arguments) is not tuple:
            raise self.unsafe(f"it calls {recipe.name} with something that is not a tuple")
        self.push_container(self.make(recipe, arguments), _SET if recipe.kind in ("set", "frozenset", "dict") else 1)

    def op_build(self) -> None:
        state, target = self.pop(), self.top()
        if type(target) is Array and target.value is None:
            target.value = self.build_array(state)
        elif type(target) is DType and not target.built:
            self.build_dtype(target, state)
        elif type(target) is Instance and target.state is None:
            if type(state) is not dict:
                raise self.unsafe(f"the state of {target.recipe.name} is not a dict")
            target.state = state
        else:
            raise self.unsafe(f"it sets the state of a {type(target).__name__}")


_STOP = ord(".")
_FORBIDDEN: dict[int, str] = {
    **{ord(c): "a persistent id, which an outside program would resolve" for c in "PQ"},
    **{c: "an extension registry code (EXT)" for c in (0x82, 0x83, 0x84)},
    **{ord(c): "an instance of a class by INST or OBJ" for c in "io"},
    0x92: "an instance of a class by NEWOBJ_EX",
    **{c: "a buffer stored outside the file" for c in (0x97, 0x98)},
}
INSTRUCTIONS: dict[int, Callable[[Machine], None]] = {
    0x80: Machine.op_protocol,
    0x95: Machine.op_frame,
    ord("("): Machine.op_mark,
    ord("0"): Machine.op_pop,
    ord("1"): lambda m: m.pop_to_mark().clear(),
    ord("2"): lambda m: m.push(m.top()),
    # memo
    ord("p"): lambda m: m.store(m.take_integer_line()),
    ord("q"): lambda m: m.store(m.take(1)[0]),
    ord("r"): lambda m: m.store(m.take_number("<I")),
    0x94: lambda m: m.store(len(m.memo)),
    ord("g"): lambda m: m.fetch(m.take_integer_line()),
    ord("h"): lambda m: m.fetch(m.take(1)[0]),
    ord("j"): lambda m: m.fetch(m.take_number("<I")),
    # plain values
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): Machine.op_int_line,
    ord("L"): lambda m: m.push(m.take_integer_line(b"L")),
    ord("J"): lambda m: m.push(m.take_number("<i")),
    ord("K"): lambda m: m.push(m.take(1)[0]),
    ord("M"): lambda m: m.push(m.take_number("<H")),
    0x8A: lambda m: m.op_long(m.take(1)[0]),
    0x8B: lambda m: m.op_long(m.take_number("<i")),
    ord("F"): Machine.op_float_line,
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    # text and bytes; the text of Python 2 is latin-1
    ord("S"): Machine.op_string_line,
    ord("T"): lambda m: m.push(m.take(m.take_number("<I")).decode("latin-1")),
    ord("U"): lambda m: m.push(m.take(m.take(1)[0]).decode("latin-1")),
    ord("V"): lambda m: m.push(m.decode(m.take_line(), "raw-unicode-escape")),
    ord("X"): lambda m: m.push(m.decode(m.take(m.take_number("<I")), "utf-8")),
    0x8C: lambda m: m.push(m.decode(m.take(m.take(1)[0]), "utf-8")),
    0x8D: lambda m: m.push(m.decode(m.take(m.take_number("<Q")), "utf-8")),
    ord("B"): lambda m: m.push(m.take(m.take_number("<I"))),
    ord("C"): lambda m: m.push(m.take(m.take(1)[0])),
    0x8E: lambda m: m.push(m.take(m.take_number("<Q"))),
    0x96: lambda m: m.push(m.take(m.take_number("<Q"))),
    # containers
    ord("]"): lambda m: m.push_container([]),
    ord("l"): lambda m: m.push_container(m.pop_to_mark()),
    ord("a"): Machine.op_append,
    ord("e"): lambda m: m.extend(m.pop_to_mark()),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push_container(tuple(m.pop_to_mark())),
    0x85: lambda m: m.op_tuple(1),
    0x86: lambda m: m.op_tuple(2),
    0x87: lambda m: m.op_tuple(3),
    ord("}"): lambda m: m.push_container({}, _DICT),
    ord("d"): Machine.op_dict_from_mark,
    ord("s"): Machine.op_set_item,
    ord("u"): lambda m: m.update(m.pop_to_mark()),
    0x8F: lambda m: m.push_container(set(), _SET),
    0x90: Machine.op_add_items,
    0x91: lambda m: m.push_container(frozenset(m.check_key(item) for item in m.pop_to_mark()), _SET),
    # names and what they make
    ord("c"): Machine.op_global_line,
    0x93: Machine.op_global_stack,
    ord("R"): Machine.op_reduce,
    0x81: Machine.op_new_object,
    ord("b"): Machine.op_build,
}
