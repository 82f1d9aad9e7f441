"""The reach read from the graph is the reach that a changed pixel has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_virtualstain.inference.operations import UnknownOperationError, trace
from napari_virtualstain.inference.scan import measure_reach, scan_reach
from napari_virtualstain.nets.unet import UNet


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.near = nn.Conv2d(1, 1, 3, padding=1)
        self.far = nn.Conv2d(1, 1, 5, padding=8, dilation=4)

    def forward(self, x):
        return self.near(x) + torch.relu(self.far(x))


class Squeeze(nn.Module):
    """Sees the whole image, and torch.fx cannot be told how."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(x) * x.mean(dim=(2, 3), keepdim=True)


class Shifted(nn.Module):
    """Looks further ahead than back, and further along x than along y."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, (3, 5))

    def forward(self, x):
        return self.conv(nn.functional.pad(x, (0, 4, 1, 1)))


class Mirrored(nn.Module):
    def forward(self, x):
        return nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")


NETWORKS = {
    "one convolution": (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), 1, 1),
    "dilated branch": (Residual(), 8, 1),
    "down and up": (
        nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.ConvTranspose2d(2, 1, 2, 2)
        ),
        2,
        2,
    ),
    "nearest upsampling": (
        nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(1, 1, 3, padding=1), nn.Upsample(scale_factor=4)),
        7,
        4,
    ),
    "linear upsampling": (
        nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(1, 1, 1), nn.Upsample(scale_factor=2, mode="bilinear")
        ),
        2,
        2,
    ),
    "unet of 2 levels": (UNet(1, 1, depth=2, width=2), 9, 2),
    "unet of 3 levels": (UNet(1, 1, depth=3, width=2, norm="batch"), 23, 4),
}


@pytest.mark.parametrize(("module", "halo", "stride"), NETWORKS.values(), ids=NETWORKS)
def test_the_graph_says_how_far_a_network_looks(module, halo, stride):
    reach = scan_reach(module.eval())
    assert (reach.halo, reach.multiple_of) == ((halo, halo), (stride, stride))
    assert (reach.kind, reach.how) == ("exact", "graph")


@pytest.mark.parametrize(("module", "halo", "stride"), NETWORKS.values(), ids=NETWORKS)
def test_no_changed_pixel_reaches_further(module, halo, stride):
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.05, 0.2)  # nothing is cut off by a ReLU
    assert measure_reach(module, size=128, stride=stride).halo == (halo, halo)


def test_the_published_unet_has_the_reach_that_is_documented():
    with torch.device("meta"):
        net = UNet(3, 5, depth=6, width=32)
    reach = scan_reach(net)
    assert (reach.halo, reach.multiple_of) == ((219, 219), (32, 32))


STATISTICS = {
    "instance norm": (nn.InstanceNorm2d(4), "statistics"),
    "group norm": (nn.GroupNorm(2, 4), "statistics"),
    "instance norm that remembers": (nn.InstanceNorm2d(4, track_running_stats=True), "exact"),
    "batch norm": (nn.BatchNorm2d(4), "exact"),
}


@pytest.mark.parametrize(("norm", "kind"), STATISTICS.values(), ids=STATISTICS)
def test_a_norm_says_whether_tiles_can_equal_the_whole(norm, kind):
    reach = scan_reach(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), norm))
    assert (reach.kind, reach.halo) == (kind, (1, 1))


VOLUMES = {
    "one kernel for all axes": (nn.Conv3d(1, 1, 3, padding=1), (1, 1, 1), (1, 1, 1)),
    "a flat kernel": (nn.Conv3d(1, 1, (1, 5, 3), padding=(0, 2, 1)), (0, 2, 1), (1, 1, 1)),
    "strides of the plane only": (
        nn.Sequential(
            nn.Conv3d(1, 2, (3, 2, 2), (1, 2, 2), padding=(1, 0, 0)),
            nn.ConvTranspose3d(2, 1, (1, 2, 2), (1, 2, 2)),
        ),
        (1, 1, 1),
        (1, 2, 2),
    ),
}


@pytest.mark.parametrize(("module", "halo", "stride"), VOLUMES.values(), ids=VOLUMES)
def test_each_axis_of_a_volume_has_its_own_reach(module, halo, stride):
    found = scan_reach(nn.Sequential(module))
    assert (found.halo, found.multiple_of) == (halo, stride)
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.05, 0.2)
    assert measure_reach(nn.Sequential(module), size=32, stride=stride).halo == halo


def test_padding_on_one_side_is_seen_from_the_other():
    module = Shifted()
    assert scan_reach(module).halo == (1, 4)
    torch.manual_seed(0)
    nn.init.uniform_(module.conv.weight, 0.05, 0.2)
    assert measure_reach(module, size=32, stride=1).halo == (1, 4)


def test_padding_with_pixels_of_the_image_has_no_rule():
    with pytest.raises(UnknownOperationError, match="not with a constant"):
        trace(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Mirrored()))


def test_a_network_without_a_rule_is_measured():
    reach = scan_reach(Squeeze())
    assert reach.how == "measured"
    assert reach.kind == "approximate"
