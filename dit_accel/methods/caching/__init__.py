"""Caches: a site (what is remembered), a predictor (how it is forecast), a policy (when not)."""
