"""Endpoints that are real servers, two of each, killed, stopped, slow and wrong.

    python -m tests.soak.inference_servers --triton PYTHON --mlserver SITE --kserve SITE

PYTHON is one that has nvidia-pytriton (made on Debian's /usr/bin/python3.11: with others its stub dies), SITE a folder
that `pip install --target` has filled. What is left out is said, and not tried.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.support.waiting import until
from tests.unit.depth.remote.test_runtime import Site, site

_DEPTH = """
import os, time
import numpy as np

def depth_of(pictures):
    fault = open(os.environ["FAULT_FILE"]).read()
    if fault == "slow":
        time.sleep(1)
    depth = pictures[..., 0].astype(np.float32)
    if fault == "wrong-answer":
        depth = depth.max() - depth
    return depth[:, :-1] if fault == "wrong-shape" else depth
"""
_TRITON = """
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

@batch
def infer(pictures):
    return {"depth": depth_of(pictures)}

here = "127.0.0.1"
places = dict(http_address=here, grpc_address=here, metrics_address=here)
with Triton(config=TritonConfig(http_port=HTTP, grpc_port=GRPC, metrics_port=OTHER, **places)) as triton:
    inputs = [Tensor(name="pictures", dtype=np.uint8, shape=(-1, -1, 3))]
    outputs = [Tensor(name="depth", dtype=np.float32, shape=(-1, -1))]
    triton.bind(model_name="embedded", infer_func=infer, inputs=inputs, outputs=outputs, config=ModelConfig())
    triton.serve()
"""
_KSERVE = """
from kserve import InferOutput, InferResponse, Model, ModelServer

class Red(Model):
    async def predict(self, payload, headers=None, response_headers=None):
        depth = depth_of(payload.inputs[0].as_numpy())
        output = InferOutput("depth", list(depth.shape), "FP32")
        output.set_data_from_numpy(depth, binary_data=True)
        more = dict(use_binary_outputs=payload.use_binary_outputs, requested_outputs=payload.request_outputs)
        return InferResponse(payload.id, "embedded", [output], **more)

model = Red("embedded")
model.ready = True
ModelServer(http_port=HTTP, grpc_port=GRPC).start([model])
"""
_MLSERVER = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Red(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        depth = depth_of(NumpyCodec.decode_input(payload.inputs[0]))
        outputs = [NumpyCodec.encode_output("depth", depth)]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)
"""
KINDS = {"triton": ("grpc", "http"), "kserve": ("grpc", "http"), "mlserver": ("grpc",)}
"""What each speaks in raw bytes."""
FRAMES, INTERVAL_S = 60, 0.02
MAX_LOST = 2


class Server:
    """One replica."""

    def __init__(self, kind: str, where: str, folder: Path) -> None:
        self._kind, self._where, self._folder = kind, where, folder
        self._fault = folder / "fault"
        self._ports = [_free_port() for _ in range(3)]
        self.play("")
        folder.joinpath("red.py").write_text(self._source())
        if kind == "mlserver":
            names = ("http_port", "grpc_port", "metrics_port")
            more = {"host": "127.0.0.1", "parallel_workers": 0, **dict(zip(names, self._ports, strict=True))}
            folder.joinpath("settings.json").write_text(json.dumps(more))
            model = {"name": "embedded", "implementation": "red.Red"}
            folder.joinpath("model-settings.json").write_text(json.dumps(model))

    def _source(self) -> str:
        text = _DEPTH + {"triton": _TRITON, "kserve": _KSERVE, "mlserver": _MLSERVER}[self._kind]
        for name, port in zip(("HTTP", "GRPC", "OTHER"), self._ports, strict=True):
            text = text.replace(f"={name}", f"={port}")
        return text

    def start(self) -> None:
        python = self._where if self._kind == "triton" else sys.executable
        run = "from mlserver.cli import main; main()"
        command = [python, "-c", run, "start", "."] if self._kind == "mlserver" else [python, "red.py"]
        environment = {**os.environ, "FAULT_FILE": str(self._fault), "PYTHONPATH": f"{self._where}:{self._folder}"}
        if self._kind == "triton":
            del environment["PYTHONPATH"]
        with self._folder.joinpath("log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def url(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self._ports[scheme == 'grpc']}"

    def play(self, fault: str) -> None:
        self._fault.write_text(fault)

    def signal(self, number: int) -> None:
        """To all its processes."""
        os.killpg(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _lost(made: Site) -> int:
    lost = 0
    for _ in range(FRAMES):
        lost += bool(made.frame())
        time.sleep(INTERVAL_S)
    return lost


def _fault(name: str, made: Site, begin: Callable[[], object], end: Callable[[], object]) -> int:
    begin()
    lost = _lost(made)
    until(f"{name}: the other serves alone", lambda: made.reasons[1] and not made.reasons[2], 20)
    end()
    until(f"{name}: it is back", lambda: not any(made.reasons.values()), 40)
    return lost


def _try(kind: str, scheme: str, servers: list[Server]) -> bool:
    first = servers[0]

    with site(*(server.url(scheme) for server in servers)) as made:
        made.frame()
        until("both serve", lambda: len(made.reasons) == 2 and not any(made.reasons.values()), 60)
        lost = {"none": _lost(made)}
        for fault in ("wrong-shape", "slow"):
            lost[fault] = _fault(fault, made, partial(first.play, fault), lambda: first.play(""))
        lost["SIGSTOP"] = _fault(
            "SIGSTOP", made, lambda: first.signal(signal.SIGSTOP), lambda: first.signal(signal.SIGCONT)
        )
        lost["kill -9"] = _fault("kill -9", made, lambda: first.signal(signal.SIGKILL), first.start)
        first.play("wrong-answer")
        until("it is caught", lambda: made.reasons[1], 5)
        first.play("")
        until("it is back", lambda: not made.reasons[1], 40)
        for server in servers:
            server.signal(signal.SIGKILL)
        began = time.monotonic()
        until("frames are answered here", made.here, 5, step_s=0)
        away_s = time.monotonic() - began
        for server in servers:
            server.start()
        until("both are back", lambda: not any(made.reasons.values()), 60)
    good = max(lost.values()) <= MAX_LOST and away_s < 1
    print(f"{kind} by {scheme}: lost {lost}, all away: here after {away_s:.2f} s: {'good' if good else 'NOT GOOD'}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", metavar="PYTHON" if kind == "triton" else "SITE")
    options = vars(parser.parse_args())
    good = True
    for kind, schemes in KINDS.items():
        if options[kind] is None:
            print(f"{kind}: not tried: no --{kind}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            servers = []
            for number in range(2):
                home = Path(folder, str(number))
                home.mkdir()
                servers.append(Server(kind, options[kind], home))
            try:
                for server in servers:
                    server.start()
                for scheme in schemes:
                    good &= _try(kind, scheme, servers)
            finally:
                for server in servers:
                    server.signal(signal.SIGKILL)
    return not good


if __name__ == "__main__":
    sys.exit(main())
