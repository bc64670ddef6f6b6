from __future__ import annotations

import pytest

from streamd.notify.signature import key, signature


def test_the_example_of_standard_webhooks() -> None:
    """https://github.com/standard-webhooks/standard-webhooks, in the tests of its libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signed = signature(key(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_other_text_is_the_key_itself() -> None:
    assert key("sixteen letters!") == b"sixteen letters!"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!", "whsec_abc"])
def test_what_is_no_base64_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match="what follows whsec_ is not base64"):
        key(secret)
