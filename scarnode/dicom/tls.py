"""TLS as DICOM wants it: PS3.15 B.12, the BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REGISTERED_PORT = 2762
"""dicom-tls (PS3.8 9.1.1, IANA)."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""Of TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 4.2). TLS 1.3 has nothing else."""


@dataclass(frozen=True)
class Identity:
    """What the node shows of itself: PEM files of its certificate (with those between it and the root) and its key."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True)
class Protection:
    """How a peer that we call is spoken to by TLS.

    Attributes
    ----------
    identity : Identity or None
        Shown where the peer asks for it.
    ca_file : Path or None
        PEM file of the authorities that may vouch for the peer; None: the public ones.
    name : str
        What the peer's certificate must say it is; empty: the host we call.
    """

    identity: Identity | None = None
    ca_file: Path | None = None
    name: str = ""


class IdentityError(ValueError):
    """A certificate or its key can not be used; `key` says which of the settings is to blame."""

    def __init__(self, key: str, allowed: str) -> None:
        super().__init__(allowed)
        self.key = key


def server_context(identity: Identity, ca_file: Path | None) -> ssl.SSLContext:
    """Return the context of a port.

    Parameters
    ----------
    identity : Identity
    ca_file : Path or None
        PEM file of the authorities that may vouch for callers; every caller must then show a certificate. None: callers
        need none.

    Raises
    ------
    OSError, ValueError
        A file can not be read, or not be used.
    """
    context = _held_to_the_profile(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    _show(context, identity)
    if ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca_file)
    return context


def client_context(identity: Identity | None, ca_file: Path | None) -> ssl.SSLContext:
    """Return the context for a connection to a peer, whose certificate and name are checked.

    Parameters
    ----------
    identity : Identity or None
        Shown where the peer asks for it.
    ca_file : Path or None
        PEM file of the authorities that may vouch for the peer; None: the public ones.

    Raises
    ------
    OSError, ValueError
        A file can not be read, or not be used.
    """
    context = _held_to_the_profile(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    if identity is not None:
        _show(context, identity)
    return context


def check_identity(identity: Identity) -> float:
    """Make sure that certificate and key can be read, belong together and are valid now.

    Returns
    -------
    float
        When the certificate ends, in seconds since 1970.

    Raises
    ------
    IdentityError
        Saying what is allowed.
    """
    return ssl.cert_time_to_seconds(str(_certificate(identity)["notAfter"]))


def own_name(identity: Identity) -> str:
    """Return a name, or address, that a certificate says it is; IdentityError where it can not be used or has none."""
    names = [str(name) for kind, name in _certificate(identity).get("subjectAltName", ()) if kind in _NAMES]
    if not names:
        raise IdentityError("certificate", "a certificate that names its machine (subjectAltName)")
    return names[0]


_NAMES = ("DNS", "IP Address")


def _certificate(identity: Identity) -> dict[str, Any]:
    try:
        ours = server_context(identity, None)
        theirs = _held_to_the_profile(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        theirs.check_hostname = False
        theirs.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever vouches for it: its dates are what we ask for
        theirs.load_verify_locations(identity.certificate)
        return _rehearse(ours, theirs)
    except ssl.SSLCertVerificationError as error:
        raise IdentityError("certificate", f"a certificate that is valid now ({error.verify_message})") from None
    except ssl.SSLError as error:
        raise _what_is_wrong(error, identity) from None
    except OSError as error:
        key = "private_key" if _readable(identity.certificate) else "certificate"
        raise IdentityError(key, f"a PEM file that this user can read ({error.strerror})") from None


def check_authorities(path: Path, dates: bool = True) -> None:
    """Make sure that a file of certificate authorities can be read, and (`dates`) that one of them is valid now.

    Raises
    ------
    ValueError
        Saying what is allowed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError("a PEM file of certificates") from None
    except OSError as error:
        raise ValueError(f"a PEM file of certificates that this user can read ({error.strerror})") from None
    ends = [str(authority["notAfter"]) for authority in context.get_ca_certs()]
    if dates and ends and max(map(ssl.cert_time_to_seconds, ends)) < time.time():
        raise ValueError(f"certificates that are valid now (the last of these ended on {ends[-1]})")


def explain(error: ssl.SSLError) -> str:
    """Describe in a few words why TLS failed; holds nothing that the peer wrote."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    return (error.reason or type(error).__name__).replace("_", " ").lower()


def _held_to_the_profile(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _show(context: ssl.SSLContext, identity: Identity) -> None:
    def no_password() -> str:
        raise IdentityError(
            "private_key", "a PEM file of a key without a password: nobody is there when the node starts"
        )

    context.load_cert_chain(identity.certificate, identity.private_key, no_password)


def _rehearse(ours: ssl.SSLContext, theirs: ssl.SSLContext) -> dict:
    """Shake hands with ourselves, and give our certificate as the peer reads it."""
    to_us, to_them = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ours.wrap_bio(to_us, to_them, server_side=True)
    client = theirs.wrap_bio(to_them, to_us)
    ready = False
    while not ready:
        ready = True
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                ready = False
    return client.getpeercert() or {}


def _what_is_wrong(error: ssl.SSLError, identity: Identity) -> IdentityError:
    """Describe which file the TLS library does not take: it names none."""
    reason = error.reason or ""
    if reason == "KEY_VALUES_MISMATCH":
        return IdentityError("private_key", "the key that belongs to the certificate")
    if reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        what = "an RSA key of 2048 bits or more, or an elliptic one, signed with SHA-256 or better"
        return IdentityError("certificate", what)
    try:
        check_authorities(identity.certificate, dates=False)
    except ValueError:
        return IdentityError("certificate", "a PEM file of a certificate")
    return IdentityError("private_key", "a PEM file of a key")


def _readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False
