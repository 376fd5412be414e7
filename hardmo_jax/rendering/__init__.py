"""Meshes to pixels: OpenGL raster, and a painter where there is no GL."""
