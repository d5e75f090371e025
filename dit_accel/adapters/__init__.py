"""Trained weights of a plan: one file, what it belongs to, and how it is put on a model."""
