"""Strict reading of YAML and mappings: unknown keys, `--set`, errors with field, value, remedy."""
