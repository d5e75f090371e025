"""Sites: what a cache remembers, one file each."""
