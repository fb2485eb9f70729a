"""TResNet in PyTorch with plain batch norm and leaky ReLU: what lib/model/tresnet.c is compared with, and the benchmarks' peer.
Written from the structure in the paper (Ridnik et al., WACV 2021); names of parameters as in its authors' code, so that weights are
interchangeable."""
import torch
from torch import nn

SIZES = {"tresnet_m": ((3, 4, 11, 3), 64), "tresnet_l": ((4, 5, 18, 3), 76), "tresnet_xl": ((4, 5, 24, 3), 83)}


def conv_norm(inputs, outputs, kernel, slope=None):
    layers = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers) if slope is None else nn.Sequential(*layers, nn.LeakyReLU(slope, inplace=True))


class SpaceToDepth(nn.Module):
    """Blocks of 4 x 4 pixels become channels: first the row in the block, then the column, then the colour."""

    def forward(self, x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 3, 5, 1, 2, 4).reshape(n, 16 * c, h // 4, w // 4)


class Blur(nn.Module):
    """Binomial filter of 3 x 3 at every second pixel, mirrored at the border."""

    def __init__(self, channels):
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("weight", (line[:, None] * line).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, x):
        return nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), self.weight, stride=2, groups=x.shape[1])


class SqueezeExcite(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        gate = nn.functional.relu(self.fc1(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.fc2(gate))


class Block(nn.Module):
    """Basic block (stages 1 and 2), or bottleneck (3 and 4); only the first three stages squeeze and excite."""

    def __init__(self, inputs, width, stage, halve):
        super().__init__()
        outputs = width if stage < 2 else 4 * width
        self.downsample = None
        if halve:
            self.downsample = nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), conv_norm(inputs, outputs, 1))
        spatial = conv_norm(inputs if stage < 2 else width, width, 3, 1e-3)
        spatial = nn.Sequential(spatial, Blur(width)) if halve else spatial
        if stage < 2:
            self.conv1, self.conv2 = spatial, conv_norm(width, width, 3)
        else:
            self.conv1, self.conv2, self.conv3 = conv_norm(inputs, width, 1, 1e-3), spatial, conv_norm(width, outputs, 1)
        self.basic = stage < 2
        self.se = SqueezeExcite(width, max(width // 4 if stage < 2 else width // 2, 64)) if stage < 3 else None

    def forward(self, x):
        residual = x if self.downsample is None else self.downsample(x)
        x = self.conv2(self.conv1(x))
        if self.se is not None:
            x = self.se(x)
        return torch.relu(x + residual if self.basic else self.conv3(x) + residual)

    def last_norm(self):
        return (self.conv2 if self.basic else self.conv3)[1]


class TResNet(nn.Module):
    def __init__(self, name, num_classes):
        super().__init__()
        blocks, width = SIZES[name]
        self.body = nn.Sequential()
        self.body.add_module("SpaceToDepth", SpaceToDepth())
        self.body.add_module("conv1", conv_norm(48, width, 3, 1e-2))
        channels = width
        for stage in range(4):
            layers = nn.Sequential()
            for i in range(blocks[stage]):
                block = Block(channels, width << stage, stage, stage > 0 and i == 0)
                channels = (width << stage) * (1 if stage < 2 else 4)
                layers.append(block)
            self.body.add_module(f"layer{stage + 1}", layers)
        self.head = nn.Sequential()
        self.head.add_module("fc", nn.Linear(channels, num_classes))
        self.initialise()

    def initialise(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="leaky_relu")
            if isinstance(m, Block):
                nn.init.zeros_(m.last_norm().weight)
        nn.init.normal_(self.head.fc.weight, 0, 0.01)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))
