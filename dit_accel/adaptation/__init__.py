"""Fitting the learned parts of a plan to a frozen teacher: `dit-accel train`."""
