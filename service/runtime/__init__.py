"""From the bytes of a version to something that runs arrays. Knows nothing of batching, files or HTTP."""
