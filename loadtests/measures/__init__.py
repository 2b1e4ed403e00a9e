"""What the times of a run mean: percentiles with intervals, goodput, effective accuracy, and paired comparisons."""
