"""The command ``dit-accel``; one file a command, and nothing in them but argument handling."""

from dit_accel.cli.app import app, main

__all__ = ["app", "main"]
