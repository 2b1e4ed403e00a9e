"""Architectures, the training loop and the export to ONNX. The only rooms that need torch."""
