"""One TCP connection: its requests answered, one after the other; its session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from streamd.errors import MemoryShort, StreamGone, UsageError, ViewersFull
from streamd.host.memory import SHORT, MemoryRelief
from streamd.media.rtsp_messages import Message, NotRtsp, Reader
from streamd.sinks.rtsp.answers import Refused, answer
from streamd.sinks.rtsp.description import TRACK, Preview, sdp
from streamd.sinks.rtsp.login import Login
from streamd.sinks.rtsp.rtp import RtpStream
from streamd.sinks.rtsp.session import STALLED_S, TIMEOUT_S, Session
from streamd.sinks.rtsp.transport import Interleaved, choose
from streamd.sinks.watched import NOT_RUNNING, WatchableStream

MAX_HEAD, MAX_BODY = 8192, 4096
READ_BYTES = 8192
MAX_SEQUENCE = 20
"""Digits of a CSeq."""
IDLE_S = 20.0
"""Without a request, while nothing is set up; and until the log-in, whatever is asked before it."""
PREVIEW_S = 10.0
"""From DESCRIBE to PLAY the stream is kept awake for so long at most."""
RETRY_AFTER_S = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What all connections share."""

    find_stream: Callable[[str], WatchableStream | None]
    seat: Callable[[], AbstractContextManager[None]]
    """A place for a viewer; raises ViewersFull or MemoryShort."""
    login: Login | None
    """None: nobody has to log in."""
    memory: MemoryRelief


class _Request(NamedTuple):
    method: str
    uri: str
    message: Message


