"""Array annotations shared by the package, and the dictionary of axis names.

Axis names: `*batch` leading axes of any rank, `time` frames, `V` vertices, `J` joints, `K` keypoints,
`S` shape coefficients, `F` faces, `P` pose-blend columns, `H W C` image height, width, channels.
Shapes are checked at run time in the tests only (jaxtyping with beartype), never in production.
"""

import typing

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

if typing.TYPE_CHECKING:
    # Static checkers would demand a conversion before every `.at` and `@`; the run-time check is the real one.
    AnyArray = typing.Any
else:
    #: What users may hand over: arrays on a device or in host memory.
    AnyArray = Array | np.ndarray

__all__ = ["AnyArray", "Array", "Bool", "Float", "Int", "Shaped"]
