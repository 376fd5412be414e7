"""PyTorch stand-ins of the CLIFF family, written from the tables of their parameters and from their papers.

Names of modules are those of the public checkpoints; `torch_networks` says what stand-ins are for.
"""

import itertools

import torch
from torch import nn
from torch.nn import functional

from tests.reference.torch_networks import Bottleneck, Spin, orthonormalised


def layer(channels, outputs, side, stride, *, is_bent=True, has_bias=False):
    parts = [nn.Conv2d(channels, outputs, side, stride, side // 2, bias=has_bias), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([nn.ReLU()] if is_bent else []))


class Basic(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        return functional.relu(x + self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))))


class Exchange(nn.Module):
    """Branches, and what each says to the others."""

    def __init__(self, widths, blocks):
        super().__init__()
        self.branches = nn.ModuleList([nn.Sequential(*[Basic(width) for _ in range(blocks)]) for width in widths])
        rows = []
        for to, target in enumerate(widths):
            row = []
            for at, source in enumerate(widths):
                if at == to:
                    row.append(nn.Identity())
                elif at > to:
                    up = nn.Upsample(scale_factor=2 ** (at - to), mode="nearest")
                    row.append(nn.Sequential(*layer(source, target, 1, 1, is_bent=False), up))
                else:
                    steps = [layer(source, source, 3, 2) for _ in range(to - at - 1)]
                    row.append(nn.Sequential(*steps, layer(source, target, 3, 2, is_bent=False)))
            rows.append(nn.ModuleList(row))
        self.fuse_layers = nn.ModuleList(rows)

    def forward(self, xs):
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        return [functional.relu(sum(way(x) for way, x in zip(row, xs, strict=True))) for row in self.fuse_layers]


