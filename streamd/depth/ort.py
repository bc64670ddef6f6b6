"""The one door to ONNX Runtime.

On Linux it reports usage to Microsoft and keeps a database in ~/.cache/Microsoft, without asking (seen in 1.32, in
``telemetry_1ds.cc``): ``disable_telemetry_events`` comes too late, when both are open. A camera box stays silent.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported

import onnxruntime

__all__ = ["onnxruntime"]
