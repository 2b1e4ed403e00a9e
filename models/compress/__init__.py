"""One file per technique: a function from ONNX bytes to ONNX bytes, with a dataclass of its arguments."""
