"""Small networks with every operation that the engine has a rule for."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from napari_virtualstain.nets.unet import UNet


class Joins(nn.Module):
    """A residual, a dilated branch, a scale, a constant, and two skips."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.far = nn.Conv2d(4, 4, 3, padding=3, dilation=3)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.deep = nn.Conv2d(4, 4, 3, padding=1)
        self.shift = nn.Parameter(torch.full((1, 4, 1, 1), 0.3))
        self.last = nn.Conv2d(12, 3, 1)

    def forward(self, x):
        a = functional.leaky_relu(self.first(x), 0.2)
        b = a + self.far(a) * 0.5 + self.shift
        c = functional.interpolate(torch.tanh(self.deep(self.pool(b))), scale_factor=2)
        return self.last(torch.cat([a, b, c], dim=1))


def overlapping():
    """Transposed convolutions whose kernels overlap, as DCGAN and pix2pix have them."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 4, stride=2, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 4, stride=2, padding=1), nn.BatchNorm2d(6), nn.LeakyReLU(0.2, inplace=True),
        nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    )  # fmt: skip


def dropped_and_grouped():
    """Dropout, groups, mean pooling, nearest upsampling, and a norm that cannot be folded."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 5, padding=2, groups=2), nn.Dropout2d(0.5), nn.ReLU(), nn.BatchNorm2d(4),
        nn.AvgPool2d(2), nn.Conv2d(4, 4, 3, padding="same"), nn.SiLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(4, 3, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip


def folded():
    """Blocks of pixels as channels."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3, padding=1),
        nn.GELU(), nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 3, padding=1),
    )  # fmt: skip


class OneSided(nn.Module):
    """Padded more on one side than on the other, by the network and not by a layer."""

    def __init__(self):
        super().__init__()
        self.first, self.down = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2)
        self.deep, self.last = nn.Conv2d(4, 4, 4), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        x = functional.silu(self.first(x))
        x = self.down(functional.pad(x, (0, 1, 0, 1)))
        x = self.deep(functional.pad(functional.relu(x), (1, 2, 2, 1), value=0.5))
        return self.last(functional.interpolate(x, scale_factor=2.0))


def volume():
    """A small network over (Z, Y, X) whose stride is 1 in z."""
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(inplace=True),
        nn.Conv3d(4, 4, (1, 2, 2), (1, 2, 2)), nn.ReLU(),
        nn.ConvTranspose3d(4, 3, (1, 2, 2), (1, 2, 2)), nn.Conv3d(3, 3, (3, 1, 3), padding=(1, 0, 1)),
    )  # fmt: skip


NETS = {
    "unet": lambda: UNet(2, 3, depth=3, width=4, norm="batch"),
    "unet without norms": lambda: UNet(2, 3, depth=2, width=4),
    "unet with norms behind": lambda: UNet(2, 3, depth=2, width=4, norm="batch-after"),
    "joins": Joins,
    "overlapping": overlapping,
    "dropped and grouped": dropped_and_grouped,
    "padded on one side": OneSided,
    "folded": folded,
    "one convolution": lambda: nn.Sequential(nn.Conv2d(2, 3, 1)),
}


def trained(build, shape=(2, 2, 32, 32)):
    """Return a network whose statistics and weights do something, for evaluation."""
    torch.manual_seed(0)
    net = build()
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, 0, 1.2 / parameter[0].numel() ** 0.5)
        elif "bias" in name:
            nn.init.normal_(parameter, 0, 0.2)
    net.train()
    with torch.no_grad():
        for _ in range(5):
            net(torch.randn(*shape))
    return net.eval()
