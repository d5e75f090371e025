"""One file a method: its frozen config and its run state acting at sites."""
