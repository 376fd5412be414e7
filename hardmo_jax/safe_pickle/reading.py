"""The functions that read pickles. All of them are one machine; they differ in what it may describe."""

import os
import re
from pathlib import Path
from typing import Any

from hardmo_jax.safe_pickle._described import DescribingMachine, LenientMachine
from hardmo_jax.safe_pickle._machine import MAX_OPCODES, Machine
from hardmo_jax.safe_pickle._object_arrays import ObjectArrayMachine
from hardmo_jax.safe_pickle.capped_files import MAX_FILE_BYTES, read_capped
from hardmo_jax.safe_pickle.errors import UnsafePickleError


def load(
    path: str | os.PathLike[str],
    *,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_opcodes: int = MAX_OPCODES,
) -> Any:
    """Read one pickle file without executing anything in it.

    Args:
        path: File to read.
        max_file_bytes: Largest file that is read.
        max_opcodes: Largest number of pickle instructions that is followed.

    Returns:
        The value of the pickle; see the module's text for what it can be made of.

    Raises:
        UnsafePickleError: If the pickle names anything outside the closed list or exceeds a cap.
        CorruptPickleError: If the file is empty, cut off, damaged, or not a pickle.
    """
    data = read_capped(path, max_file_bytes=max_file_bytes)
    return loads(data, source=Path(path).name, max_file_bytes=max_file_bytes, max_opcodes=max_opcodes)


def loads(
    data: bytes,
    *,
    source: str = "pickle",
    max_file_bytes: int = MAX_FILE_BYTES,
    max_opcodes: int = MAX_OPCODES,
) -> Any:
    """Read one pickle from bytes without executing anything in it.

    Args:
        data: The whole pickle; bytes after its end are refused.
        source: Name to use in messages.
        max_file_bytes: Largest `data` that is read.
        max_opcodes: Largest number of pickle instructions that is followed.

    Returns:
        The value of the pickle; see the module's text for what it can be made of.

    Raises:
        UnsafePickleError: If the pickle names anything outside the closed list or exceeds a cap.
        CorruptPickleError: If the data is empty, cut off, damaged, or not a pickle.
    """
    if len(data) > max_file_bytes:
        raise UnsafePickleError(
            f"{source}: refused: {len(data)} bytes, more than the cap of {max_file_bytes}; "
            "raise max_file_bytes if the file is really meant to be that large"
        )
    return Machine(bytes(data), source, max_opcodes).run()


def loads_described(
    data: bytes,
    *,
    names: re.Pattern[str],
    calls: frozenset[str],
    source: str = "pickle",
    advice: str,
    is_lenient: bool = False,
    max_opcodes: int = MAX_OPCODES,
) -> Any:
    """Read a pickle of another program's objects from bytes without making any of them.

    Args:
        data: The whole pickle; bytes after its end are refused.
        names: Full names of classes and constants that may be described.
        calls: Full names of what may also be described as called.
        source: Name to use in messages.
        advice: What messages of refusal end with.
        is_lenient: Whether all that may be named may be called, hold entries, contain itself and be a key, all in
            description.
        max_opcodes: Largest number of pickle instructions that is followed.

    Returns:
        The value of the pickle: as `loads`, with `Described` in it.

    Raises:
        UnsafePickleError: If the pickle names anything else or exceeds a cap.
        CorruptPickleError: If the data is empty, cut off, damaged, or not a pickle.
    """
    machine = (LenientMachine if is_lenient else DescribingMachine)(bytes(data), source, max_opcodes)
    machine.names, machine.calls, machine.advice = names, calls, advice
    return machine.run()


def loads_described_parts(
    data: bytes,
    count: int,
    *,
    names: re.Pattern[str],
    calls: frozenset[str],
    source: str = "pickle",
    advice: str,
    is_lenient: bool = False,
) -> tuple[list[Any], int]:
    """Read the first pickles of data in which several follow each other, and something else follows them.

    Args:
        data: The pickles and whatever comes after them.
        count: How many to read.
        names: As for `loads_described`, and so are the others.
        calls: See there.
        source: See there.
        advice: See there.
        is_lenient: See there.

    Returns:
        Their values, and the place in `data` where the last one ends.

    Raises:
        UnsafePickleError: As `loads_described`.
        CorruptPickleError: As `loads_described`.
    """
    values, position = [], 0
    for _ in range(count):
        machine = (LenientMachine if is_lenient else DescribingMachine)(bytes(data), source, MAX_OPCODES)
        machine.names, machine.calls, machine.advice = names, calls, advice
        machine.position, machine.is_followed = position, True
        values.append(machine.run())
        position = machine.position
    return values, position


def loads_with_object_arrays(data: bytes, *, source: str, max_opcodes: int = MAX_OPCODES) -> Any:
    """Read one pickle from bytes, as `loads`, arrays of objects included.

    Args:
        data: The whole pickle.
        source: Name to use in messages.
        max_opcodes: Largest number of pickle instructions that is followed.

    Returns:
        The value of the pickle: as `loads`, with arrays of plain values in it.

    Raises:
        UnsafePickleError: If the pickle names anything outside the closed list or exceeds a cap.
        CorruptPickleError: If the data is empty, cut off, damaged, or not a pickle.
    """
    return ObjectArrayMachine(bytes(data), source, max_opcodes).run()
