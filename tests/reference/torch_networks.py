"""PyTorch stand-ins of public regressors, written from the tables of their parameters and from their papers.

They exist so that the networks here have something to be compared with, in numbers and in speed: nobody's weights and
nobody's code are needed for it. Names of modules are those of the public checkpoints.
"""

import dataclasses

import torch
from torch import nn
from torch.nn import functional


class Bottleneck(nn.Module):
    """Block of ResNet-50 with the stride in the middle."""

    def __init__(self, channels, inner, stride):
        super().__init__()
        outer = 4 * inner
        self.conv1, self.bn1 = nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer)
        self.downsample = None
        if stride != 1 or channels != outer:
            self.downsample = nn.Sequential(nn.Conv2d(channels, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x):
        straight = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return functional.relu(self.bn3(self.conv3(x)) + straight)


class Spin(nn.Module):
    """SPIN's network: images (B, 3, 224, 224) to a dict of outputs and of what is on the way."""

    def __init__(self, blocks=(3, 4, 6, 3), width=64, hidden=1024, joints=24, betas=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            layers = []
            for place in range(count):
                layers.append(Bottleneck(channels, inner, 2 if stage and not place else 1))
                channels = 4 * inner
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.fc1 = nn.Linear(channels + 6 * joints + betas + 3, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.decpose, self.decshape = nn.Linear(hidden, 6 * joints), nn.Linear(hidden, betas)
        self.deccam = nn.Linear(hidden, 3)
        for name, size in (("init_pose", 6 * joints), ("init_shape", betas), ("init_cam", 3)):
            self.register_buffer(name, torch.zeros(1, size))

    def features(self, x):
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x.mean((2, 3))

    def forward(self, images):
        features = self.features(images)
        batch = len(images)
        pose, betas, cam = (start.expand(batch, -1) for start in (self.init_pose, self.init_shape, self.init_cam))
        for _ in range(3):
            hidden = self.fc2(self.fc1(torch.cat([features, pose, betas, cam], 1)))
            pose, betas, cam = pose + self.decpose(hidden), betas + self.decshape(hidden), cam + self.deccam(hidden)
        rotations = orthonormalised(pose.reshape(-1, 3, 2)).reshape(batch, -1, 3, 3)
        return {"features": features, "pose": pose, "rotations": rotations, "betas": betas, "cam": cam}


def orthonormalised(columns):
    """Gram-Schmidt on pairs of columns (N, 3, 2)."""
    first = functional.normalize(columns[..., 0], dim=-1)
    second = columns[..., 1] - (first * columns[..., 1]).sum(-1, keepdim=True) * first
    second = functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], -1)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of HMR 2.0; the default is the published network."""

    width: int = 1280
    depth: int = 32
    heads: int = 16
    token: int = 1024
    decoder_depth: int = 6
    decoder_heads: int = 8
    head_width: int = 64
    hidden: int = 1024


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(found.transpose(1, 2).reshape(batch, length, width))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x)))


class VitBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=1e-6), Mlp(width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Conv2d(3, width, 16, 16, 2)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Vit(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.patch_embed = PatchEmbed(sizes.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, 193, sizes.width))
        self.blocks = nn.ModuleList([VitBlock(sizes.width, sizes.heads) for _ in range(sizes.depth)])
        self.last_norm = nn.LayerNorm(sizes.width, eps=1e-6)

    def forward(self, x):
        x = self.patch_embed(x) + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x)


class Before(nn.Module):
    """Something after a normalisation."""

    def __init__(self, width, fn):
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(width), fn

    def forward(self, x, *more):
        return self.fn(self.norm(x), *more)


class DecoderAttention(nn.Module):
    def __init__(self, sizes, *, is_cross):
        super().__init__()
        inner, self.heads = sizes.decoder_heads * sizes.head_width, sizes.decoder_heads
        if is_cross:
            self.to_kv = nn.Linear(sizes.width, 2 * inner, bias=False)
            self.to_q = nn.Linear(sizes.token, inner, bias=False)
        else:
            self.to_qkv = nn.Linear(sizes.token, 3 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, sizes.token), nn.Dropout(0.0))

    def forward(self, x, context=None):
        parts = self.to_qkv(x).chunk(3, -1) if context is None else (self.to_q(x), *self.to_kv(context).chunk(2, -1))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.to_out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class DecoderMlp(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        first, second = nn.Linear(sizes.token, sizes.hidden), nn.Linear(sizes.hidden, sizes.token)
        self.net = nn.Sequential(first, nn.GELU(), nn.Dropout(0.0), second, nn.Dropout(0.0))

    def forward(self, x):
        return self.net(x)


class DecoderLayers(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.ModuleList(
                    [
                        Before(sizes.token, DecoderAttention(sizes, is_cross=False)),
                        Before(sizes.token, DecoderAttention(sizes, is_cross=True)),
                        Before(sizes.token, DecoderMlp(sizes)),
                    ]
                )
                for _ in range(sizes.decoder_depth)
            ]
        )

    def forward(self, x, context):
        for itself, cross, mlp in self.layers:
            x = x + itself(x)
            x = x + cross(x, context)
            x = x + mlp(x)
        return x


class Decoder(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.to_token_embedding = nn.Linear(1, sizes.token)
        self.pos_embedding = nn.Parameter(torch.zeros(1, 1, sizes.token))
        self.transformer = DecoderLayers(sizes)

    def forward(self, context):
        nothing = context.new_zeros(len(context), 1, 1)
        return self.transformer(self.to_token_embedding(nothing) + self.pos_embedding, context)[:, 0]


class SmplHead(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.transformer = Decoder(sizes)
        self.decpose, self.decshape = nn.Linear(sizes.token, 144), nn.Linear(sizes.token, 10)
        self.deccam = nn.Linear(sizes.token, 3)
        for name, size in (("init_body_pose", 144), ("init_betas", 10), ("init_cam", 3)):
            self.register_buffer(name, torch.zeros(1, size))

    def forward(self, tokens):
        found = self.transformer(tokens)
        pose = self.decpose(found) + self.init_body_pose
        return pose, self.decshape(found) + self.init_betas, self.deccam(found) + self.init_cam


class Hmr2(nn.Module):
    """HMR 2.0: images (B, 3, 256, 256) to a dict of outputs and of what is on the way."""

    def __init__(self, sizes=Sizes()):
        super().__init__()
        self.backbone, self.smpl_head = Vit(sizes), SmplHead(sizes)

    def forward(self, images):
        features = self.backbone(images[:, :, :, 32:-32])
        pose, betas, cam = self.smpl_head(features)
        columns = pose.reshape(-1, 2, 3).transpose(1, 2)
        rotations = orthonormalised(columns).reshape(len(images), -1, 3, 3)
        return {"features": features, "pose": pose, "rotations": rotations, "betas": betas, "cam": cam}


class Discriminator(nn.Module):
    """HMR 2.0's: rotation matrices (B, 23, 3, 3) and betas (B, 10) to 25 verdicts."""

    def __init__(self):
        super().__init__()
        self.D_conv1, self.D_conv2 = nn.Conv2d(9, 32, 1), nn.Conv2d(32, 32, 1)
        self.pose_out = nn.ModuleList([nn.Linear(32, 1) for _ in range(23)])
        self.betas_fc1, self.betas_fc2, self.betas_out = nn.Linear(10, 10), nn.Linear(10, 5), nn.Linear(5, 1)
        self.D_alljoints_fc1, self.D_alljoints_fc2 = nn.Linear(23 * 32, 1024), nn.Linear(1024, 1024)
        self.D_alljoints_out = nn.Linear(1024, 1)

    def forward(self, body_pose, betas):
        x = body_pose.reshape(len(betas), 23, 1, 9).permute(0, 3, 1, 2)
        x = functional.relu(self.D_conv2(functional.relu(self.D_conv1(x))))
        single = [layer(x[:, :, joint, 0]) for joint, layer in enumerate(self.pose_out)]
        shape = self.betas_out(functional.relu(self.betas_fc2(functional.relu(self.betas_fc1(betas)))))
        whole = functional.relu(self.D_alljoints_fc2(functional.relu(self.D_alljoints_fc1(x.flatten(1)))))
        return torch.cat([*single, shape, self.D_alljoints_out(whole)], 1)


def randomise(network, seed):
    """Weights that keep signals alive, statistics that are not those of no batch, and a guess to start from."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if not value.is_floating_point() or value.ndim == 0:
            continue
        noise = torch.empty(value.shape, dtype=torch.float32).normal_(generator=generator)
        if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.copy_(1 + 0.1 * noise.clamp(-3, 3))
        elif value.ndim == 1:
            value.copy_(0.1 * noise)
        elif name.rpartition(".")[2].startswith("init_"):
            value.copy_(noise)
        elif "pos_embed" in name:
            value.copy_(0.5 * noise)
        else:
            fan_in = value[0].numel()
            gain = 2.0 if value.ndim == 4 and value.shape[2] < 16 else 1.0
            value.copy_(noise * (gain / fan_in) ** 0.5)
    return network.eval()
