"""SMPL-family body models: loading, posing, skinning, named points. Needs jax, numpy and jaxtyping only."""
