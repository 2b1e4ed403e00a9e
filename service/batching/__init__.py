"""Rows into batches: many small requests share one run of the model. Knows nothing of HTTP, files or ONNX Runtime."""
