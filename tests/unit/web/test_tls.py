from __future__ import annotations

from pathlib import Path

import pytest

from streamd.config.sections import ServerConfig
from streamd.errors import ConfigError
from streamd.web.tls import Tls, load_tls
from tests.support.certificates import make_certificate


def test_none_without_a_certificate() -> None:
    assert load_tls(ServerConfig()) is None


async def test_a_new_certificate_is_for_new_connections(tmp_path: Path) -> None:
    tls = Tls(*make_certificate(tmp_path, "one"))
    before = tls.context
    make_certificate(tmp_path, "two")
    await tls.reload()
    assert tls.context is not before


async def test_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    tls = Tls(certificate, key)
    before = tls.context
    key.write_text("no key")
    with pytest.raises(ConfigError, match=r"^server\.tls_certificate: "):
        await tls.reload()
    key.unlink()
    with pytest.raises(ConfigError, match=r"^server\.tls_key: .*cannot be read"):
        await tls.reload()
    assert tls.context is before
