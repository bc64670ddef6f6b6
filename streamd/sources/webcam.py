"""USB and built-in cameras through Video4Linux: ``/dev/video0``, ``v4l2:/dev/v4l/by-id/...``."""

from __future__ import annotations

from collections.abc import Generator

import av

from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceUnreachable
from streamd.sources.base import Source

# Motion JPEG first: raw pictures of this size do not fit through USB 2 at 30 fps.
WISHES: tuple[dict[str, str], ...] = ({"input_format": "mjpeg", "video_size": "1280x720", "framerate": "30"}, {})


class WebcamSource(Source):
    def frames(self) -> Generator[av.VideoFrame]:
        device = self.config.source.removeprefix("v4l2:")
        for wish in WISHES:
            delivered = False
            try:
                with self.opened(device, format="v4l2", options=dict(wish)) as container:
                    for picture in self.decoded(container):
                        delivered = True
                        yield picture
            except SourceError as error:
                final = isinstance(error, SourceUnreachable | SourceRejected)
                if delivered or final or wish is WISHES[-1]:
                    raise
                continue
            if not self.stop.is_set():
                raise SourceEnded(self.name, "stopped sending: was it unplugged?")
            return
