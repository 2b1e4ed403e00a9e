"""What a request costs beside its run, in microseconds and in ratios to what else runs on the same core."""
