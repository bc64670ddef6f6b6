"""Starts the daemon of a new version, apart from the service: with no camera, on a free port of this machine."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import subprocess
import time
from pathlib import Path

from streamd.errors import StreamdError
from streamd.installer.commands import end_with_parent, error_line

WITHIN_S = 60.0
_POLL_S = 0.1
_STOP_S = 10.0
# It runs as root, and every user of this machine reaches its port. These are digests of tokens that nobody has: it
# answers only what is open, such as /healthz.
_CONFIGURATION = """
[server]
listen = "127.0.0.1:{port}"
view_tokens = ["sha256:{view}"]
control_tokens = ["sha256:{control}"]
keep_changes = false
[model]
name = "embedded"
download = false
"""


def check(interpreter: Path, folder: Path, within_s: float = WITHIN_S) -> None:
    """``folder`` is for what it writes. Raises StreamdError with what it printed last, unless it answers /healthz."""
    folder.mkdir(exist_ok=True)
    port = _free_port()
    configuration, output = folder / "streamd.toml", folder / "log"
    digests = {key: secrets.token_hex(32) for key in ("view", "control")}
    configuration.write_text(_CONFIGURATION.format(port=port, **digests))
    command = [str(interpreter), "-I", "-m", "streamd", "run", "--config", str(configuration)]
    try:
        with output.open("wb") as file:
            daemon = subprocess.Popen(
                command,
                cwd=folder,  # its children would import what lies in a checkout
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=end_with_parent,
            )
    except OSError as error:
        raise StreamdError(f"the new version does not run: {interpreter}: {error.strerror}") from None
    try:
        answers = _answers(daemon, port, time.monotonic() + within_s)
    finally:
        _stop(daemon)
    if not answers:
        last = error_line(output.read_text(errors="replace")).removeprefix("streamd: ")
        reason = last or f"no answer within {within_s:.0f} s"
        raise StreamdError(f"the new version does not run: {reason}; nothing was switched; its log: {output}")


def _environment(folder: Path) -> dict[str, str]:
    """Without what would change the configuration, and with its files in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMD_")}
    return {**kept, "STREAMD_HOME": str(folder)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _answers(daemon: subprocess.Popen[bytes], port: int, until: float) -> bool:
    while daemon.poll() is None and time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(_POLL_S)
    return False


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
