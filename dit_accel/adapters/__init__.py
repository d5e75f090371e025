"""Trained weights of a plan: one file, what it belongs to, and how it is put on a model."""

from dit_accel.adapters.hub import push_to_hub
from dit_accel.adapters.storage import load_adapter, save_adapter

__all__ = ["load_adapter", "push_to_hub", "save_adapter"]
