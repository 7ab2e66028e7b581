"""The state of the web app: settings, ledger, sessions, and the audit trail of every access."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from anyio import CapacityLimiter

from scarnode.audit import AuditTrail, Participant, Subject, events
from scarnode.config import Settings
from scarnode.ledger.ledger import Ledger
from scarnode.web.pictures import Pictures
from scarnode.web.sessions import Session, Sessions
from scarnode.web.throttle import Throttle


@dataclass
class AppState:
    """The state that all routers of the web app share.

    Attributes
    ----------
    settings : Settings
    ledger : Ledger
        The node's own: a process opens its ledger once.
    trail : AuditTrail
    pictures : Pictures
    engines : callable
        Returns a description of the device of each worker.
    """

    settings: Settings
    ledger: Ledger
    trail: AuditTrail
    pictures: Pictures
    engines: Callable[[], list[str]] = list
    sessions: Sessions = field(default_factory=Sessions)
    throttle: Throttle = field(default_factory=Throttle)

    @cached_property
    def password_threads(self) -> CapacityLimiter:
        """Threads that check passwords. The pages have threads of their own, so they do not wait for these."""
        return CapacityLimiter(2)

    @cached_property
    def code_threads(self) -> CapacityLimiter:
        """Threads that check one-time codes. They do not wait for passwords that are being checked."""
        return CapacityLimiter(2)

    def reload_settings(self, settings: Settings) -> None:
        """Apply new settings. Users whose account, role or password changed are logged out."""
        changed = {account.name for account in self.settings.web.users if account not in settings.web.users}
        self.settings = settings
        self.sessions.close_all(changed)

    def ledger_of(self, session: Session) -> Ledger:
        """Return the ledger under a user's name, which its event rows then hold."""
        return self.ledger.in_name_of(f"web, user {session.name}")

    def record_access(self, session: Session, subjects: Iterable[Subject]) -> None:
        """Record whose data a user is about to see. Call it before the data is shown.

        Raises
        ------
        AuditError
            The access could not be recorded, so nothing may be shown.
        """
        if self.trail.on:
            for message in events.accessed(self.trail.source, self.person(session), subjects):
                self.trail.record(message)

    def person(self, session: Session) -> Participant:
        """Return the logged-in user as audit messages name them."""
        return Participant(f"{session.name}@{self.trail.source.host}", user_name=session.name, address=session.address)

    def record_login(self, name: str, address: str, ok: bool, out: bool = False) -> None:
        """Record a log-in (with `out` a log-out), or a failed one."""
        if self.trail.on:
            person = Participant(f"{name}@{self.trail.source.host}", user_name=name, address=address)
            self.trail.note(events.authenticated(self.trail.source, person, ok, out))
