from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streamd.concurrency import threads
from streamd.depth import profile
from streamd.doctor import machine
from streamd.host import cgroup
from tests.support.findings import found, only, serving


class TestMachine:
    @pytest.mark.parametrize(
        ("flags", "status", "words"),
        [
            ("sse avx2 avx512f avx512_bf16 avx512_vnni amx_tile", "ok", "AVX2, AVX-512, bf16, AMX, int8 VNNI"),
            ("sse avx2", "ok", "X: AVX2"),
            ("fp asimd asimddp", "ok", "int8 VNNI, NEON"),
            ("sse4_2", "warning", "no vector instructions known"),
        ],
    )
    def test_processor(self, monkeypatch: pytest.MonkeyPatch, flags: str, status: str, words: str) -> None:
        monkeypatch.setattr(profile, "cpu", lambda: ("X", flags))
        finding = only(machine.processor)
        assert finding.status == status
        assert words in finding.found

    @pytest.mark.parametrize(
        ("quota", "wanted", "advice"),
        [
            (None, "auto", ""),
            (None, 2, ""),
            (1.5, "auto", "set model.threads = 2: more only wait"),
            (None, 9, "set model.threads = 4: more only wait"),
            (8.0, 4, ""),
        ],
    )
    def test_threads(self, monkeypatch: pytest.MonkeyPatch, quota: float | None, wanted: Any, advice: str) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
        monkeypatch.setattr(cgroup, "cpu_limit", lambda: quota)
        finding = only(machine.threads, model={"threads": wanted})
        assert (finding.status, finding.advice) == ("warning" if advice else "ok", advice)

    @pytest.mark.parametrize(
        ("limit", "wanted_mb", "status"), [(None, 128, "ok"), (10**9, 128, "ok"), (10**9, 800, "warning")]
    )
    def test_memory(self, monkeypatch: pytest.MonkeyPatch, limit: int | None, wanted_mb: int, status: str) -> None:
        monkeypatch.setattr(cgroup, "memory_limit_bytes", lambda: limit)
        finding = only(machine.memory, model={"memory_limit_mb": wanted_mb})
        assert finding.status == status
        assert ("limited to 1.0 GB" in finding.found) is (limit is not None)

    def test_a_free_port(self) -> None:
        finding = only(machine.port, server={"listen": "127.0.0.1:0"})
        assert (finding.status, finding.found) == ("ok", "127.0.0.1:0 is free")

    def test_an_address_that_is_not_ours(self) -> None:
        finding = only(machine.port, server={"listen": "192.0.2.1:80", "allow_anonymous": True})
        assert finding.status == "problem"
        assert "cannot assign requested address" in finding.found

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [(b'{"status": "ok"}', "ok", "streamd answers there"), (b"hello", "problem", "taken by another program")],
    )
    def test_a_port_that_is_taken(self, body: bytes, status: str, words: str) -> None:
        with serving(body) as number:
            finding = only(machine.port, server={"listen": f"127.0.0.1:{number}"})
        assert finding.status == status
        assert words in finding.found
        assert (f"sport = :{number}" in finding.advice) is (status == "problem")

    def test_the_port_for_rtsp(self) -> None:
        assert found(machine.rtsp) == []
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]
            for said, status in (
                (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nServer: streamd\r\n\r\n", "ok"),
                (b"RTSP/1.0 200 OK\r\n\r\n", "problem"),
            ):
                answering = threads.start("rtsp", partial(self._answer, server, said))
                finding = only(machine.rtsp, rtsp={"listen": f"127.0.0.1:{number}"})
                answering.join()
                assert (finding.check, finding.status) == ("rtsp", status)
        assert only(machine.rtsp, rtsp={"listen": f"127.0.0.1:{number}"}).found == f"127.0.0.1:{number} is free"

    @staticmethod
    def _answer(server: socket.socket, said: bytes) -> None:
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1000).startswith(b"OPTIONS * RTSP/1.0\r\n")
            connection.sendall(said)

    def test_udp(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert only(machine.udp).status == "ok"

        def refused(*args: Any, **options: Any) -> socket.socket:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(socket, "socket", refused)
        assert only(machine.udp).found == "no UDP on this machine: operation not permitted"

    def test_disk(self, tmp_path: Path) -> None:
        findings = found(machine.disk, recording={"directory": str(tmp_path / "not/yet"), "min_free_gb": 0})
        assert [each.details["use"] for each in findings] == ["recordings", "models", "cache"]
        assert {each.status for each in findings} == {"ok"}
        findings = found(machine.disk, recording={"directory": str(tmp_path), "min_free_gb": 10**9})
        assert [each.status for each in findings] == ["problem", "warning", "warning"]

    def test_a_directory_that_we_may_not_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
        finding = found(machine.disk, recording={"directory": str(tmp_path), "min_free_gb": 0})[0]
        assert finding.status == "problem"
        assert "may not write" in finding.found

    def test_a_file_where_a_directory_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert found(machine.disk, recording={"directory": str(tmp_path / "file")})[0].status == "problem"
