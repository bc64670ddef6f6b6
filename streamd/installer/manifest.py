"""The list of what was made on the machine. Each thing is listed before it is made, so that what was cut short can
be removed too."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from streamd import __version__
from streamd.errors import StreamdError
from streamd.installer import files


@dataclass
class Manifest:
    """In the order in which it was made."""

    file: Path
    made: dict[str, str] = field(default_factory=dict)
    """Path on the target machine to "directory", "link", "tree", or a file's sha256."""
    fingerprint: str = ""
    """Of the only environment of 0.1.0, whose installer reads this key; a later version carries its own."""
    pending: list[str] = field(default_factory=list)
    """What has changed since the service was started last."""
    version: str = __version__
    """Of the first installation; 0.1.0 reads it."""

    @classmethod
    def read(cls, file: Path) -> Manifest:
        """An empty one when there is none. Raises StreamdError when it is damaged."""
        try:
            content = json.loads(file.read_text())
            return cls(file, **{key: content[key] for key in ("made", "fingerprint", "pending", "version")})
        except FileNotFoundError:
            return cls(file)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StreamdError(f"{file}: cannot be read as a manifest: {error}") from None

    def add(self, path: Path, kind: str) -> None:
        if self.made.get(str(path)) != kind:
            self.made[str(path)] = kind
            self.save()

    def changed(self, what: str) -> None:
        """The service is to be started anew because of it."""
        if what not in self.pending:
            self.pending.append(what)
            self.save()

    def all_started(self) -> None:
        """The service runs with all changes."""
        self.pending.clear()
        self.save()

    def save(self) -> None:
        content = {key: value for key, value in vars(self).items() if key != "file"}
        files.write(self.file, (json.dumps(content, indent=1) + "\n").encode())
