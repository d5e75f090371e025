"""Rewrites that change no result beyond rounding: one file each, joined in `rewrites`."""
