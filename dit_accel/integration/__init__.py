"""A plan at work on a transformer: hooks, runs of caches, counters."""
