"""Predictors: how what is remembered becomes a forecast, one file each."""
