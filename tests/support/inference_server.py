"""An inference server of the Open Inference Protocol v2, by HTTP and gRPC, that fails as it is told.

Its network gives the red channel as depth, so that a picture that has its number in it gives a depth that has it; or
it is an OpenVINO file, as ``models export --format triton`` writes one.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from streamd.media.frames import ByteImage, FloatImage
from tests.support.waiting import scaled

FAULTS = (
    "unready",
    "model-unready",
    "503",
    "garbage",
    "wrong-shape",
    "wrong-type",
    "wrong-size",
    "wrong-answer",
    "not-finite",
    "other-id",
    "other-metadata",
    "slow",
    "hang",
    "endless-headers",
    "endless-body",
    "trickle",
    "json",
)
HTTP_ONLY = ("endless-headers", "endless-body", "trickle", "json")
SLOW_S = scaled(0.8)
HANG_S = 30.0
LENGTH = "Inference-Header-Content-Length"
Network = Callable[[ByteImage], FloatImage]


def red(pictures: ByteImage) -> FloatImage:
    return pictures[..., 0].astype(np.float32)


def of_file(path: Path) -> Network:
    from streamd.depth.ov import openvino as ov

    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    lock = threading.Lock()

    def infer(pictures: ByteImage) -> FloatImage:
        with lock:
            return np.array(compiled(pictures)[0])

    return infer


class Engine:
    """What both front ends ask."""

    def __init__(self, network: Network, token: str = "") -> None:
        self.network = network
        self.token = token
        self.fault = ""
        self.asked = 0
        """Inferences."""

    def depth(self, pictures: ByteImage) -> tuple[str, list[int], bytes]:
        """Data type, shape and bytes."""
        self.asked += 1
        if self.fault == "slow":
            time.sleep(SLOW_S)
        if self.fault == "hang":
            time.sleep(HANG_S)
        depth = self.network(pictures)
        if self.fault == "wrong-answer":
            depth = depth.max() - depth
        if self.fault == "not-finite":
            depth[0, 0, 0] = np.nan
        if self.fault == "wrong-shape":
            depth = depth[:, :-1]
        data = depth.astype("<f4").tobytes()
        return (
            "FP64" if self.fault == "wrong-type" else "FP32",
            list(depth.shape),
            data[:-4] if self.fault == "wrong-size" else data,
        )

    def metadata(self) -> dict[str, Any]:
        name = "images" if self.fault == "other-metadata" else "pictures"
        return {
            "inputs": [{"name": name, "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "outputs": [{"name": "depth", "datatype": "FP32", "shape": [-1, -1, -1]}],
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: Engine

    def handle(self) -> None:
        with suppress(OSError):  # a client that waits no longer
            super().handle()

    def log_message(self, format: str, *arguments: Any) -> None: ...

    def do_GET(self) -> None:
        engine = self.engine
        if engine.token and self.headers.get("Authorization") != f"Bearer {engine.token}":
            self._send(401, b'{"error": "who are you?"}')
        elif (engine.fault, self.path) in (
            ("unready", "/v2/health/ready"),
            ("model-unready", "/v2/models/embedded/ready"),
        ):
            self._send(400, b"")
        elif self.path in ("/v2/health/ready", "/v2/models/embedded/ready"):
            self._send(200, b"")
        elif self.path == "/v2/models/embedded":
            self._send(200, json.dumps(engine.metadata()).encode())
        else:
            self._send(404, b'{"error": "unknown model"}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        length = int(self.headers[LENGTH])
        request = json.loads(body[:length])
        (tensor,) = request["inputs"]
        assert (tensor["name"], tensor["datatype"]) == ("pictures", "UINT8")
        fault = self.engine.fault
        pictures = np.frombuffer(body, np.uint8, offset=length).reshape(tensor["shape"])
        datatype, shape, data = self.engine.depth(pictures)
        if fault == "503":
            return self._send(503, b'{"error": "too busy"}')
        if fault == "garbage":
            return self._raw(os.urandom(500), close=True)
        if fault == "endless-headers":
            return self._endless(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 1000)
        if fault == "endless-body":
            return self._endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"0" * 65536)
        if fault == "trickle":
            return self._endless(b"HTTP/1.1 200 OK\r\n", b"X", every_s=0.05)
        number = "0" if fault == "other-id" else request.get("id", "")
        output = {"name": "depth", "datatype": datatype, "shape": shape}
        if fault == "json":
            return self._send(200, json.dumps({"id": number, "outputs": [{**output, "data": [1.0]}]}).encode())
        header = json.dumps({"id": number, "outputs": [{**output, "parameters": {"binary_data_size": len(data)}}]})
        return self._send(200, header.encode() + data, {LENGTH: str(len(header))})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _raw(self, data: bytes, *, close: bool) -> None:
        self.wfile.write(data)
        self.close_connection = close

    def _endless(self, head: bytes, more: bytes, every_s: float = 0.0) -> None:
        self.close_connection = True
        try:
            self.wfile.write(head)
            for _ in range(10_000):
                self.wfile.write(more)
                time.sleep(every_s)
        except OSError:
            pass


@contextmanager
def serve_http(engine: Engine, port: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """The port. ``tls``: certificate and key."""
    handler = type("Handler", (_Handler,), {"engine": engine})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="played-http")
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serve_grpc(engine: Engine, port: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """The port. ``tls``: certificate and key."""
    import grpc

    from streamd.depth.remote.messages import MESSAGES, SERVICE

    def allowed(context: Any) -> None:
        if engine.token and ("authorization", f"Bearer {engine.token}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    def server_ready(request: Any, context: Any) -> Any:
        allowed(context)
        return MESSAGES["ServerReadyResponse"](ready=engine.fault != "unready")

    def model_ready(request: Any, context: Any) -> Any:
        return MESSAGES["ModelReadyResponse"](ready=request.name == "embedded" and engine.fault != "model-unready")

    def metadata(request: Any, context: Any) -> Any:
        described = {
            key: [MESSAGES["Tensor"](**each) for each in tensors] for key, tensors in engine.metadata().items()
        }
        return MESSAGES["ModelMetadataResponse"](**described)

    def infer(request: Any, context: Any) -> Any:
        (tensor,) = request.inputs
        assert (tensor.name, tensor.datatype) == ("pictures", "UINT8")
        pictures = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(tuple(tensor.shape))
        datatype, shape, data = engine.depth(pictures)
        if engine.fault == "503":
            context.abort(grpc.StatusCode.UNAVAILABLE, "too busy")
        if engine.fault == "garbage":
            return os.urandom(500)
        answer = MESSAGES["ModelInferResponse"](
            id="0" if engine.fault == "other-id" else request.id,
            outputs=[MESSAGES["Tensor"](name="depth", datatype=datatype, shape=shape)],
            raw_output_contents=[data],
        )
        return answer.SerializeToString()

    def method(name: str, call: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=MESSAGES[f"{name}Request"].FromString,
            response_serializer=lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString(),
        )

    calls = {"ServerReady": server_ready, "ModelReady": model_ready, "ModelMetadata": metadata, "ModelInfer": infer}
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {name: method(name, call) for name, call in calls.items()}),)
    )
    if tls is None:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        certificate, key = (file.read_bytes() for file in tls)
        bound = server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    try:
        yield int(bound)
    finally:
        server.stop(None).wait()


class PlayedServer:
    """In a process of its own, which may be killed and stopped. A context manager."""

    def __init__(self, scheme: str, network: Path | None = None, token: str = "") -> None:
        self._scheme, self._network, self._token = scheme, network, token
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> PlayedServer:
        """On the port that it had, if it had one."""
        command = [sys.executable, "-m", __name__, self._scheme, str(self.port), str(self._network or ""), self._token]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def play(self, fault: str) -> None:
        """From the next request on; "" for none."""
        self._say(f"fault {fault}")

    @property
    def asked(self) -> int:
        """How many inferences it was asked for since it was started."""
        return int(self._say("asked"))

    def _say(self, command: str) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def stop(self) -> None:
        """SIGSTOP: its connections stay, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Safe to repeat."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def __enter__(self) -> PlayedServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


def main(scheme: str, port: str, network: str, token: str) -> None:
    engine = Engine(of_file(Path(network)) if network else red, token)
    with (serve_http if scheme == "http" else serve_grpc)(engine, int(port)) as bound:
        print(bound, flush=True)
        for line in sys.stdin:
            command, _, value = line.strip().partition(" ")
            if command == "fault":
                engine.fault = value
            print(engine.asked, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
