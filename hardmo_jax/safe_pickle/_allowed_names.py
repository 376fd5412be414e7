"""The closed table of names that a pickle may say, and what of ours each stands for. Nothing is looked up elsewhere."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An allowed global name: `kind` says what our own code makes of it."""

    kind: str
    name: str


_NUMPY_CORES = ("numpy.core", "numpy._core")
_BUILTINS = ("builtins", "__builtin__")
GLOBALS: dict[tuple[str, str], str] = {
    **{(f"{core}.multiarray", "_reconstruct"): "reconstruct" for core in _NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): "scalar" for core in _NUMPY_CORES},
    **{(f"{core}.numeric", "_frombuffer"): "frombuffer" for core in _NUMPY_CORES},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("copy_reg", "_reconstructor"): "reconstructor",
    ("copyreg", "_reconstructor"): "reconstructor",
    ("collections", "OrderedDict"): "dict",
    **{(module, "object"): "object" for module in _BUILTINS},
    **{(module, name): name for module in _BUILTINS for name in ("set", "frozenset", "bytes")},
    **{
        (f"scipy.sparse{inner}", f"{layout}_{suffix}"): layout
        for layout in ("csc", "csr", "coo")
        for inner in ("", f".{layout}", f"._{layout}")
        for suffix in ("matrix", "array")
    },
}
CHUMPY = re.compile(r"chumpy(\.[A-Za-z_]\w*)* [A-Za-z_]\w*", re.ASCII)
CHUMPY_ARRAYS = ("chumpy.ch.Ch", "chumpy.Ch")
CHUMPY_SELECTIONS = ("chumpy.reordering.Select",)
INSTANCES = ("csc", "csr", "coo", "chumpy")
