"""Files that can be opened again and again, and pipes and devices, which cannot."""

from __future__ import annotations

import os
import stat

from streamd.errors import SourceUnsupported


def require_regular(path: str, name: str) -> None:
    """Raises SourceUnsupported for what FFmpeg would wait for without end, or read without end. What is not there, or
    may not be looked at, is left to who opens it. ``name`` is for the error."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if stat.S_ISFIFO(mode):
        raise SourceUnsupported(name, "is a pipe: let its writer make a file, or send to udp:// or rtsp://")
    if stat.S_ISSOCK(mode):
        raise SourceUnsupported(name, "is a socket, not a file")
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise SourceUnsupported(name, "is a device, not a file")
