"""streamd and a browser at the two ends of a bad line."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import Answer, Daemon, environment_of
from tests.support.players import CHROMIUM
from tests.support.waiting import until
from tests.support.wire import Place

_RUN = """
import sys
from streamd.cli import main
from streamd.sinks.webrtc import rendition
rendition.HEALTHY_S = float(sys.argv.pop(1))
sys.exit(main())
"""


@dataclass
class RemoteDaemon(Daemon):
    """Reached through its namespace's own address, by everybody there."""

    place: Place | None = None
    healthy_s: float = 15.0
    """How long a link must be good before a viewer gets the full rendition again."""

    def start(self) -> Daemon:
        assert self.place is not None
        arguments = ("run", "--listen", f"{self.place.address}:0", *self.arguments)
        command = [*self.place.within, sys.executable, "-c", _RUN, str(self.healthy_s), *arguments]
        more = {"STREAMD_SERVER__ALLOW_ANONYMOUS": "true", **self.environment}
        with self._file("out").open("wb") as out, self._file("log").open("wb") as log:
            self.started_at = time.monotonic()
            environment = environment_of(self.home, **more)
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
        self.url = until("the daemon prints its address", self._address)
        return self

    def _address(self) -> str:
        assert self.place is not None
        assert self.running, f"the daemon ended with {self.process.returncode}:\n{self.log}"
        found = re.search(rf"http://{re.escape(self.place.address)}:\d+/", self.out)
        return found[0] if found else ""

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        assert self.place is not None
        return self.place.run(lambda: Daemon.request(self, method, path, body, headers))


def browser_at(place: Place, folder: Path) -> Path:
    """A command that starts Chromium there."""
    script = folder / "chromium"
    script.write_text(f'#!/bin/sh\nexec {" ".join(place.within)} {CHROMIUM} "$@"\n')
    script.chmod(0o755)
    return script
