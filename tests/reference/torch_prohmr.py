"""A PyTorch stand-in of ProHMR, written from the table of its parameters and from its paper; see `torch_networks`."""

import math

import torch
from torch import nn
from torch.nn import functional

from tests.reference import torch_networks


class Backbone(nn.Module):
    """ResNet-50 up to the mean over the picture."""

    def __init__(self, blocks, width):
        super().__init__()
        whole = torch_networks.Spin(blocks, width)
        self.conv1, self.bn1 = whole.conv1, whole.bn1
        self.stages = whole.stages
        for stage in range(self.stages):
            setattr(self, f"layer{stage + 1}", getattr(whole, f"layer{stage + 1}"))

    forward = torch_networks.Spin.features


class Marked(nn.Module):
    """Parts of the flow carry buffers that hold nothing."""

    def __init__(self):
        super().__init__()
        self.register_buffer("dummy_buffer", torch.zeros(()))


class ActNorm(Marked):
    def __init__(self, features):
        super().__init__()
        self.log_scale, self.shift = nn.Parameter(torch.zeros(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("initialized", torch.tensor(True))

    def forward(self, x, context):
        return self.log_scale.exp() * x + self.shift, self.log_scale.sum()

    def inverse(self, y, context):
        return (y - self.shift) / self.log_scale.exp()


class LULinear(Marked):
    def __init__(self, features):
        super().__init__()
        self.features, entries = features, features * (features - 1) // 2
        self.bias = nn.Parameter(torch.zeros(features))
        self.lower_entries, self.upper_entries = nn.Parameter(torch.zeros(entries)), nn.Parameter(torch.zeros(entries))
        self.unconstrained_upper_diag = nn.Parameter(torch.zeros(features))

    def matrix(self):
        lower, upper = torch.eye(self.features).to(self.bias), torch.zeros(self.features, self.features).to(self.bias)
        rows, columns = torch.tril_indices(self.features, self.features, -1)
        lower[rows, columns] = self.lower_entries
        rows, columns = torch.triu_indices(self.features, self.features, 1)
        upper[rows, columns] = self.upper_entries
        diagonal = functional.softplus(self.unconstrained_upper_diag) + 1e-3
        return lower @ (upper + torch.diag(diagonal)), diagonal.log().sum()

    def forward(self, x, context):
        matrix, volume = self.matrix()
        return functional.linear(x, matrix, self.bias), volume

    def inverse(self, y, context):
        matrix, _ = self.matrix()
        return torch.linalg.solve(matrix, (y - self.bias).T).T


class ResidualBlock(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.batch_norm_layers = nn.ModuleList([nn.BatchNorm1d(hidden), nn.BatchNorm1d(hidden)])
        self.linear_layers = nn.ModuleList([nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)])

    def forward(self, x):
        inner = x
        for norm, layer in zip(self.batch_norm_layers, self.linear_layers, strict=True):
            inner = layer(functional.relu(norm(inner)))
        return x + inner


class ResidualNet(nn.Module):
    def __init__(self, half, context, hidden, blocks):
        super().__init__()
        self.initial_layer = nn.Linear(half + context, hidden)
        self.blocks = nn.ModuleList([ResidualBlock(hidden) for _ in range(blocks)])
        self.final_layer = nn.Linear(hidden, half)

    def forward(self, x, context):
        x = self.initial_layer(torch.cat([x, context], 1))
        for block in self.blocks:
            x = block(x)
        return self.final_layer(x)


class AdditiveCoupling(Marked):
    def __init__(self, features, context, hidden, blocks, first):
        super().__init__()
        places = torch.arange(features)
        self.register_buffer("identity_features", places[first::2])
        self.register_buffer("transform_features", places[1 - first :: 2])
        self.transform_net = ResidualNet(features // 2, context, hidden, blocks)

    def moved(self, x, context, sign):
        y = x.clone()
        y[:, self.transform_features] += sign * self.transform_net(x[:, self.identity_features], context)
        return y

    def forward(self, x, context):
        return self.moved(x, context, 1), 0.0

    def inverse(self, y, context):
        return self.moved(y, context, -1)


class Composed(Marked):
    def __init__(self, parts):
        super().__init__()
        self._transforms = nn.ModuleList(parts)


class Glow(nn.Module):
    """The flow: rows of vectors and rows of context."""

    def __init__(self, features, context, hidden, layers, blocks):
        super().__init__()
        self.features = features
        parts = []
        for layer in range(layers):
            parts += [
                ActNorm(features),
                LULinear(features),
                AdditiveCoupling(features, context, hidden, blocks, layer % 2),
            ]
        self._transform = Composed(parts)

    def forward(self, x, context):
        """Noise and the logarithm of the density."""
        volume = 0.0
        for part in self._transform._transforms:
            x, more = part.forward(x, context)
            volume = volume + more
        return x, volume - 0.5 * (x**2).sum(1) - 0.5 * self.features * math.log(2 * math.pi)

    def inverse(self, z, context):
        for part in reversed(self._transform._transforms):
            z = part.inverse(z, context)
        return z


class FcHead(nn.Module):
    def __init__(self, context, hidden):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(context, hidden), nn.ReLU(), nn.Linear(hidden, 13))
        self.register_buffer("init_cam", torch.zeros(1, 1, 3))
        self.register_buffer("init_betas", torch.zeros(1, 1, 10))


class SmplFlow(nn.Module):
    def __init__(self, context, hidden, layers, blocks):
        super().__init__()
        self.flow = Glow(144, context, hidden, layers, blocks)
        self.fc_head = FcHead(context, hidden)


class Prohmr(nn.Module):
    """ProHMR: images (B, 3, 224, 224) and noise (B, S, 144) to a dict of outputs and of what is on the way."""

    def __init__(self, blocks=(3, 4, 6, 3), width=64, hidden=1024, layers=4, flow_blocks=2):
        super().__init__()
        context = width * 4 * 2 ** (len(blocks) - 1)
        self.register_buffer("initialized", torch.tensor(True))
        self.backbone = Backbone(blocks, width)
        self.flow = SmplFlow(context, hidden, layers, flow_blocks)
        self.discriminator = torch_networks.Discriminator()

    def forward(self, images, noise):
        batch, samples, _ = noise.shape
        features = self.backbone(images)
        shared = features[:, None].expand(-1, samples, -1).flatten(0, 1)
        pose = self.flow.flow.inverse(noise.flatten(0, 1), shared)
        again, log_prob = self.flow.flow.forward(pose, shared)
        columns = pose.reshape(-1, 2, 3).transpose(1, 2)
        numbers = self.flow.fc_head.layers(features)[:, None].expand(-1, samples, -1)
        return {
            "features": features,
            "pose": pose.reshape(batch, samples, 144),
            "rotations": torch_networks.orthonormalised(columns).reshape(batch, samples, 24, 3, 3),
            "betas": numbers[..., :10] + self.flow.fc_head.init_betas,
            "cam": numbers[..., 10:] + self.flow.fc_head.init_cam,
            "noise": again.reshape(noise.shape),
            "log_prob": log_prob.reshape(batch, samples),
        }


def randomised(seed, **sizes):
    """A network of random weights whose flow can be run backwards in single precision."""
    network = torch_networks.randomise(Prohmr(**sizes), seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("_entries"):
                value.mul_(0.3)  # triangles of larger entries have inverses that no precision follows
    return network
