"""Array annotations shared by the package, and the dictionary of axis names.

Axis names: `*batch` leading axes of any rank, `time` frames, `V` vertices, `J` joints, `K` keypoints,
`S` shape coefficients, `F` faces, `P` pose-blend columns, `H W C` image height, width, channels.
Shapes are checked at run time in the tests only (jaxtyping with beartype), never in production.
"""

from jaxtyping import Array, Bool, Float, Int, Shaped

__all__ = ["Array", "Bool", "Float", "Int", "Shaped"]
