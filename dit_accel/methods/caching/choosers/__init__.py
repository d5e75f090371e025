"""Choosers: run states of the policies that choose tokens, one file each."""
