"""Rotations and cameras: mathematics that knows nothing of bodies."""
