"""Readers of motion capture files: each gives a `MotionClip`, or SMPL parameters where the file holds them."""
