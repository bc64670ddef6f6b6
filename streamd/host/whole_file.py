"""Outputs that are whole or as they were: written beside their place, and moved there in one step."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

Data = bytes | bytearray | memoryview

_MAX_LINKS = 40
_MAX_ENDING = 16
"""Bytes of an ending that a muxer may be told by; no format has a longer one."""
_DESCRIPTOR = re.compile(r"/proc/[^/]+(/task/[^/]+)?/fd/[^/]+|/dev/fd/[^/]+")
_OCTAL = re.compile(rb"\\([0-7]{3})")
_KINDS = {
    stat.S_IFIFO: "is a pipe, not a file",
    stat.S_IFCHR: "is a device, not a file",
    stat.S_IFBLK: "is a disk, not a file",
    stat.S_IFSOCK: "is a socket, not a file",
}


class WholeFile:
    """Write to ``part``, in any way, then ``commit``: only then ``output`` changes. A context manager, which
    commits at its end, and discards when an exception leaves it. ``phrase`` says what went wrong.

    Symbolic links are written through. The permissions of a file that is replaced stay. Only one process at a time
    writes an output; its lock ends with it, and the next removes what a killed one left. Everything raises OSError.
    One thread.
    """

    def __init__(self, output: str | Path) -> None:
        self._target = _target(output)
        self._check_target()
        self.part = _part(self._target)
        self.descriptor = _take(self.part)
        """Of ``part``."""

    def write(self, data: Data) -> None:
        with open(self.descriptor, "wb", closefd=False) as file:
            file.write(data)

    def commit(self) -> None:
        """Raises OSError; ``output`` is as it was then."""
        if self.descriptor < 0:
            return
        try:
            with suppress(FileNotFoundError):
                self._keep_rights(os.stat(self._target))
            os.fsync(self.descriptor)
            os.replace(self.part, self._target)
        except OSError:
            self.discard()
            raise
        self._release()
        with suppress(OSError):  # some network disks cannot; the file is in its place
            sync(self._target.parent)

    def discard(self) -> None:
        if self.descriptor >= 0:
            with suppress(OSError):
                self.part.unlink()
            self._release()

    def _check_target(self) -> None:
        """What would fail after all the work fails now."""
        try:
            mode = os.stat(self._target).st_mode
        except FileNotFoundError:
            if not self._target.parent.is_dir():
                raise OSError(errno.ENOENT, f"there is no folder {self._target.parent}", str(self._target)) from None
            return
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory", str(self._target))
        if kind := _KINDS.get(stat.S_IFMT(mode)):
            raise OSError(errno.EINVAL, kind, str(self._target))
        if not os.access(self._target, os.W_OK):
            raise PermissionError(errno.EACCES, "is write-protected", str(self._target))
        if _is_mount(self._target):  # as in a container that was given this one file
            raise OSError(errno.EBUSY, "is a mount of its own: mount its folder instead", str(self._target))

    def _keep_rights(self, replaced: os.stat_result) -> None:
        with suppress(PermissionError):
            os.fchown(self.descriptor, replaced.st_uid, replaced.st_gid)
        os.fchmod(self.descriptor, stat.S_IMODE(replaced.st_mode))

    def _release(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1

    def __enter__(self) -> WholeFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


@contextmanager
def writing(output: str | Path) -> Iterator[Callable[[Data], None]]:
    """A function that writes: ``output`` holds all of it when the block ends well, else what it held before. A pipe, a
    terminal or /dev/null gets it directly. Raises OSError like WholeFile."""
    if is_passed_on(output):
        yield partial(_pass_on, _target(output))
        return
    with WholeFile(output) as whole:
        yield whole.write


def write_whole(output: str | Path, data: Data) -> None:
    """``writing``, all at once."""
    with writing(output) as write:
        write(data)


def phrase(error: OSError) -> str:
    """What went wrong, to follow a name and a colon."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the disk"
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def is_passed_on(output: str | Path) -> bool:
    """Whether what is written there is no file that stays: a pipe, a terminal, /dev/null, an open descriptor."""
    target = _target(output)
    if _DESCRIPTOR.fullmatch(str(target)):
        return True
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def sync(path: Path) -> None:
    """What was written to this file, or renamed in this directory, is on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _pass_on(target: Path, data: Data) -> None:
    """What is open already is written to itself: a socket cannot be opened by its name."""
    number = target.name if target.parent == Path(f"/proc/{os.getpid()}/fd") else ""
    with open(os.dup(int(number)) if number else target, "wb") as file:
        file.write(data)


def _target(output: str | Path) -> Path:
    """Where the links lead, whether something is there or not; a descriptor's entry in /proc is no link to follow."""
    path = Path(output).absolute()  # whose folder may be gone when it is not needed
    for _ in range(_MAX_LINKS):
        path = Path(os.path.realpath(path.parent)) / path.name
        if _DESCRIPTOR.fullmatch(str(path)) or not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, "is a symbolic link that leads to itself", str(output))


def _part(target: Path) -> Path:
    """The same for every name of the target, short whatever that is, with an ending by which a muxer is chosen."""
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    ending = target.suffix if len(os.fsencode(target.suffix)) <= _MAX_ENDING and target.suffix.isascii() else ""
    return target.with_name(f".streamd-{digest}.part{ending}")


def _take(part: Path) -> int:
    """A descriptor of the empty file, locked. What is there without a lock is of a process that was killed."""
    while True:
        is_new = True
        try:
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            is_new = False
            try:
                handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:  # taken its place meanwhile
                continue
        try:
            _lock(handle)
            if _is_at(handle, part):
                if is_new:
                    return handle
                part.unlink()
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(errno.EBUSY, f"is being written by another streamd{_holder(os.fstat(handle).st_ino)}") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):  # a network disk without locks
            raise


def _holder(inode: int) -> str:
    """`` (pid N)`` of who holds the lock of this file; empty where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}") and int(fields[4]) > 0:
                return f" (pid {fields[4]})"
    return ""


def _is_mount(file: Path) -> bool:
    """``os.path.ismount`` compares devices, which differ in an overlay too."""
    name = os.fsencode(file)
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    return any(_OCTAL.sub(lambda code: bytes([int(code[1], 8)]), line.split()[4]) == name for line in mounts)


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file has this name still."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), found)
