"""Small pickles that are right or wrong in one thing, for tests of each check by itself."""

import numpy as np

from tests.reference import smpl_files
from tests.reference.hostile_pickles import array_shell, dtype, name, value

FLOATS = dtype()
SET, DICT = name("builtins", "set"), name("collections", "OrderedDict")
SCALAR = name("numpy.core.multiarray", "scalar")
BUFFER = name("numpy.core.numeric", "_frombuffer")
ENCODE = name("_codecs", "encode")
REBUILD = name("copy_reg", "_reconstructor")
CHUMPY = name("chumpy.ch", "Ch") + b")\x81"
TEXT = dtype("U1", (3, ">", None, None, None, 4, 4, 8))
OBJECT_STATE = (3, "|", None, None, None, -1, -1, 63)


def raw(content: bytes) -> bytes:
    return b"C" + bytes([len(content)]) + content


def long(number: int) -> bytes:
    return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)


def array_state(*state: bytes) -> bytes:
    return array_shell() + b"(" + b"".join(state) + b"tb"


def chumpy_select(**changes: object) -> bytes:
    parts = {"a": smpl_files.chumpy_array(np.eye(2)), "idxs": np.array([0, 3]), "preferred_shape": (2,), **changes}
    return value(smpl_files.Chumpy(parts, "chumpy.reordering Select"))


def coo(**changes: object) -> bytes:
    lies = {"_shape": (2, 3), "row": np.array([0, 1]), "col": np.array([2, 0]), "data": np.array([1.0, 2.0]), **changes}
    kept = {key: item for key, item in lies.items() if item is not None}
    entries = b"".join(value(key) + (item if isinstance(item, bytes) else value(item)) for key, item in kept.items())
    return name("scipy.sparse.coo", "coo_matrix") + b")\x81}(" + entries + b"ub"


def of_a_pickle(data: bytes) -> bytes:
    """With a protocol, where it would be taken for plain text."""
    return data if not data or not data.isascii() else b"\x80\x02" + data
