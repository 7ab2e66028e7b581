"""An audit record repository: a real rsyslogd on ports and folders of its own."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.certificates import Authority
from tests.harness.tools import find_tool, free_port, wait_until

SCHEMA = Path(__file__).resolve().parent.parent / "audit" / "audit-message.rng"
EVENT = {
    "110100": "activity",
    "110102": "sending",
    "110103": "accessed",
    "110104": "transferred",
    "110105": "deleted",
    "110106": "exported",
    "110113": "alert",
}


@dataclass(frozen=True)
class Received:
    """A message that the repository took, as rsyslog understood it."""

    priority: int
    host: str
    program: str
    process: str
    message_id: str
    xml: str

    @property
    def root(self) -> ET.Element:
        """The audit message."""
        return ET.fromstring(self.xml)

    @property
    def event(self) -> str:
        """What it tells of."""
        return EVENT[self.root.find("EventIdentification/EventID").get("csd-code")]

    @property
    def kind(self) -> str:
        """Its first EventTypeCode, empty where there is none."""
        code = self.root.find("EventIdentification/EventTypeCode")
        return "" if code is None else code.get("csd-code")

    @property
    def outcome(self) -> str:
        """EventOutcomeIndicator."""
        return self.root.find("EventIdentification").get("EventOutcomeIndicator")

    def objects(self, role: str) -> list[ET.Element]:
        """Give the participant objects of a role (1 patient, 3 study)."""
        found = self.root.findall("ParticipantObjectIdentification")
        return [thing for thing in found if thing.get("ParticipantObjectTypeCodeRole") == role]


class Rsyslog:
    """Run rsyslogd in the foreground; a context manager. It can be stopped and started again on the same port.

    Parameters
    ----------
    folder : Path
        Configuration, certificates and what it received.
    transport : str
        tls or udp.
    client_ca : Path, optional
        Authority whose certificates a client must show.
    """

    def __init__(self, folder: Path, transport: str = "tls", client_ca: Path | None = None) -> None:
        self._program = find_tool("rsyslogd")
        if transport == "tls" and not list(Path("/usr/lib").glob("**/rsyslog/lmnsd_ossl.so")):
            pytest.skip("rsyslog-openssl is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self._transport = folder, free_port(), transport
        self.url = f"syslog-{transport}://127.0.0.1:{self.port}"
        self._file, self._config = folder / "received", folder / "rsyslog.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self.ca_file: Path | None = None
        settings = ['global(maxMessageSize="128k" parser.escapeControlCharactersOnReceive="off"']
        settings.append(f' workDirectory="{folder}"')
        if transport == "tls":
            authority = Authority(folder / "ca")
            ours, self.ca_file = authority.issue("repository", "IP:127.0.0.1"), authority.ca_file
            settings.append(f' DefaultNetstreamDriverCAFile="{client_ca or self.ca_file}"')
            settings.append(f' DefaultNetstreamDriverCertFile="{ours.certificate}"')
            settings.append(f' DefaultNetstreamDriverKeyFile="{ours.private_key}"')
            mode = "x509/certvalid" if client_ca else "anon"
            listener = (
                f'module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="{mode}")\n'
                f'input(type="imtcp" address="127.0.0.1" port="{self.port}" ruleset="keep")'
            )
        else:
            listener = (
                f'module(load="imudp")\ninput(type="imudp" address="127.0.0.1" port="{self.port}" ruleset="keep")'
            )
        form = r"%pri%\t%hostname%\t%app-name%\t%procid%\t%msgid%\t%msg%\n"
        self._config.write_text(
            "".join(settings)
            + f')\n{listener}\ntemplate(name="whole" type="string" string="{form}")\n'
            + f'ruleset(name="keep") {{ action(type="omfile" file="{self._file}" template="whole") }}\n'
        )

    def __enter__(self) -> Rsyslog:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [self._program, "-n", "-f", str(self._config), "-i", str(self.folder / "pid")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._listens, 10, f"rsyslogd ({(self.folder / 'log').read_text()[-2000:]})")

    def stop(self) -> None:
        """End it; what it received is written."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    @property
    def received(self) -> list[Received]:
        """Everything it took, in the order in which it came, over all its starts."""
        if not self._file.exists():
            return []
        rows = []
        for line in self._file.read_text(encoding="utf-8").splitlines():
            priority, host, program, process, message_id, text = line.split("\t", 5)
            rows.append(Received(int(priority), host, program, process, message_id, text.lstrip(" \ufeff")))
        return rows

    def wait_for(self, count: int, timeout: float = 20.0) -> list[Received]:
        """Wait until it has so many messages."""
        wait_until(lambda: len(self.received) >= count, timeout, f"{count} audit messages")
        return self.received

    def _listens(self) -> bool:
        """Look into the kernel's table: a connection made only to look would be a peer that breaks off."""
        assert self._process.poll() is None, (self.folder / "log").read_text()
        table, state = ("tcp", "0A") if self._transport == "tls" else ("udp", "07")
        lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        return any(line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == state for line in lines)


def assert_valid(messages: Iterable[str | bytes], folder: Path) -> None:
    """Hold audit messages to the schema of DICOM PS3.15 A.5.1, by xmllint."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, text in enumerate(messages):
        files.append(folder / f"{number}.xml")
        files[-1].write_bytes(text.encode() if isinstance(text, str) else text)
    assert files, "no message to validate"
    program = find_tool("xmllint")
    for start in range(0, len(files), 500):
        command = [program, "--noout", "--relaxng", str(SCHEMA), *map(str, files[start : start + 500])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        faults = [line for line in done.stderr.splitlines() if not line.endswith(" validates")]
        assert done.returncode == 0, "\n".join(faults)[:2000]
