"""A file system in memory that a test fills, fails, hangs and brings back: FUSE, spoken to the kernel directly
(linux/fuse.h, 7.31), so whoever writes to it meets the real system calls. Needs root and /dev/fuse.

``with FaultyDisk(folder) as disk``: ``disk.set_fault(errno.EROFS)`` lets every change fail with that, ``disk.hang()``
stops the process behind it, ``disk.unmount()`` takes it away and ``disk.mount()`` brings it back, empty.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

DEVICE = "/dev/fuse"
ROOT = 1
BLOCK = 4096
SIZE_BYTES = 64_000_000
_HEADER = struct.Struct("<IIQQIIIHH")
_CHANGES = {9, 10, 16, 20, 35}
"""MKDIR, UNLINK, WRITE, FSYNC, CREATE."""
_DIRECT_IO = 1
_MNT_DETACH = 2

needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(DEVICE, os.R_OK | os.W_OK), reason="NO DISK FAILS: needs root and /dev/fuse"
)


class FaultyDisk:
    """Mounted at ``folder``; used by the test, served by a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._control = folder.with_name(f"{folder.name}.fault")
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> FaultyDisk:
        self.folder.mkdir(exist_ok=True)
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unmount()

    def mount(self) -> None:
        self.set_fault(0)
        command = [sys.executable, "-m", __name__, str(self.folder), str(self._control)]
        self._server = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"mounted\n"
        # FLUSH is not answered (ENOSYS), and after the first not asked for again: the kernel waits for its answer even
        # in a process that is killed, which no other request, and no other file system, does.
        (self.folder / "first").touch()
        (self.folder / "first").unlink()

    def unmount(self) -> None:
        if self._server is not None:
            self.answer()
            _check(_libc().umount2(os.fsencode(self.folder), _MNT_DETACH))
            self._server.kill()  # whoever has a file open gets ENOTCONN
            self._server.communicate()
            self._server = None

    def set_fault(self, code: int, free_bytes: int = SIZE_BYTES) -> None:
        """Every change fails with this errno; 0: none does. ``free_bytes`` is what it says it has."""
        self._control.write_text(f"{code} {free_bytes}")

    def hang(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)

    def answer(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)


class Node:
    def __init__(self, number: int, mode: int) -> None:
        self.number = number
        self.mode = mode
        self.data = bytearray()
        self.children: dict[bytes, Node] = {}
        self.changed_s = time.time()

    def attributes(self) -> bytes:
        seconds = int(self.changed_s)
        nanoseconds = int(self.changed_s % 1 * 1e9)
        blocks = -(-len(self.data) // 512)
        times = (seconds,) * 3 + (nanoseconds,) * 3
        return struct.pack("<6Q10I", self.number, len(self.data), blocks, *times, self.mode, 1, 0, 0, 0, BLOCK, 0)

    def entry(self) -> bytes:
        return struct.pack("<4Q2I", self.number, 0, 0, 0, 0, 0) + self.attributes()


class Server:
    """Answers the kernel, one request after the other."""

    def __init__(self, device: int, control: Path) -> None:
        self._device = device
        self._control = control
        self._nodes = {ROOT: Node(ROOT, stat.S_IFDIR | 0o755)}
        self._answers: dict[int, Callable[[Node, bytes], bytes]] = {
            1: self._lookup,
            3: lambda node, _: struct.pack("<QII", 0, 0, 0) + node.attributes(),
            4: lambda node, _: struct.pack("<QII", 0, 0, 0) + node.attributes(),
            9: lambda node, body: self._make(node, body[8:-1], stat.S_IFDIR | 0o755).entry(),
            10: self._unlink,
            14: lambda node, _: self._open(node),
            15: self._read,
            16: self._write,
            17: lambda *_: self._space(),
            18: lambda *_: b"",
            20: lambda *_: b"",
            26: lambda *_: struct.pack("<4I2H2I2H2I6I", 7, 31, 0, 0, 0, 0, 1 << 17, 1, 0, 0, 0, 0, *(0,) * 6),
            27: lambda node, _: self._open(node),
            28: self._list,
            29: lambda *_: b"",
            35: self._create,
        }

    def run(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 18)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return  # unmounted
            _, code, unique, number, *_ = _HEADER.unpack_from(request)
            if code in (2, 36, 42):  # FORGET, INTERRUPT, BATCH_FORGET: not answered
                continue
            failure, answer = self._answer(code, number or ROOT, request[_HEADER.size :])
            try:
                os.write(self._device, struct.pack("<IiQ", 16 + len(answer), -failure, unique) + answer)
            except OSError:  # who asked has been killed meanwhile
                pass

    def _answer(self, code: int, number: int, body: bytes) -> tuple[int, bytes]:
        fault = self._fault()[0] if code in _CHANGES else 0
        if fault or code not in self._answers or number not in self._nodes:
            return fault or errno.ENOSYS, b""
        try:
            return 0, self._answers[code](self._nodes[number], body)
        except OSError as error:
            return error.errno or errno.EIO, b""

    def _fault(self) -> tuple[int, int]:
        code, free = self._control.read_text().split() or ("0", "0")
        return int(code), int(free)

    def _lookup(self, node: Node, body: bytes) -> bytes:
        child = node.children.get(body[:-1])
        if child is None:
            raise FileNotFoundError(errno.ENOENT, "")
        return child.entry()

    def _make(self, node: Node, name: bytes, mode: int) -> Node:
        if name in node.children:
            raise FileExistsError(errno.EEXIST, "")
        child = node.children[name] = Node(len(self._nodes) + 1, mode)
        self._nodes[child.number] = child
        node.changed_s = time.time()
        return child

    def _create(self, node: Node, body: bytes) -> bytes:
        return self._make(node, body[16:-1], stat.S_IFREG | 0o644).entry() + self._open(node)

    def _open(self, node: Node) -> bytes:
        return struct.pack("<QII", node.number, _DIRECT_IO, 0)

    def _unlink(self, node: Node, body: bytes) -> bytes:
        node.children.pop(body[:-1])
        node.changed_s = time.time()
        return b""

    def _read(self, node: Node, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        return bytes(node.data[offset : offset + size])

    def _write(self, node: Node, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        node.data.extend(bytes(max(0, offset - len(node.data))))
        node.data[offset : offset + size] = body[40 : 40 + size]
        node.changed_s = time.time()
        return struct.pack("<II", size, 0)

    def _space(self) -> bytes:
        free = self._fault()[1] // BLOCK
        return struct.pack("<5Q4I6I", SIZE_BYTES // BLOCK, free, free, 1000, 1000, BLOCK, 255, BLOCK, 0, *(0,) * 6)

    def _list(self, node: Node, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        found = b""
        for place, (name, child) in enumerate(list(node.children.items())[offset:], offset + 1):
            entry = struct.pack("<QQII", child.number, place, len(name), child.mode >> 12) + name
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _serve(folder: str, control: str) -> None:
    device = os.open(DEVICE, os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    _check(_libc().mount(b"faulty", os.fsencode(folder), b"fuse", 0, options))
    print("mounted", flush=True)
    Server(device, Path(control)).run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
