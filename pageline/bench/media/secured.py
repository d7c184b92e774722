"""The far end's half of DTLS-SRTP (RFC 5763, RFC 5764): the server's, over datagrams that others carry."""

import datetime as dt
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from pylibsrtp import Policy, Session

PROFILE: Final = b"SRTP_AES128_CM_SHA1_80"
"""What libwebrtc chooses first, so that every stack under measurement encrypts alike."""
_KEY_BYTES, _SALT_BYTES = 16, 14  # RFC 3711, section 8.2
_DATAGRAM_BYTES: Final = 1500


class Identity:
    """The certificate that all far ends of a run show."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "consumer")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self.context.set_tlsext_use_srtp(PROFILE)


class Handshake:
    """One handshake; `take` each datagram of the peer's and send what it returns."""

    def __init__(self, identity: Identity) -> None:
        self._connection = SSL.Connection(identity.context)
        self._connection.set_accept_state()
        self.keys: tuple[Session, Session] | None = None
        """Sessions for what we send and for what we receive, once it is done."""
        self.closed = False
        """Whether the peer has said goodbye."""

    def take(self, datagram: bytes) -> list[bytes]:
        """Go on with a datagram; return those to be sent."""
        self._connection.bio_write(datagram)
        try:
            if self.keys is None:
                self._connection.do_handshake()
                self.keys = self._sessions()
            else:
                self._connection.recv(_DATAGRAM_BYTES)
        except SSL.WantReadError:
            pass
        except (SSL.ZeroReturnError, SSL.Error):
            self.closed = True
        replies = []
        try:
            while True:
                replies.append(self._connection.bio_read(_DATAGRAM_BYTES))
        except SSL.WantReadError:
            return replies

    def _sessions(self) -> tuple[Session, Session]:
        """Return the sessions of the server and of the client, keyed as RFC 5764, section 4.2 says."""
        both = 2 * (_KEY_BYTES + _SALT_BYTES)
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", both)
        salts = material[2 * _KEY_BYTES :]
        client = material[:_KEY_BYTES] + salts[:_SALT_BYTES]
        server = material[_KEY_BYTES : 2 * _KEY_BYTES] + salts[_SALT_BYTES:]
        profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        sending = Policy(key=server, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        receiving = Policy(key=client, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        return Session(sending), Session(receiving)
