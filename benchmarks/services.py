"""`services`: time-stamps and OCSP answers over HTTP, as wrk counts them, against bare signatures of the token.

Each service is one process of the real server with its real database; all keys lie in one SoftHSM token.
"""

import base64
import re
import shutil
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import perf_counter
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pkcs11 import Mechanism, ObjectClass

from benchmarks.kit import PIN, ROOT, digest, directory, new_token, open_token
from benchmarks.runner import WARMING_UP, Measured, Result
from hsm import KeySpec, loader, softhsm
from tsp import schema
from tsp.ca.tables import Certificate, serial_text
from tsp.core import der
from tsp.core.clock import SystemClock
from tsp.core.database import Database
from tsp.core.outbound import Outbound

TURNS = 5
SECONDS = 1.0
CONNECTIONS = 16
_SERIAL = 4711
_RATE = re.compile(rb"Requests/sec:\s+([0-9.]+)")
#: Requests a second.
Rate = Callable[[], float]


def measure() -> Iterator[Measured]:
    """Three lines, or none where wrk is not installed."""
    if shutil.which("wrk") is None:
        print("services: wrk is missing; scripts/setup --test installs it", file=sys.stderr)
        return
    with directory() as place, ExitStack() as stack:
        certificate, issuer = _prepare(place)
        base = {kind: stack.enter_context(_served(kind, place)) for kind in ("tsa", "ocsp", "empty")}
        stamp = der.seq(
            der.integer(1),
            der.seq(der.seq(der.oid("2.16.840.1.101.3.4.2.1")), der.octet_string(digest("document"))),
            der.integer(4711),
        )
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
        plain = builder.build().public_bytes(Encoding.DER)
        fresh = builder.add_extension(x509.OCSPNonce(bytes(32)), critical=False).build().public_bytes(Encoding.DER)
        path = "/" + quote(base64.b64encode(plain).decode(), safe="")
        bare = _bare_signatures(stack)
        posted = [
            ("time-stamps", base["tsa"], "application/timestamp-query", stamp, 33.0),
            ("ocsp-nonce", base["ocsp"], "application/ocsp-request", fresh, 28.0),
        ]
        for name, url, media_type, body, bound in posted:
            _require_success(url, media_type, body)
            rate = _wrk(url, *_script(place, name, media_type, body))
            yield _compare(name, "bare token signature", bare, f"{name} over HTTP", rate, bound)
        yield _compare(
            "ocsp-plain",
            "empty answer",
            _wrk(base["empty"] + path),
            "answer without nonce",
            _wrk(base["ocsp"] + path),
            70,
        )


def _require_success(url: str, media_type: str, body: bytes) -> None:
    """That the service does what is to be measured: a refusal would be quick, and 200 as well."""
    door = Outbound(internal=frozenset({url.removeprefix("http://")}))
    answer = door.request("POST", url, headers={"content-type": media_type}, content=body).body
    status = next(der.children(der.read_one(answer).content))
    # PKIStatusInfo with granted, or OCSPResponseStatus successful.
    if status.encoded not in (der.seq(der.integer(0)), der.enumerated(0)):
        raise RuntimeError("the service refuses")


def _compare(name: str, theirs: str, yardstick: Rate, own: str, ours: Rate, bound: float) -> Measured:
    """The medians of rates that were taken in turns."""
    taken = [(yardstick(), ours()) for _ in range(WARMING_UP + TURNS)][WARMING_UP:]
    a, b = (statistics.median(rates) for rates in zip(*taken, strict=True))
    value = b / a * 100
    return Measured(Result(name, round(value, 2), "%", bound, value >= bound), theirs, 1 / a, own, 1 / b, TURNS)


def _wrk(url: str, *script: str) -> Rate:
    """What wrk counts; an answer other than 200 fails the benchmark."""

    def rate() -> float:
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS:.0f}s", *script, url]
        shown = subprocess.run(command, check=True, capture_output=True).stdout
        found = _RATE.search(shown)
        if found is None or b"Non-2xx" in shown or b"Socket errors" in shown:
            raise RuntimeError(f"wrk: {shown.decode()}")
        return float(found[1])

    return rate


def _script(place: Path, name: str, media_type: str, body: bytes) -> tuple[str, str]:
    octets = "".join(f"\\{octet:03d}" for octet in body)
    file = place / f"{name}.lua"
    file.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{media_type}"\nwrk.body = "{octets}"\n', encoding="ascii"
    )
    return "-s", str(file)


def _bare_signatures(stack: ExitStack) -> Rate:
    """python-pkcs11's call alone, in one session."""
    module = loader.load(softhsm.find_module())
    (token,) = [found for found in module.tokens() if found.label == "services"]
    session = stack.enter_context(token.open(user_pin=PIN))
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="tsu")
    message = digest("what is signed")

    def rate() -> float:
        count, began = 0, perf_counter()
        while (passed := perf_counter() - began) < SECONDS:
            key.sign(message, mechanism=Mechanism.ECDSA)
            count += 1
        return count / passed

    return rate


@contextmanager
def _served(kind: str, place: Path) -> Iterator[str]:
    """The service in a process of its own; its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.service_process", kind, str(place), str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        _await(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    door, pause = Outbound(internal=frozenset({f"127.0.0.1:{port}"})), Event()
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError("a service ended")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        pause.wait(0.1)
    if door.request("GET", f"http://127.0.0.1:{port}/health").status != 200:
        raise RuntimeError("a service does not answer")


def _prepare(place: Path) -> tuple[x509.Certificate, x509.Certificate]:
    """Token, keys, certificates and database; a certificate that was issued, and its issuer."""
    new_token(place, "services")
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = _certificate("Enkrat TEST CA", authority.public_key(), authority, 1, [])
    purposes = {"tsu": ExtendedKeyUsageOID.TIME_STAMPING, "ocsp": ExtendedKeyUsageOID.OCSP_SIGNING}
    with open_token("services") as token:
        for number, (label, purpose) in enumerate(purposes.items()):
            key = load_der_public_key(token.generate_signing_key(label, KeySpec.P256).public_spki)
            usage: list[tuple[x509.ExtensionType, bool]] = [(x509.ExtendedKeyUsage([purpose]), label == "tsu")]
            if label == "ocsp":
                usage.append((x509.OCSPNoCheck(), False))
            made = _certificate(f"Enkrat TEST {label}", key, authority, 2 + number, usage)
            (place / f"{label}.der").write_bytes(made.public_bytes(Encoding.DER))
    (place / "ca.der").write_bytes(issuer.public_bytes(Encoding.DER))
    person = _certificate("Ana Novak", ec.generate_private_key(ec.SECP256R1()).public_key(), authority, _SERIAL, [])
    _store(place, person)
    return person, issuer


def _store(place: Path, certificate: x509.Certificate) -> None:
    database = Database(f"sqlite:///{place / 'services.db'}")
    schema.METADATA.create_all(database.engine)
    row = Certificate(
        serial=serial_text(_SERIAL),
        issuer="qualified",
        profile="advanced",
        subject_ref=None,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        der=certificate.public_bytes(Encoding.DER),
        issued_at=certificate.not_valid_before_utc,
        revoked_at=None,
        reason=None,
    )
    with database.write() as session:
        session.add(row)
    database.close()


def _certificate(
    name: str,
    key: object,
    authority: ec.EllipticCurvePrivateKey,
    serial: int,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = SystemClock().now()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("a key on P-256")
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Enkrat TEST CA")]))
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(authority, hashes.SHA256())