class Branches(nn.Module):
    """What both networks have in common."""

    def __init__(self, width, stem, modules, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem)
        self.conv2, self.bn2 = nn.Conv2d(stem, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem)
        self.layer1 = nn.Sequential(Bottleneck(stem, stem, 1), *[Bottleneck(4 * stem, stem, 1) for _ in range(3)])
        before = [4 * stem]
        for place, count in enumerate(modules):
            widths = [width * 2**one for one in range(place + 2)]
            kept = [nn.Identity() if a == b else layer(a, b, 3, 1) for a, b in zip(before, widths, strict=False)]
            more = nn.Sequential(layer(before[-1], widths[-1], 3, 2))
            setattr(self, f"transition{place + 1}", nn.ModuleList([*kept, more]))
            setattr(self, f"stage{place + 2}", nn.Sequential(*[Exchange(widths, blocks) for _ in range(count)]))
            before = widths
        self.widths, self.modules_by_stage = before, modules

    def parted(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        xs = [self.layer1(x)]
        for place in range(len(self.modules_by_stage)):
            ways = getattr(self, f"transition{place + 1}")
            xs = [*[way(x) for way, x in zip(ways, xs, strict=False)], ways[-1](xs[-1])]
            xs = getattr(self, f"stage{place + 2}")(xs)
        return xs


class ClassifyingHrnet(Branches):
    def __init__(self, width=48, stem=64, modules=(1, 4, 3), blocks=4, widened=32, outputs=2048):
        super().__init__(width, stem, modules, blocks)
        inner = [widened * 2**place for place in range(len(self.widths))]
        wide = [4 * one for one in inner]
        pairs = zip(self.widths, inner, strict=True)
        self.incre_modules = nn.ModuleList([nn.Sequential(Bottleneck(a, b, 1)) for a, b in pairs])
        pairs = itertools.pairwise(wide)
        self.downsamp_modules = nn.ModuleList([layer(a, b, 3, 2, has_bias=True) for a, b in pairs])
        self.final_layer = layer(wide[-1], outputs, 1, 1, has_bias=True)
        self.features = outputs

    def forward(self, x):
        first, *others = [block(x) for block, x in zip(self.incre_modules, self.parted(x), strict=True)]
        for way, other in zip(self.downsamp_modules, others, strict=True):
            first = other + way(first)
        return self.final_layer(first).mean((2, 3))


class PoseHrnet(Branches):
    def __init__(self, width=48, stem=64, modules=(1, 4, 3), blocks=4):
        super().__init__(width, stem, modules, blocks)
        self.final_layer = nn.Conv2d(width, 24, 1)
        for place, own in enumerate(self.widths[:-1]):
            parts = [part for _ in range(len(self.widths) - 1 - place) for part in layer(own, own, 3, 2)]
            setattr(self, f"downsample_stage_{place + 1}", nn.Sequential(*parts))
        self.features = sum(self.widths)

    def forward(self, x):
        xs = self.parted(x)
        fine = [getattr(self, f"downsample_stage_{place + 1}")(x) for place, x in enumerate(xs[:-1])]
        return torch.cat([*fine, xs[-1]], 1).mean((2, 3))


class Head(nn.Module):
    """SPIN's head, which may read numbers about the box."""

    def __init__(self, features, box_numbers, hidden=1024, joints=24, betas=10):
        super().__init__()
        self.fc1, self.fc2 = (
            nn.Linear(features + box_numbers + 6 * joints + betas + 3, hidden),
            nn.Linear(hidden, hidden),
        )
        self.decpose, self.decshape = nn.Linear(hidden, 6 * joints), nn.Linear(hidden, betas)
        self.deccam = nn.Linear(hidden, 3)
        for name, size in (("init_pose", 6 * joints), ("init_shape", betas), ("init_cam", 3)):
            self.register_buffer(name, torch.zeros(1, size))

    def forward(self, *seen):
        batch = len(seen[0])
        pose, betas, cam = (start.expand(batch, -1) for start in (self.init_pose, self.init_shape, self.init_cam))
        for _ in range(3):
            hidden = self.fc2(self.fc1(torch.cat([*seen, pose, betas, cam], 1)))
            pose, betas, cam = pose + self.decpose(hidden), betas + self.decshape(hidden), cam + self.deccam(hidden)
        rotations = orthonormalised(pose.reshape(-1, 3, 2)).reshape(batch, -1, 3, 3)
        return {"features": seen[0], "pose": pose, "rotations": rotations, "betas": betas, "cam": cam}


class ResnetEncoder(Spin):
    """ResNet-50 without SPIN's head."""

    def __init__(self, blocks=(3, 4, 6, 3), width=64):
        super().__init__(blocks, width)
        outputs = self.fc1.in_features - 144 - 13
        for name in ("fc1", "fc2", "decpose", "decshape", "deccam", "init_pose", "init_shape", "init_cam"):
            delattr(self, name)
        self.features_count = outputs

    def forward(self, x):
        return Spin.features(self, x)


class Cliff(Head):
    """Published CLIFF: images (B, 3, 256, 192), centres (B, 2), sides (B,), (width, height) (B, 2), focal lengths."""

    def __init__(self, encoder=None, **sizes):
        encoder = encoder or ResnetEncoder()
        super().__init__(encoder.features_count if isinstance(encoder, ResnetEncoder) else encoder.features, 3, **sizes)
        self.encoder = encoder

    def forward(self, images, center, side, size, focal):
        x = (center[:, 0] - size[:, 0] / 2) / focal * 2.8
        y = (center[:, 1] - size[:, 1] / 2) / focal * 2.8
        box = torch.stack([x, y, (side - 0.24 * focal) / (0.06 * focal)], 1)
        return super().forward(self.encoder(images), box)


class DeadHead(Head):
    """With layers that its network never uses."""

    def __init__(self, features, *more, **sizes):
        super().__init__(features, *more, **sizes)
        self.downsample_module = nn.Sequential(*[layer(features, features, 3, 2, has_bias=True) for _ in range(3)])


class BedlamCliff(nn.Module):
    """CLIFF as BEDLAM trains it; arguments as of `Cliff`, images (B, 3, 224, 224)."""

    def __init__(self, backbone=None, **sizes):
        super().__init__()
        self.backbone = backbone or PoseHrnet()
        self.head = DeadHead(self.backbone.features, 3, **sizes)

    def forward(self, images, center, side, size, focal):
        box = torch.cat([center - size / 2, side[:, None]], 1) / focal[:, None]
        return self.head(self.backbone(images), box)


class HardmoHmr(nn.Module):
    """HMR with the pose network; what is told about boxes is not used."""

    def __init__(self, backbone=None, **sizes):
        super().__init__()
        self.backbone = backbone or PoseHrnet()
        self.head = DeadHead(self.backbone.features, 0, **sizes)

    def forward(self, images, *_):
        return self.head(self.backbone(images))
