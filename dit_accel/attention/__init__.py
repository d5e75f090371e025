"""Cheaper attention: maths of attention operators, without any model."""

from dit_accel.attention.downsample import downsample, downsampled_grid

__all__ = ["downsample", "downsampled_grid"]
