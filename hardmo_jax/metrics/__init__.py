"""Errors of poses and keypoints as the field reports them."""
