"""Signatures over raw bytes, with Meta's own subtlety: the wire form is what is signed."""

import hashlib
import hmac

import pytest

from shared.meta.signature import appsecret_proof, is_signed, sign

SECRET = b"test_app_secret"
ESCAPED = b'{"text":"\\u00e4\\u00f6\\u00e5"}'
UTF_8 = '{"text":"äöå"}'.encode()

VECTORS = [
    pytest.param(
        b'{"object":"page","entry":[{"id":"106378625516323","time":1671644824,"calls":[]}]}',
        "88f9d1c3c0996772e9434f06bc9531e1a378a24301834a1aa70430ed44d1d706",
        id="a calls webhook",
    ),
    pytest.param(ESCAPED, "02331cadf5416e9e5dc4ecf73b5c9b7aa6577a90b90fbb6bad6e9a35d8a8f6a9", id="escaped, as sent"),
    pytest.param(UTF_8, "1156bb8871b0fb6c41be587675ee25663758799081f9aa28d1ecccad94158e9d", id="as UTF-8"),
]


@pytest.mark.parametrize(("body", "digest"), VECTORS)
def test_the_reference_vectors_are_signed(body: bytes, digest: str) -> None:
    assert sign(SECRET, body) == b"sha256=" + digest.encode()
    assert is_signed([SECRET], body, f"sha256={digest}".encode())


def test_the_signature_of_the_wire_form_does_not_fit_the_same_text_re_encoded() -> None:
    assert not is_signed([SECRET], UTF_8, sign(SECRET, ESCAPED))


def test_every_secret_of_a_rotation_is_good_and_no_other() -> None:
    rotation = [b"new", b"old"]
    assert all(is_signed(rotation, b"body", sign(secret, b"body")) for secret in rotation)
    assert not is_signed(rotation, b"body", sign(b"older", b"body"))


def test_without_secrets_nothing_is_signed() -> None:
    assert not is_signed([], b"body", sign(b"", b"body"))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"sha256=", id="no digest"),
        pytest.param(b"sha1=" + hmac.digest(SECRET, b"body", "sha1").hex().encode(), id="the legacy sha1"),
        pytest.param(sign(SECRET, b"body").removeprefix(b"sha256="), id="no prefix"),
        pytest.param(sign(SECRET, b"body")[:-1], id="cut off"),
        pytest.param(sign(SECRET, b"body") + b"0", id="too long"),
        pytest.param(sign(SECRET, b"other body"), id="of another body"),
        pytest.param(b"sha256=\xff\xfe", id="no text"),
    ],
)
def test_anything_but_the_sha256_signature_of_these_bytes_is_refused(header: bytes | None) -> None:
    assert not is_signed([SECRET], b"body", header)


def test_the_case_of_the_hex_digits_does_not_matter() -> None:
    digits = sign(SECRET, b"body").removeprefix(b"sha256=")
    assert is_signed([SECRET], b"body", b"sha256=" + digits.upper())


def test_one_changed_bit_anywhere_is_noticed() -> None:
    body = bytes(range(32))
    signed = sign(SECRET, body)
    for position in range(len(body)):
        changed = bytearray(body)
        changed[position] ^= 1
        assert not is_signed([SECRET], bytes(changed), signed)


def test_appsecret_proof_is_the_hmac_of_the_token_under_the_app_secret() -> None:
    """RFC 4231 test case 2, whose key and data are text, as an independent vector."""
    proof = appsecret_proof(b"Jefe", "what do ya want for nothing?")
    assert proof == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert proof == hmac.new(b"Jefe", b"what do ya want for nothing?", hashlib.sha256).hexdigest()
