from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from streamd.config.load import load
from streamd.errors import StreamdError
from streamd.installer import smoke
from streamd.web.auth import Access
from streamd.web.tokens import Scope

SERVES = """
import http.server, os, re, sys
[home, file] = os.environ["STREAMD_HOME"], sys.argv[-1]
assert os.getcwd() == home and "STREAMD_SERVER__LISTEN" not in os.environ
assert sys.argv[1:5] == ["-I", "-m", "streamd", "run"]
port = int(re.search(r"127.0.0.1:(\\d+)", open(file).read())[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def program(folder: Path, text: str) -> Path:
    file = folder / "python"
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(0o755)
    return file


def test_one_that_answers_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMD_SERVER__LISTEN", "0.0.0.0:1")
    smoke.check(program(tmp_path, SERVES), tmp_path / "scratch")


def test_other_users_of_the_machine_control_nothing(tmp_path: Path) -> None:
    """It runs as root for some seconds."""
    digests: set[str] = set()
    for folder in (tmp_path / "one", tmp_path / "two"):
        smoke.check(program(tmp_path, SERVES), folder)
        server = load(folder / "streamd.toml", environment={}).server
        assert not server.keep_changes
        assert Access(server).without_token(make_mocked_request("GET", "/", {"Host": "127.0.0.1"})) == Scope.OPEN
        digests.update(server.view_tokens, server.control_tokens)
    assert len(digests) == 4


def test_one_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    python = program(tmp_path, "import sys; sys.exit('ImportError: no av')")
    with pytest.raises(StreamdError, match=r"^the new version does not run: ImportError: no av; nothing was switched;"):
        smoke.check(python, tmp_path / "scratch")


def test_one_that_never_answers_is_ended(tmp_path: Path) -> None:
    python = program(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(StreamdError, match="does not run: no answer within 0 s"):
        smoke.check(python, tmp_path / "scratch", within_s=0.3)


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StreamdError, match=r"does not run: .*No such file"):
        smoke.check(tmp_path / "none", tmp_path / "scratch")
