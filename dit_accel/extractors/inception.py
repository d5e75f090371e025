"""The Inception-v3 of FID: TensorFlow's graph of 2015-12-05, after Szegedy et al. 2015.

It differs from torchvision's: 1008 classes, average pools that leave the padding out of their mean,
a max pool in the last block, batch norm with epsilon 1e-3. Parameter names are those of the
published state dict ``weights-inception-2015-12-05-6726825d.pth``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SIZE = 299
FEATURES = 2048
CLASSES = 1008
# ADM's sFID takes the first 7 channels of ``mixed_6/conv:0``, a map of 17 x 17.
SPATIAL_CHANNELS = 7
SPATIAL = 17 * 17 * SPATIAL_CHANNELS


class InceptionOutput(NamedTuple):
    """What the network says of a batch.

    Attributes:
        features: ``pool_3:0``, ``[B, 2048]``.
        logits: of the softmax without its bias, as the Inception Score has them, ``[B, 1008]``.
        spatial: first channels of ``mixed_6/conv:0`` in the graph's order, ``[B, 17 * 17 * 7]``.
    """

    features: Tensor
    logits: Tensor
    spatial: Tensor


class ConvBN(nn.Module):
    """Convolution, batch norm, ReLU; the graph's op ``<block>/conv`` is the ReLU at the end."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        same: bool = True,
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        # Convolutions keep the size of their map unless they stride or are told not to ("VALID").
        padding = (height // 2, width // 2) if same and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, inputs, H, W]`` to ``[B, outputs, H', W']``."""
        return F.relu(self.bn(self.conv(x)))


def average_pool(x: Tensor) -> Tensor:
    """3 x 3 means of what is inside of the map: TensorFlow does not count the padding."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def max_pool(x: Tensor) -> Tensor:
    """3 x 3 maxima at every position."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


def halve(x: Tensor) -> Tensor:
    """3 x 3 maxima at every other position."""
    return F.max_pool2d(x, 3, stride=2)


class Mixed35(nn.Module):
    """Blocks on the 35 x 35 map."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBN(inputs, 64, 1)
        self.branch5x5_1 = ConvBN(inputs, 48, 1)
        self.branch5x5_2 = ConvBN(48, 64, 5)
        self.branch3x3dbl_1 = ConvBN(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvBN(64, 96, 3)
        self.branch3x3dbl_3 = ConvBN(96, 96, 3)
        self.branch_pool = ConvBN(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, inputs, 35, 35]`` to ``[B, 224 + pooled, 35, 35]``."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        five, pool = self.branch5x5_2(self.branch5x5_1(x)), self.branch_pool(average_pool(x))
        return torch.cat([self.branch1x1(x), five, double, pool], 1)


class Reduce35(nn.Module):
    """From 35 x 35 to 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBN(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvBN(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvBN(64, 96, 3)
        self.branch3x3dbl_3 = ConvBN(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, inputs, 35, 35]`` to ``[B, inputs + 480, 17, 17]``."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, halve(x)], 1)


class Mixed17(nn.Module):
    """Blocks on the 17 x 17 map, with 7 x 7 convolutions in two factors."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBN(768, 192, 1)
        self.branch7x7_1 = ConvBN(768, inner, 1)
        self.branch7x7_2 = ConvBN(inner, inner, (1, 7))
        self.branch7x7_3 = ConvBN(inner, 192, (7, 1))
        self.branch7x7dbl_1 = ConvBN(768, inner, 1)
        self.branch7x7dbl_2 = ConvBN(inner, inner, (7, 1))
        self.branch7x7dbl_3 = ConvBN(inner, inner, (1, 7))
        self.branch7x7dbl_4 = ConvBN(inner, inner, (7, 1))
        self.branch7x7dbl_5 = ConvBN(inner, 192, (1, 7))
        self.branch_pool = ConvBN(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 768, 17, 17]`` to the same shape."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(average_pool(x))], 1)


class Reduce17(nn.Module):
    """From 17 x 17 to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = ConvBN(768, 192, 1)
        self.branch3x3_2 = ConvBN(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvBN(768, 192, 1)
        self.branch7x7x3_2 = ConvBN(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvBN(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvBN(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 768, 17, 17]`` to ``[B, 1280, 8, 8]``."""
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        three = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([three, self.branch7x7x3_4(seven), halve(x)], 1)


class Mixed8(nn.Module):
    """Blocks on the 8 x 8 map; their pools differ, by a slip of 2015 that FID has kept."""

    def __init__(self, inputs: int, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = ConvBN(inputs, 320, 1)
        self.branch3x3_1 = ConvBN(inputs, 384, 1)
        self.branch3x3_2a = ConvBN(384, 384, (1, 3))
        self.branch3x3_2b = ConvBN(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvBN(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvBN(448, 384, 3)
        self.branch3x3dbl_3a = ConvBN(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvBN(384, 384, (3, 1))
        self.branch_pool = ConvBN(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, inputs, 8, 8]`` to ``[B, 2048, 8, 8]``."""
        one, pool = self.branch1x1(x), self.branch_pool(self.pool(x))
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        threes = self.branch3x3_2a(three), self.branch3x3_2b(three)
        doubles = self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)
        return torch.cat([one, *threes, *doubles, pool], 1)


class FIDInception(nn.Module):
    """The whole network. In evaluation mode every picture is treated by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvBN(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvBN(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = ConvBN(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvBN(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvBN(80, 192, 3, same=False)
        self.Mixed_5b = Mixed35(192, pooled=32)
        self.Mixed_5c = Mixed35(256, pooled=64)
        self.Mixed_5d = Mixed35(288, pooled=64)
        self.Mixed_6a = Reduce35(288)
        self.Mixed_6b = Mixed17(128)
        self.Mixed_6c = Mixed17(160)
        self.Mixed_6d = Mixed17(160)
        self.Mixed_6e = Mixed17(192)
        self.Mixed_7a = Reduce17()
        self.Mixed_7b = Mixed8(1280, average_pool)
        self.Mixed_7c = Mixed8(2048, max_pool)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> InceptionOutput:
        """Run pictures ``[B, 3, 299, 299]`` with values in [0, 255]."""
        x = (images - 128) / 128
        x = halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        # TensorFlow counts its blocks from mixed_0 = Mixed_5b: mixed_6 is Mixed_6d, and
        # mixed_6/conv the ReLU of its first branch, so the first channels of the block.
        mixed_6 = self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x)))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(self.Mixed_6e(mixed_6))))
        features = x.mean(dim=(2, 3))
        spatial = mixed_6[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1)  # TensorFlow's order: H, W, C
        return InceptionOutput(features, features @ self.fc.weight.T, spatial.flatten(1))
