"""Whole jobs, without flags."""
