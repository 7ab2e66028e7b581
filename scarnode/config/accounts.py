"""Accounts of the web pages: a name, a role and a salted scrypt hash of the password, one line of config.ini each."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from enum import Enum

COST, BLOCK = 1 << 15, 8
"""scrypt's N and r (p = 1): 32 MiB and about 0.1 s for each try (RFC 7914; OWASP's Password Storage Cheat Sheet)."""
MEMORY = 64 << 20
MIN_LENGTH = 10
NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
CHECKS_AT_A_TIME = threading.Semaphore(2)
"""Most passwords that are checked at a time: this bounds memory and CPU."""


class Role(str, Enum):
    """What a user may do."""

    VIEWER = "viewer"
    """See everything but the settings."""
    ADMIN = "admin"
    """Also see the settings, and retry, send, hold and cancel jobs."""


@dataclass(frozen=True)
class Account:
    """A user who may log in.

    Attributes
    ----------
    name : str
        Letters, digits and ``. _ @ -``.
    role : Role
    salt, key : bytes
        Of scrypt; never shown.
    """

    name: str
    role: Role
    salt: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def __str__(self) -> str:
        """Return the line of config.ini."""
        return f"{self.name} {self.role.value} scrypt${_text(self.salt)}${_text(self.key)}"

    def knows(self, password: str) -> bool:
        """Return whether this is the user's password; takes about 0.1 s."""
        return hmac.compare_digest(self.key, _scrypt(password, self.salt))


def make_account(name: str, role: Role, password: str) -> Account:
    """Make an account with a salt of its own.

    Raises
    ------
    ValueError
        Saying what is allowed.
    """
    _check_name(name)
    if len(password) < MIN_LENGTH:
        raise ValueError(f"a password of at least {MIN_LENGTH} characters")
    salt = secrets.token_bytes(16)
    return Account(name, role, salt, _scrypt(password, salt))


def read_account(line: str) -> Account:
    """Read a line of config.ini, as ``scarnode web user`` prints it.

    Raises
    ------
    ValueError
        Saying what is allowed, without the line itself.
    """
    try:
        name, role, hashed = line.split()
        scheme, salt, key = hashed.split("$")
        account = Account(name, Role(role), b64decode(salt, validate=True), b64decode(key, validate=True))
    except ValueError:
        raise ValueError("lines of NAME ROLE HASH, as printed by: scarnode web user NAME") from None
    if scheme != "scrypt" or len(account.salt) < 16 or len(account.key) != 32:
        raise ValueError("hashes as printed by: scarnode web user NAME")
    _check_name(name)
    return account


NOBODY = Account("nobody", Role.VIEWER, b"-" * 16, b"-" * 32)
"""Checked where the name is unknown, so that the response time does not reveal which names exist."""


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError("names of letters, digits and . _ @ -, at most 64")


def _scrypt(password: str, salt: bytes) -> bytes:
    with CHECKS_AT_A_TIME:
        return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=1, maxmem=MEMORY, dklen=32)


def _text(value: bytes) -> str:
    return b64encode(value).decode()
