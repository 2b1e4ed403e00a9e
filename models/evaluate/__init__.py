"""What a version is worth: quality, paired statistics, the gate, speed and memory. Needs neither torch nor sklearn."""
