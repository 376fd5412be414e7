"""The one reader of pickles: arrays and plain values come out, nothing in the file is ever executed.

Old body models and datasets are pickles, and a pickle is a program. This package does not sandbox Python's
unpickler, it does without it: a small stack machine of our own interprets the opcodes. Its objects are inert, a
name such as `numpy.ndarray` is looked up in a closed table of ours, and nothing is imported, called or given
attributes on the file's behalf. `pickle.Unpickler.find_class` was not enough: its BUILD updates instance
dictionaries and hands unchecked state to C code (`ndarray.__setstate__`), it resolves dotted names, it recurses
and it allocates what the file declares. `pickletools.genops` as a pre-scan was rejected too: two parsers can
disagree on one file, and it fails on arrays in the text pickles of Python 2 (protocol 0). There is no second,
looser loader to fall back to.

What can come out: None, bool, int, float, str, bytes, list, tuple, dict, set, NumPy arrays and scalars without
object fields, scipy.sparse csc/csr/coo matrices as `SparseMatrix`, and chumpy arrays as NumPy arrays. A chumpy
expression comes out as an `UnreadChumpy` marker. Python 2 text is read as latin-1, a bytearray as bytes, an
OrderedDict as a dict.

`loads_described` reads pickles of other programs' objects in the same way: such an object comes out as a
`Described`, which says what the file says about it and is nothing else. With `is_lenient`, for checkpoints of
training programs, such objects may also contain themselves, hold entries like a dict or list, and be keys.

`loads_with_object_arrays` reads the object arrays of published labels, whose members are plain values again.

All of these are one machine with a table of instructions: `_tape` takes bytes, `_making` makes what `_allowed_names`
lists, `_finishing` hands results out, `_machine` interprets; `_described` and `_object_arrays` replace a few of them.
"""

from hardmo_jax.safe_pickle._machine import MAX_OPCODES
from hardmo_jax.safe_pickle.capped_files import MAX_FILE_BYTES, read_capped
from hardmo_jax.safe_pickle.errors import CorruptPickleError, UnsafePickleError
from hardmo_jax.safe_pickle.foreign_formats import foreign_format
from hardmo_jax.safe_pickle.read_values import PERSISTENT_ID, WITHIN_ITSELF, Described, SparseMatrix, UnreadChumpy
from hardmo_jax.safe_pickle.reading import (
    load,
    loads,
    loads_described,
    loads_described_parts,
    loads_with_object_arrays,
)

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_OPCODES",
    "PERSISTENT_ID",
    "WITHIN_ITSELF",
    "CorruptPickleError",
    "Described",
    "SparseMatrix",
    "UnreadChumpy",
    "UnsafePickleError",
    "foreign_format",
    "load",
    "loads",
    "loads_described",
    "loads_described_parts",
    "loads_with_object_arrays",
    "read_capped",
]
