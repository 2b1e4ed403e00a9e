"""ONNX Runtime with its telemetry turned off before anything else: everybody here imports it from this module.

Importing it starts a thread for telemetry (1.31 on Linux), and the call is its documented way to switch events off.
"""

from __future__ import annotations

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

onnxruntime.disable_telemetry_events()

__all__ = ["errors", "onnxruntime"]
