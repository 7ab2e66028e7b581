"""Certificates made by openssl: an authority, what it vouches for, and what is wrong with some."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.harness.tools import find_tool


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate and its key."""

    certificate: Path
    private_key: Path


class Authority:
    """A certificate authority in a folder.

    Attributes
    ----------
    ca_file : Path
        Its own certificate.
    """

    def __init__(self, folder: Path, name: str = "Hospital CA") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file = folder / "ca.pem"
        _openssl(
            *["req", "-x509", *_NEW_KEY, "-days", "30", "-subj", f"/CN={name}"],
            *["-keyout", folder / "ca.key", "-out", self.ca_file],
        )

    def issue(
        self, name: str, names: str = "DNS:localhost,IP:127.0.0.1", days: int = 10, key: tuple = ()
    ) -> Certificate:
        """Vouch for a new certificate; of negative `days` it has ended already."""
        certificate, private_key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        _openssl("req", "-new", *(key or _NEW_KEY), "-subj", f"/CN={name}", "-keyout", private_key, "-out", request)
        _openssl(
            *["x509", "-req", "-in", request, "-CA", self.ca_file, "-CAkey", self.folder / "ca.key"],
            *["-CAcreateserial", "-days", days, "-extfile", extensions, "-out", certificate],
        )
        return Certificate(certificate, private_key)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*words: object) -> None:
    command = [find_tool("openssl"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
