"""Presets, model configs, run configs: data of the package, installed as ``dit_accel.configs``."""
