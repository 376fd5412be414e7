"""Seeded damage to files: bytes changed, lengths made huge, pieces cut out, doubled, moved, taken from another file."""

import struct
from collections.abc import Sequence

import numpy as np

#: Numbers that lengths and counts are replaced by.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
#: Words that mean something to a reader of text.
_WORDS = (
    *(b"nan", b"-1", b"1e999", b"9" * 400, b"9" * 5000, b"null", b"true", b"[]", b"{}", b'""', b"-0", b"1e-320"),
    *(b"\xff", b"\x00", b"\n", b"\\u0000", b"..", b"/", b"'", b",", b"(", b")", b"O", b"|O8", b"."),
)


def mutated(seeds: Sequence[bytes], generator: np.random.Generator) -> bytes:
    """One of the files with one to four kinds of damage.

    Args:
        seeds: Honest files.
        generator: Says which.
    """
    data = bytearray(seeds[int(generator.integers(len(seeds)))])
    for _ in range(generator.integers(1, 5)):
        place = int(generator.integers(0, len(data) + 1))
        count = int(generator.integers(1, 24))
        match int(generator.integers(9)):
            case 0:
                data[place : place + 1] = bytes([generator.integers(256)])
            case 1:
                del data[place : place + count]
            case 2:
                data[place:place] = data[place : place + count]
            case 3:
                data[place : place + 4] = struct.pack("<I", _EDGES[generator.integers(len(_EDGES))])
            case 4:
                word = _WORDS[generator.integers(len(_WORDS))]
                data[place : place + int(generator.integers(0, 8))] = word
            case 5:
                del data[place:]
            case 6:
                other = seeds[int(generator.integers(len(seeds)))]
                start = int(generator.integers(0, len(other) + 1))
                data[place : place + count] = other[start : start + count]
            case 7:
                if place < len(data):
                    data[place] ^= 1 << int(generator.integers(8))
            case _:
                back = int(generator.integers(0, len(data) + 1))
                piece = data[place : place + count]
                del data[place : place + count]
                data[back:back] = piece
    return bytes(data)
