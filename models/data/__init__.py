"""Named datasets, their splits by hash, and the .npz form in which they travel."""
