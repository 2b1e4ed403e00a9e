"""The Open Inference Protocol v2 as checks that any server can be held against; knows nothing of Retort."""
