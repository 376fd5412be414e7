"""Weights of YOLO in the layout of the official files, with random or with known answers."""

import torch
from ultralytics.nn import tasks

CLASSES = {"detect": tasks.DetectionModel, "pose": tasks.PoseModel, "segment": tasks.SegmentationModel}
#: Distances of the known box from the middle of its cell to the left, top, right and bottom, in cells of 8 pixels.
DISTANCES = (2, 1, 4, 4)


def save(path, model, *, image_side=64, names=None):
    """As `strip_optimizer` of ultralytics leaves a checkpoint."""
    model.names = names or {0: "person"}
    model.args = {"task": "pose", "imgsz": image_side}
    torch.save(
        {
            "epoch": -1, "best_fitness": None, "model": model.half(), "ema": None, "updates": None, "optimizer": None,
            "train_args": {"imgsz": image_side, "data": "coco.yaml"}, "train_metrics": {"fitness": 0.5},
            "date": "2024-01-01", "version": "8.4.0", "license": "AGPL-3.0",
        },
        path,
    )  # fmt: skip
    return path


def random_model(architecture, task, num_classes):
    """An official list of layers with weights that keep signals alive, so that scores differ from place to place."""
    torch.manual_seed(0)
    model = CLASSES[task](f"{architecture}.yaml", nc=num_classes, verbose=False)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d) and not name.endswith("dfl.conv"):
            torch.nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
        if name.endswith(("cv3.0", "cv3.1", "cv3.2")):
            module[-1].bias.data.fill_(-2)
        if name.endswith(("cv2.0", "cv2.1", "cv2.2")):
            # Small boxes: of 16 steps of distance the first ones, or one cell.
            steps = torch.arange(module[-1].out_channels // 4)
            module[-1].bias.data.copy_((1 - 0.7 * steps).repeat(4))
    return model.eval()


def known_layers(*, end_to_end=False):
    """Every cell of 8, 16 and 32 pixels is its brightest one; then comes the head of YOLO-pose."""
    return {
        "nc": 1, "kpt_shape": [17, 3], "reg_max": 1 if end_to_end else 16, "end2end": end_to_end, "scale": "",
        "backbone": [[-1, 1, "nn.MaxPool2d", [8]], [-1, 1, "nn.MaxPool2d", [2]], [-1, 1, "nn.MaxPool2d", [2]]],
        "head": [[[0, 1, 2], 1, "Pose", ["nc", "kpt_shape"]]],
    }  # fmt: skip


def known_model(*, end_to_end=False):
    """Finds a person at every cell of 8 pixels with red in it; where the points are is `known_points`."""
    model = tasks.PoseModel(known_layers(end_to_end=end_to_end), verbose=False)
    head = model.model[-1]
    if end_to_end:
        head.end2end = True
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if parameter.ndim == 4 and not name.startswith("dfl"):
                parameter.zero_()
        scores = head.one2one_cv3 if end_to_end else head.cv3
        boxes = head.one2one_cv2 if end_to_end else head.cv2
        points = head.one2one_cv4 if end_to_end else head.cv4
        for branch in [*head.cv3, *(head.one2one_cv3 if end_to_end else ())]:
            branch[2].bias.fill_(-20)
        for layer in scores[0][:2]:
            layer.conv.weight[0, 0, 1, 1] = 1
        scores[0][2].weight[0, 0] = 40
        scores[0][2].bias.fill_(-10)
        if end_to_end:
            boxes[0][2].bias.copy_(torch.tensor(DISTANCES))
        else:
            boxes[0][2].bias.zero_()
            for side, distance in enumerate(DISTANCES):
                boxes[0][2].bias[16 * side + distance] = 30
        points[0][2].bias.copy_(
            torch.stack([torch.arange(17) / 8, -torch.arange(17) / 8, torch.arange(17) / 4], 1).flatten()
        )
        model.model.float()
    return model


def known_points(cell, offset, scale):
    """Of the cell (column, row), in pixels of the picture."""
    steps = torch.arange(17)
    x, y = (2 * steps / 8 + cell[0]) * 8, (-2 * steps / 8 + cell[1]) * 8
    return torch.stack([(x - offset[0]) / scale, (y - offset[1]) / scale], 1).numpy(), torch.sigmoid(steps / 4).numpy()
