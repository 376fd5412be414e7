"""Blender's view of an exported GLB file, compared with vertices that were computed without Blender.

    blender -b -P tests/export/motion/blender_check.py -- scene.glb truth.npz [picture.png [frame]]

or the same with a Python that has the `bpy` package. `truth.npz` holds, for every person, `NAME` (frames, V, 3), metres
in a world with z up, and `NAME_first`, the frame of the scene where they begin; and `fps`. With a picture, a frame is
rendered by Cycles. Exits with 1 if a vertex is farther than 0.1 mm from where it should be.
"""

import os
import sys

import bpy
import numpy as np

CLOSE = 1e-4


def main():
    path, truth_path, *picture = sys.argv[sys.argv.index("--") + 1 :]
    truth = dict(np.load(truth_path))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    # Before the import, which turns seconds into frames by this whole number and is wrong about `fps_base`: at 29.97
    # frames a second, ours lie between Blender's.
    fps = float(truth["fps"])
    scene.render.fps = round(fps)
    bpy.ops.import_scene.gltf(filepath=path)
    names = [name.removesuffix("_first") for name in truth if name.endswith("_first")]
    frames = max(int(truth[f"{name}_first"]) + len(truth[name]) for name in names)
    worst, absent = 0.0, 0.0
    for frame in range(frames):
        # A little later, as the times in the file are rounded, and somebody may come or go in this frame.
        at = frame * scene.render.fps / fps + 1e-5
        scene.frame_set(int(at), subframe=at % 1)
        for name in names:
            vertices = evaluated(bpy.data.objects[f"{name}_mesh"])
            row = frame - int(truth[f"{name}_first"])
            if 0 <= row < len(truth[name]):
                worst = max(worst, distance(vertices, truth[name][row]))
            else:
                absent = max(absent, float(np.ptp(vertices, axis=0).max()))
    print(
        f"Blender {bpy.app.version_string}: {len(names)} people, {frames} frames, worst vertex {1e3 * worst:.5f} mm "
        f"from ours; people who are not there are {1e3 * absent:.5f} mm large"
    )
    cameras = [thing for thing in bpy.data.objects if thing.type == "CAMERA"]
    print(f"armatures {sorted(thing.name for thing in bpy.data.armatures)}, cameras {len(cameras)}")
    if picture:
        render(scene, picture[0], int(picture[1]) if len(picture) > 1 else frames // 2, cameras)
    sys.stdout.flush()
    # Blender as a Python module crashes where an ordinary exit takes it apart.
    os._exit(not max(worst, absent) < CLOSE)


def evaluated(thing):
    """Vertices in the world, after everything that moves them."""
    graph = bpy.context.evaluated_depsgraph_get()
    shown = thing.evaluated_get(graph)
    mesh = shown.to_mesh()
    flat = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", flat)
    shown.to_mesh_clear()
    world = np.array(shown.matrix_world)
    return flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def distance(first, second):
    assert first.shape == second.shape, f"{first.shape} vertices against {second.shape}"
    return float(np.linalg.norm(first - second, axis=1).max())


def render(scene, path, frame, cameras):
    """A picture by the file's own camera, with a floor and a sun, neither of which the file has."""
    scene.frame_set(frame)
    scene.camera = cameras[0]
    bpy.ops.mesh.primitive_plane_add(size=200.0)
    grey = bpy.data.materials.new("floor")
    grey.use_nodes = True
    grey.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.3, 0.31, 0.33, 1.0)
    bpy.context.object.data.materials.append(grey)
    bpy.ops.object.light_add(type="SUN", rotation=(0.6, 0.25, 0.4))
    bpy.context.object.data.energy, bpy.context.object.data.angle = 3.0, 0.05
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.75, 0.8, 0.9, 1.0)
    world.node_tree.nodes["Background"].inputs[1].default_value = 0.6
    scene.world = world
    scene.view_settings.view_transform = "Standard"
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 32, True
    scene.render.resolution_x, scene.render.resolution_y = 960, 540
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGB"
    scene.render.dither_intensity, scene.render.image_settings.compression = 0.0, 100
    scene.render.filepath = path
    bpy.ops.render.render(write_still=True)


main()
