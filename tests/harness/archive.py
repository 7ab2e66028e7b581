"""An archive with storage commitment whose every answer is chosen by the test, over pynetdicom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance


class Archive:
    """Take C-STORE and N-ACTION; a context manager.

    Parameters
    ----------
    reports : str
        ``same``: on the association of the request; ``new``: on one to `report_to`; ``never``.
    ae_title : str
    report_to : int
        Port of the node's listener.
    failed : mapping of str to int, or callable giving one
        FailureReason by SOP Instance UID.
    action_status : int
        What N-ACTION is answered with.
    store_status : int
        What C-STORE is answered with.
    early : bool
        Report before N-ACTION is answered.

    Attributes
    ----------
    stored : list of str
        SOP Instance UIDs as they came.
    requests : list of Dataset
        Action information of each N-ACTION.
    answers : list of int or None
        How the node answered each report.
    associations : int
        How many were asked for.
    """

    def __init__(
        self,
        reports: str = "same",
        ae_title: str = "ARCHIVE",
        report_to: int = 0,
        failed: Mapping[str, int] | Callable[[str], int | None] | None = None,
        action_status: int = 0x0000,
        store_status: int = 0x0000,
        early: bool = False,
        commitment: bool = True,
    ) -> None:
        self.reports, self.ae_title, self.report_to = reports, ae_title, report_to
        self.failed = failed.get if isinstance(failed, Mapping) else failed or (lambda uid: None)
        self.action_status, self.store_status, self.early = action_status, store_status, early
        self.host, self.stored, self.requests, self.answers, self.associations = "127.0.0.1", [], [], [], 0
        ae = AE(ae_title)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, ExplicitVRLittleEndian)
        if commitment:
            ae.add_supported_context(StorageCommitmentPushModel)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._action),
            (evt.EVT_REQUESTED, self._requested),
        ]
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for association in self._server.active_associations:
            association.abort()
        threading.Thread(target=self._server.shutdown, daemon=True).start()

    def report(self, request: Dataset, ae_title: str | None = None, role: bool = True, **changes: object) -> int | None:
        """Report on a request over an association of our own; None where the node takes no such association."""
        ae = AE(ae_title or self.ae_title)
        ae.add_requested_context(StorageCommitmentPushModel)
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if role else []
        link = ae.associate("127.0.0.1", self.report_to, ae_title="SCARNODE", ext_neg=roles)
        if not link.is_established:
            return None
        try:
            return self._tell(link, request, **changes)
        finally:
            link.release()

    def _requested(self, _event: evt.Event) -> None:
        self.associations += 1

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return self.store_status

    def _action(self, event: evt.Event) -> tuple[int, None]:
        request = event.action_information
        self.requests.append(request)
        if self.action_status == 0x0000 and self.reports != "never":
            if self.early:
                self._report(event.assoc, request, 0.0)
            else:
                threading.Thread(target=self._report, args=[event.assoc, request, 0.1], daemon=True).start()
        return self.action_status, None

    def _report(self, link: object, request: Dataset, delay: float) -> None:
        time.sleep(delay)
        if self.reports == "same":
            self._tell(link, request)
        else:
            self.report(request)

    def _tell(
        self, link: object, request: Dataset, event_type: int | None = None, instance: str = "", drop: str = ""
    ) -> int | None:
        failed = {
            item.ReferencedSOPInstanceUID: reason
            for item in request.ReferencedSOPSequence
            if (reason := self.failed(item.ReferencedSOPInstanceUID)) is not None
        }
        information = Dataset()
        information.TransactionUID = request.TransactionUID
        good = [item for item in request.ReferencedSOPSequence if item.ReferencedSOPInstanceUID not in failed]
        information.ReferencedSOPSequence = good
        if failed:
            information.FailedSOPSequence = []
            for item in request.ReferencedSOPSequence:
                if item.ReferencedSOPInstanceUID in failed:
                    one = Dataset()
                    one.ReferencedSOPClassUID = item.ReferencedSOPClassUID
                    one.ReferencedSOPInstanceUID = item.ReferencedSOPInstanceUID
                    one.FailureReason = failed[item.ReferencedSOPInstanceUID]
                    information.FailedSOPSequence.append(one)
        if drop:
            delattr(information, drop)
        status, _ = link.send_n_event_report(
            information,
            event_type or (2 if failed else 1),
            StorageCommitmentPushModel,
            instance or StorageCommitmentPushModelInstance,
        )
        self.answers.append(status.get("Status"))
        return status.get("Status")
