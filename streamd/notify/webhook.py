"""Posts events to ``hooks.webhook``, signed, one after the other, until they are taken or too old."""

from __future__ import annotations

import base64
import http.client
import logging
import ssl
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

from streamd import __version__
from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.outgoing import HooksConfig, check_webhook
from streamd.config.secret import read_secret
from streamd.errors import ConfigError, Problem
from streamd.notify.message import message
from streamd.notify.signature import key, signature
from streamd.sources.connection import Connection, dial
from streamd.streams.events import Event

log = logging.getLogger(__name__)

MAX_WAITING = 256
MAX_AGE_S = 900.0
"""What is older tells nobody anything."""
TIMEOUT_S = 10.0
"""Of one attempt, from the name to the answer."""
MAX_REFUSALS = 3
"""An answer that says that it will never take it is believed then."""
CLOSE_S = 0.5
BACKOFF = Backoff(first_s=1.0, factor=2.0, cap_s=60.0)
_LATER = (408, 425, 429)
"""Of 4xx: those that a later attempt may change."""


@dataclass(frozen=True)
class _Message:
    body: bytes
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")
    """The same at each attempt: who has got it already can tell."""
    since_s: float = field(default_factory=time.monotonic)


class _Refused(Exception):
    """The receiver answered, and not with 2xx."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"it answered {status}")

    @property
    def for_good(self) -> bool:
        return 300 <= self.status < 500 and self.status not in _LATER


class Webhook:
    """A thread of its own, with a bounded queue: a receiver that fails, hangs or is away delays nothing else."""

    def __init__(self, config: HooksConfig, backoff: Backoff = BACKOFF, timeout_s: float = TIMEOUT_S) -> None:
        """Raises ConfigError for what cannot be read."""
        try:
            self._url = read_secret(config.webhook, "address")
            check_webhook(self._url)
        except ValueError as error:
            raise ConfigError([Problem("hooks.webhook", "", str(error))]) from None
        try:
            self._key = key(read_secret(config.webhook_secret)) if config.webhook_secret else None
        except ValueError as error:
            raise ConfigError([Problem("hooks.webhook_secret", "", str(error))]) from None
        self._backoff = backoff
        self._timeout_s = timeout_s
        self._tls: ssl.SSLContext | None = None
        self._waiting: deque[_Message] = deque()
        self._came = threading.Condition()
        self._stop = threading.Event()
        self._worker: threads.Worker | None = None

    def start(self) -> None:
        self._worker = threads.start("webhook", self._run)

    def tell(self, event: Event) -> None:
        """Any thread."""
        with self._came:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                log.warning("hooks.webhook: too slow: the oldest event is not told")
            self._waiting.append(_Message(message(event)))
            self._came.notify()

    async def close(self) -> None:
        """What waits is not told any more."""
        with self._came:
            self._stop.set()
            self._came.notify()
        if self._worker is not None:
            await threads.finish(self._worker, CLOSE_S)

    def _run(self) -> None:
        while (next_message := self._next()) is not None:
            self._deliver(next_message)

    def _next(self) -> _Message | None:
        """None at the end."""
        with self._came:
            self._came.wait_for(lambda: self._waiting or self._stop.is_set())
            return None if self._stop.is_set() else self._waiting.popleft()

    def _deliver(self, waiting: _Message) -> None:
        """Returns when it was taken, given up, or at the end."""
        delays, refusals, first = self._backoff.start(), 0, True
        while not self._stop.is_set():
            try:
                self._post(waiting)
            except Exception as error:  # of the network, of TLS, of HTTP: a receiver may answer anything
                refusals += isinstance(error, _Refused) and error.for_good
                reason = str(error) or type(error).__name__
                if refusals >= MAX_REFUSALS or time.monotonic() - waiting.since_s > MAX_AGE_S:
                    log.error("hooks.webhook: an event was not taken, and is given up: %s", reason)
                    return
                if first and not self._stop.is_set():
                    log.warning("hooks.webhook: %s; trying again", reason)
                first = False
                self._stop.wait(delays.after(0.0))
            else:
                return

    def _post(self, waiting: _Message) -> None:
        """Raises _Refused, OSError, HTTPException and others. Redirects are not followed."""
        parts = urlsplit(self._url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        deadline_s = time.monotonic() + self._timeout_s
        assert parts.hostname
        stop = _Until(self._stop, deadline_s)
        connection = Connection(dial(parts.hostname, port, deadline_s, stop), stop, self._timeout_s)
        try:
            if parts.scheme == "https":
                self._tls = self._tls or ssl.create_default_context()
                connection.start_tls(self._tls, parts.hostname)
            request = http.client.HTTPConnection(parts.hostname, port)
            request.default_port = 443 if parts.scheme == "https" else 80
            request.sock = connection
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            request.request("POST", target, waiting.body, self._headers(waiting))
            status = request.getresponse().status
        finally:
            connection.hang_up()
        if not 200 <= status < 300:
            raise _Refused(status)

    def _headers(self, waiting: _Message) -> dict[str, str]:
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"streamd/{__version__}",
            "Connection": "close",
            "webhook-id": waiting.id,
            "webhook-timestamp": str(now),
        }
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, waiting.id, now, waiting.body)
        login = urlsplit(self._url).netloc.rpartition("@")[0]
        if login:
            headers["Authorization"] = "Basic " + base64.b64encode(unquote_to_bytes(login)).decode()
        return headers


class _Until(threading.Event):
    """Set by another event, or when the time is over, however slowly a receiver goes on."""

    def __init__(self, stop: threading.Event, deadline_s: float) -> None:
        super().__init__()
        self._stop_event, self._deadline_s = stop, deadline_s

    def is_set(self) -> bool:
        if time.monotonic() > self._deadline_s:
            raise TimeoutError("it did not answer in time")
        return self._stop_event.is_set()
