"""The one door to OpenVINO.

A plain ``import openvino`` starts a thread that reports usage to Google Analytics and writes
~/intel, without asking (``openvino_telemetry``, seen in 2026.4). A camera box stays silent:
with that package out of reach OpenVINO falls back to its own stub, and imports faster.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not importable

import openvino  # noqa: E402
from openvino import opset15 as opset  # noqa: E402


def has_bf16() -> bool:
    """Whether this CPU computes in it."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


__all__ = ["has_bf16", "openvino", "opset"]
