"""Other people's caches, set up as their authors would, to be measured beside plans."""
