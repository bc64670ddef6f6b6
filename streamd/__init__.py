"""streamd turns cameras into live depth video on a CPU."""

import os

__version__ = "0.1.0"

# OpenCV reads these once, when it loads, so they are set before anything of ours imports it.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(24 * 1024 * 1024))  # a small file can claim to be huge
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # streamd reports a bad picture itself, in one line
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # the cores are shared out by us
