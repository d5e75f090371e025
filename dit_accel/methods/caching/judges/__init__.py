"""Judges: run states of the policies that look at the data, one file each."""
