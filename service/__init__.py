"""The Retort server: loads ONNX models and their variants, and answers predict requests."""
