"""Scores of image sets: run folders x extractors x metrics, every number with what made it."""
