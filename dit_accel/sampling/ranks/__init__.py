"""A set made by any number of processes that meet in its run directory only."""
