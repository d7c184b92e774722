"""A coturn of our own on loopback, over udp, tcp and tls, with a certificate made on the spot."""

import contextlib
import datetime as dt
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.ice_servers import IceServer, read_servers

USER, PASSWORD = "line", "s3cret"
RELAYED = range(52_000, 52_100)


def free_port() -> int:
    """A port that is free for UDP and TCP."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return int(udp.getsockname()[1])
    raise AssertionError("no free port")


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path


@dataclass(frozen=True)
class Coturn:
    port: int
    tls_port: int
    cert: Path
    process: subprocess.Popen[bytes]

    def server(self, how: str, *, user: str = USER, password: str = PASSWORD) -> IceServer:
        """Return the server as `udp`, `tcp` or `tls`."""
        url = f"turns:127.0.0.1:{self.tls_port}" if how == "tls" else f"turn:127.0.0.1:{self.port}?transport={how}"
        [server] = read_servers((url,), user, password)
        return server


@contextlib.contextmanager
def coturn(folder: Path) -> Iterator[Coturn]:
    """Run one; skip where it is not installed, unless PAGELINE_REQUIRE_COTURN is set."""
    program = shutil.which("turnserver")
    if program is None:
        if os.environ.get("PAGELINE_REQUIRE_COTURN"):
            pytest.fail("coturn is not installed (apt install coturn)")
        pytest.skip("coturn is not installed")
    cert, key = certificate(folder)
    port, tls_port = free_port(), free_port()
    config = folder / "turnserver.conf"
    config.write_text(
        "\n".join(
            (
                "listening-ip=127.0.0.1",
                "relay-ip=127.0.0.1",
                f"listening-port={port}",
                f"tls-listening-port={tls_port}",
                f"min-port={RELAYED.start}",
                f"max-port={RELAYED.stop - 1}",
                "lt-cred-mech",
                f"user={USER}:{PASSWORD}",
                "realm=pageline.test",
                f"cert={cert}",
                f"pkey={key}",
                "allow-loopback-peers",
                "no-cli",
                f"userdb={folder / 'turndb'}",
                f"pidfile={folder / 'pid'}",
                "log-file=stdout",
            )
        )
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=subprocess.STDOUT)
    try:
        _await_listening(process, tls_port, folder / "log")
        yield Coturn(port, tls_port, cert, process)
    finally:
        process.terminate()
        process.wait(5)


def _await_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_s = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_s, log.read_text()
            time.sleep(0.05)
