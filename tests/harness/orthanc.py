"""A real Orthanc on free ports."""

from __future__ import annotations

import base64
import http.client
import io
import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests.harness.server import Server
from tests.harness.tools import find_tool, free_port, wait_until

WEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc(Server):
    """Start Orthanc with an archive of its own below `folder`; a context manager.

    It takes C-STORE from any AE title, but only for its own called AE title. Several can run side by side.

    Attributes
    ----------
    host, port, ae_title
        Where it takes DICOM.
    http_port
        Its REST API, without a password, for this machine only.
    url
        Its DICOMweb service; `web=True` asks for it, and skips the test where Orthanc's plugin for it is absent.
    """

    def __init__(self, folder: Path, ae_title: str = "ORTHANC", web: bool = False, **configuration: Any) -> None:
        self._program = find_tool("Orthanc")
        if web:
            if not WEB_PLUGIN.exists():
                pytest.skip("orthanc-dicomweb is not installed")
            configuration = {"Plugins": [str(WEB_PLUGIN)], "DicomWeb": {"Enable": True}, **configuration}
        self.folder = folder
        self.host, self.ae_title = "127.0.0.1", ae_title
        self.port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}/dicom-web"
        self._more = configuration
        users = [f"{name}:{password}" for name, password in configuration.get("RegisteredUsers", {}).items()]
        self._credentials = {"Authorization": "Basic " + base64.b64encode(users[0].encode()).decode()} if users else {}

    def start(self) -> None:
        """Start, or start again with the same ports and the same archive."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = {
            "Name": self.ae_title,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [],
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": True,
            "DicomAet": self.ae_title,
            "DicomCheckCalledAet": True,
            "DicomPort": self.port,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowEcho": True,
            "StableAge": 1,
            **self._more,
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(configuration, indent=2))
        self._launch([self._program, str(path)], self.folder / "orthanc.log")
        wait_until(self._answers, 20, f"Orthanc's REST API (log: {self.folder}/orthanc.log)")

    @property
    def pid(self) -> int:
        """Process id of the running Orthanc."""
        assert self._process is not None, "Orthanc is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it as an admin would."""
        if self._process:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def instances(self, study_uid: str | None = None) -> list[Dataset]:
        """Read back what it holds of a study (or of all): datasets decoded from the stored files."""
        found = self.rest("POST", "/tools/find", {"Level": "Instance", "Query": self._query(study_uid)})
        return [dcmread(io.BytesIO(self._request("GET", f"/instances/{identifier}/file"))) for identifier in found]

    def wait_for(self, count: int, timeout: float = 30.0, study_uid: str | None = None) -> list[Dataset]:
        """Wait until it holds at least `count` instances of a study (or of all), and give them."""
        query = {"Level": "Instance", "Query": self._query(study_uid)}
        held: list[str] = []

        def enough() -> bool:
            held[:] = self.rest("POST", "/tools/find", query)
            return len(held) >= count

        try:
            wait_until(enough, timeout, f"{count} instances in Orthanc", poll=0.2)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it holds {len(held)}") from None
        return self.instances(study_uid)

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Call the REST API with a JSON body and give its JSON answer."""
        return json.loads(self._request(method, path, None if body is None else json.dumps(body)))

    def _request(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        try:
            connection.request(method, path, body, self._credentials)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        assert response.status == 200, f"Orthanc answers {response.status} to {method} {path}"
        return content

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"Orthanc ended: {(self.folder / 'orthanc.log').read_text()[-2000:]}")
        try:
            return bool(self.rest("GET", "/system"))
        except (OSError, http.client.HTTPException):
            return False

    @staticmethod
    def _query(study_uid: str | None) -> dict[str, str]:
        return {"StudyInstanceUID": study_uid} if study_uid else {}
