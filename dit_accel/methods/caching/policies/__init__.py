"""Policies: which steps and which samples are computed, one file each."""
