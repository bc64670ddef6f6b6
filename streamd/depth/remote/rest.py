"""The protocol by HTTP, with the binary extension: tensors are raw bytes behind a short JSON.

(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md)
"""

from __future__ import annotations

import http.client
import io
import json
import select
import socket
from collections import deque
from itertools import count
from typing import Any

from streamd.config.endpoints import EndpointAddress
from streamd.depth.remote.answer import (
    DEPTH,
    MAX_OTHER_BYTES,
    PICTURES,
    Late,
    NoAnswer,
    Tensor,
    check_tensors,
    depth_of,
    hide,
    left_s,
    tls_context,
)
from streamd.media.frames import ByteImage, FloatImage

_LENGTH = "Inference-Header-Content-Length"
_MAX_ADDRESSES = 4
_Place = tuple[socket.AddressFamily, Any]


class RestClient:
    def __init__(self, address: EndpointAddress, model: str, token: str, ca: str) -> None:
        self._address = address
        self._model = f"{address.path}/v2/models/{model}"
        self._token = token
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tls = tls_context(ca) if address.tls else None
        self._numbers = count(1)
        self._place: _Place | None = None
        """Where it was reached last: no request waits for a name service."""
        self._idle: deque[_Connection] = deque()

    def connect(self, until: float) -> None:
        self.close()
        self._place = None
        host, port = self._address.host, self._address.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[:_MAX_ADDRESSES]
        except (OSError, UnicodeError):
            raise NoAnswer(f"the name {host} is not known here") from None
        problem = NoAnswer(f"the name {host} has no address")
        for family, _, _, _, place in found:
            try:
                self._idle.append(self._open((family, place), until))
            except NoAnswer as error:
                problem = error
            else:
                self._place = family, place
                return
        raise problem

    def check_ready(self, until: float) -> None:
        for path in (f"{self._address.path}/v2/health/ready", f"{self._model}/ready"):
            self._ask("GET", path, until)

    def check_metadata(self, until: float) -> None:
        _, body = self._ask("GET", self._model, until)
        described = _json(body)
        check_tensors(_tensors(described, "inputs"), _tensors(described, "outputs"))

    def infer(self, pictures: ByteImage, until: float) -> FloatImage:
        _, height, width, _ = pictures.shape
        number, pixels = str(next(self._numbers)), pictures.tobytes()
        tensor = {"name": PICTURES, "datatype": "UINT8", "shape": pictures.shape}
        request = {
            "id": number,
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(pixels)}}],
            "outputs": [{"name": DEPTH, "parameters": {"binary_data": True}}],
        }
        header = json.dumps(request).encode()
        more = {_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
        length, body = self._ask("POST", f"{self._model}/infer", until, header + pixels, more, 4 * height * width)
        if length is None:
            raise NoAnswer("does not answer in raw bytes by HTTP: try its gRPC port")
        answer = _json(body[:length])
        outputs = _tensors(answer, "outputs")
        if answer.get("id") != number:
            raise NoAnswer("answered another request than ours")
        if len(outputs) != 1:
            raise NoAnswer(f"answered {len(outputs)} tensors")
        return depth_of(outputs[0], memoryview(body)[length:], height, width)

    def _ask(
        self,
        method: str,
        path: str,
        until: float,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        depth_bytes: int = 0,
    ) -> tuple[int | None, bytes]:
        """How much of the body is JSON where the rest is raw, and the body."""
        connection = self._take(until)
        try:
            connection.wire.begin(until, depth_bytes + MAX_OTHER_BYTES)
            connection.request(method, path, body, self._headers | (headers or {}))
            response = connection.getresponse()
            content = response.read(depth_bytes + MAX_OTHER_BYTES)
            if response.status != 200:
                raise NoAnswer(f"HTTP {response.status}: {hide(self._token, _phrase(content))}")
            length = response.getheader(_LENGTH)
            if response.isclosed() and not response.will_close:
                self._idle.append(connection)
                connection = None  # type: ignore[assignment]
        except TimeoutError:
            raise Late from None
        except (OSError, ValueError) as error:
            raise NoAnswer(f"connection lost: {getattr(error, 'strerror', None) or error}") from None
        except http.client.HTTPException as error:
            raise NoAnswer(f"does not speak HTTP as it should: {error!r}") from None
        finally:
            if connection is not None:
                connection.close()
        if length is not None and not (length.isascii() and length.isdecimal() and int(length) <= len(content)):
            raise NoAnswer(f"has a {_LENGTH} that cannot be")
        return None if length is None else int(length), content

    def _take(self, until: float) -> _Connection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.wire.is_quiet():
                return connection
            connection.close()
        if self._place is None:
            raise NoAnswer("is not connected")
        return self._open(self._place, until)

    def _open(self, place: _Place, until: float) -> _Connection:
        plain = socket.socket(place[0], socket.SOCK_STREAM)
        try:
            plain.settimeout(left_s(until))
            plain.connect(place[1])
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(left_s(until))
            wired = self._tls.wrap_socket(plain, server_hostname=self._address.host) if self._tls else plain
        except TimeoutError:
            plain.close()
            raise Late from None
        except OSError as error:  # ssl.SSLError is one
            plain.close()
            reason = getattr(error, "verify_message", None) or error.strerror or str(error)
            raise NoAnswer(f"no connection: {reason}") from None
        except NoAnswer:
            plain.close()
            raise
        return _Connection(self._address.netloc, _Wire(wired))

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class _Wire:
    """What http.client needs of a socket. All that is done between two calls of ``begin`` ends by the time that was
    given, and takes no more bytes than that."""

    def __init__(self, plain: socket.socket) -> None:
        self._socket = plain
        self._until = 0.0
        self._left_bytes = 0

    def begin(self, until: float, max_bytes: int) -> None:
        self._until, self._left_bytes = until, max_bytes

    def is_quiet(self) -> bool:
        """Whether it is open, and nothing has come that nobody asked for: it would be taken for the next answer."""
        return not select.select([self._socket], [], [], 0)[0]

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(left_s(self._until))
        self._socket.sendall(data)

    def receive_into(self, buffer: memoryview) -> int:
        if self._left_bytes <= 0:
            raise NoAnswer("answers more than it was asked for")
        self._socket.settimeout(left_s(self._until))
        count = self._socket.recv_into(buffer, min(len(buffer), self._left_bytes))
        self._left_bytes -= count
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self))

    def close(self) -> None:
        self._socket.close()


class _Answer(io.RawIOBase):
    """Of one request; closed with it, and the socket is not."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(memoryview(buffer).cast("B"))


class _Connection(http.client.HTTPConnection):
    auto_open = 0

    def __init__(self, netloc: str, wire: _Wire) -> None:
        super().__init__(netloc)
        self.wire = wire
        self.sock: Any = wire


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise NoAnswer("answered no JSON") from None
    if not isinstance(found, dict):
        raise NoAnswer("answered no JSON object")
    return found


def _tensors(described: dict[str, Any], key: str) -> list[Tensor]:
    """Raises NoAnswer."""
    try:
        return [
            Tensor(str(each["name"]), str(each["datatype"]), tuple(int(side) for side in each["shape"]))
            for each in described.get(key) or ()
        ]
    except (TypeError, KeyError, ValueError, OverflowError):
        raise NoAnswer(f"describes its {key} in no way that is known") from None


def _phrase(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return content[:MAX_OTHER_BYTES].decode(errors="replace")
