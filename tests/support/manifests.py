"""A manifest of a network, with files that only have its names."""

from __future__ import annotations

from pathlib import Path

GOOD = """\
name = "garden"
file = "garden.onnx"
size = 256
mean = [0.1, 0.2, 0.3]
std = [0.5, 0.6, 0.7]
polarity = "depth"
licence = "MIT"
"""


def written(folder: Path, text: str = GOOD, *files: str) -> Path:
    for name in files or ("garden.onnx",):
        (folder / name).write_bytes(name.encode())
    path = folder / "garden.toml"
    path.write_text(text)
    return path
