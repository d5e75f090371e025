"""Learned parts: small modules on ``[B, N, C]`` tensors, without any model around them."""