class Connection:
    """Until the client hangs up, or ``end``. Event loop only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: Parts) -> None:
        self._reader = reader
        self._writer = writer
        self._parts = parts
        self._own: tuple[str, ...] = writer.get_extra_info("sockname")
        self._peer: tuple[str, ...] = writer.get_extra_info("peername")
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._nonce = Login.nonce()
        self._may_watch = parts.login is None
        self._preview: Preview | None = None
        self._preview_until = 0.0
        self._session: Session | None = None
        self._methods: dict[str, Callable[[_Request], Awaitable[Message]]] = {
            "OPTIONS": self._options,
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "GET_PARAMETER": self._get_parameter,
            "TEARDOWN": self._teardown,
        }

    async def run(self) -> None:
        try:
            await self._answer_all()
        except (NotRtsp, OSError):
            pass
        finally:
            self._end_preview()
            if self._session is not None:
                await self._session.close()

    def end(self, reason: str) -> None:
        """``run`` returns soon. Safe to repeat."""
        if not self._writer.transport.is_closing():
            log.debug("an RTSP connection ends: %s", reason)
        self._writer.transport.abort()

    def look(self) -> None:
        """Now and then: ends it when it has gone silent, takes nothing, or memory is short."""
        now, session = self._loop.time(), self._session
        if self._preview is not None and now > self._preview_until:
            self._end_preview()
        if session is None or not session.playing:
            if now - self._heard_at > (IDLE_S if session is None else TIMEOUT_S):
                self.end("silent")
            return
        if self._parts.memory.sheds(session.view):
            self.end(SHORT)
        transport = session.transport
        if transport.heard_at is not None and now - max(transport.heard_at, self._heard_at) > TIMEOUT_S:
            self.end("silent")
        if isinstance(transport, Interleaved) and now - (transport.waiting_since or now) > STALLED_S:
            log.info("%s: an RTSP reader takes nothing: cut off", session.stream.name)
            self.end("stalled")

    # -- requests ---------------------------------------------------------------------------------

    async def _answer_all(self) -> None:
        """Raises NotRtsp and OSError."""
        reading = Reader(MAX_HEAD, MAX_BODY)
        while data := await self._reader.read(READ_BYTES):
            for unit in reading.read(data):
                if self._may_watch:
                    self._heard_at = self._loop.time()
                request = unit.request if isinstance(unit, Message) else None
                if isinstance(unit, Message) and request is not None:
                    self._writer.write(bytes(await self._answer(_Request(*request, unit))))
                    await self._writer.drain()
                await asyncio.sleep(0)  # others have their turn, however much comes

    async def _answer(self, request: _Request) -> Message:
        sequence = request.message.get("CSeq").strip()
        try:
            if not sequence.isdigit() or len(sequence) > MAX_SEQUENCE:
                sequence = b"0"
                raise Refused(400)
            answered = await self._handle(request)
        except Refused as refused:
            answered = answer(refused.status, refused.headers)
        except (UsageError, StreamGone):
            answered = answer(404)
        except ViewersFull:
            answered = answer(453, [("Retry-After", b"%d" % RETRY_AFTER_S)])
        except MemoryShort as error:
            answered = answer(503, [("Retry-After", b"%d" % error.retry_after_s)])
        answered.headers[:0] = [("CSeq", sequence), ("Server", b"streamd")]
        return answered

    async def _handle(self, request: _Request) -> Message:
        """Raises Refused."""
        message = request.message
        if not message.start.endswith(b"RTSP/1.0"):
            raise Refused(505)
        if needed := message.get("Require"):
            raise Refused(551, ("Unsupported", needed))
        if request.method == "SET_PARAMETER" and not message.body:  # keeps alive, too
            return await self._get_parameter(request)
        method = self._methods.get(request.method)
        if method is None:
            raise Refused(501, ("Public", self._public))
        if request.method != "OPTIONS":
            self._log_in(request)
        return await method(request)

    def _log_in(self, request: _Request) -> None:
        """Once for a connection. Raises Refused."""
        if not self._may_watch and self._parts.login is not None:
            self._parts.login.check(request.message, request.method, self._nonce, self._peer[0])
            self._may_watch, self._heard_at = True, self._loop.time()

    @property
    def _public(self) -> bytes:
        return ", ".join(self._methods).encode()

    async def _options(self, request: _Request) -> Message:
        return answer(200, [("Public", self._public)])

    async def _describe(self, request: _Request) -> Message:
        stream, view = self._find(request.uri)
        self._parts.memory.admit()
        self._end_preview()
        self._preview = preview = Preview(stream.hub(view))
        self._preview_until = self._loop.time() + PREVIEW_S
        body = sdp(f"{stream.name} {view}", self._own[0], await preview.keyframe())
        base = request.uri.partition("?")[0].rstrip("/").encode("latin-1") + b"/"
        return answer(200, [("Content-Base", base), ("Content-Type", b"application/sdp")], body)

    async def _setup(self, request: _Request) -> Message:
        stream, view = self._find(request.uri)
        session = self._session
        if session is not None and (session.playing or not self._is_ours(request)):
            raise Refused(455 if session.playing else 454)
        rtp = RtpStream()
        transport = request.message.get("Transport").decode("latin-1")
        chosen = choose(transport, self._writer, self._own, self._peer, rtp.ssrc)
        if session is not None:
            await session.close()
        made = self._session = Session(stream, view, rtp, chosen)
        if session is not None:
            made.id = session.id
        return answer(200, [self._session_header(made), ("Transport", chosen.header)])

    async def _play(self, request: _Request) -> Message:
        session = self._ours(request)
        if not session.playing:
            session.play(self._parts.seat(), self.end)
        self._end_preview()
        uri = request.uri.partition("?")[0].rstrip("/").encode("latin-1")
        track = uri if uri.endswith(TRACK.encode()) else uri + b"/" + TRACK.encode()
        info = b"url=%b;seq=%d" % (track, session.rtp.sequence)
        return answer(200, [self._session_header(session), ("RTP-Info", info)])

    async def _pause(self, request: _Request) -> Message:
        session = self._ours(request)
        await session.pause()
        return answer(200, [self._session_header(session)])

    async def _get_parameter(self, request: _Request) -> Message:
        """Empty ones keep a session alive (RFC 2326, 10.8); we know no parameters."""
        if request.message.body:
            raise Refused(451)
        if request.message.get("Session"):
            return answer(200, [self._session_header(self._ours(request))])
        return answer(200)

    async def _teardown(self, request: _Request) -> Message:
        session, self._session = self._ours(request), None
        await session.close()
        return answer(200)

    # -- what they name ---------------------------------------------------------------------------

    def _find(self, uri: str) -> tuple[WatchableStream, str]:
        """By ``/NAME/VIEW`` or ``/NAME``, with or without the track. Raises Refused; the view may not exist."""
        try:
            path = unquote(urlsplit(uri).path)
        except ValueError:
            raise Refused(400) from None
        name, *rest = path.strip("/").removesuffix(TRACK).strip("/").split("/")
        stream = self._parts.find_stream(name)
        if stream is None or len(rest) > 1:
            raise Refused(404)
        if stream.state in NOT_RUNNING:
            raise Refused(503, ("Retry-After", b"%d" % RETRY_AFTER_S))
        view = rest[0] if rest else "depth"
        stream.hub(view)
        return stream, view

    def _is_ours(self, request: _Request) -> bool:
        """Or it names no session, and there is only one."""
        named = request.message.get("Session").partition(b";")[0].strip()
        return self._session is not None and named in (b"", self._session.id.encode())

    def _ours(self, request: _Request) -> Session:
        """Raises Refused."""
        if self._session is None or not self._is_ours(request):
            raise Refused(454)
        return self._session

    @staticmethod
    def _session_header(session: Session) -> tuple[str, bytes]:
        return "Session", f"{session.id};timeout={TIMEOUT_S}".encode()

    def _end_preview(self) -> None:
        preview, self._preview = self._preview, None
        if preview is not None:
            preview.close()
