"""Feet and hands whose label is wrong although the body is right: how they are found, and how they are repaired."""
