"""What the parts of the web app share: settings, ledger, who is logged in, and the trace that every view leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from anyio import CapacityLimiter

from scarnode.audit import AuditTrail, Participant, Subject, events
from scarnode.config import Settings
from scarnode.ledger import Ledger
from scarnode.web.pictures import Pictures
from scarnode.web.sessions import Session, Sessions
from scarnode.web.throttle import Throttle


@dataclass
class AppState:
    """What the parts of the web app share.

    Attributes
    ----------
    settings : Settings
    ledger : Ledger
        The node's own: a process opens its ledger once.
    trail : AuditTrail
    pictures : Pictures
    engines : callable
        Gives in words what each worker computes on.
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
        """Threads in which passwords are checked: not those of the pages, which would wait for them."""
        return CapacityLimiter(2)

    @cached_property
    def code_threads(self) -> CapacityLimiter:
        """Threads in which one-time codes are checked: however many passwords are tried, a code waits for none."""
        return CapacityLimiter(2)

    def reload_settings(self, settings: Settings) -> None:
        """Go on by other settings; whose account is gone, or has another role or password, is logged out."""
        changed = {account.name for account in self.settings.web.users if account not in settings.web.users}
        self.settings = settings
        self.sessions.close_all(changed)

    def ledger_of(self, session: Session) -> Ledger:
        """Return the ledger as a person writes it: their name stands in the event rows."""
        return self.ledger.in_name_of(f"web, user {session.name}")

    def record_access(self, session: Session, subjects: Iterable[Subject]) -> None:
        """Record who is shown whose data, before it is shown: there is no access without a trace.

        Raises
        ------
        AuditError
            It could not be recorded; nothing must be shown.
        """
        if self.trail.on:
            for message in events.accessed(self.trail.source, self.person(session), subjects):
                self.trail.record(message)

    def person(self, session: Session) -> Participant:
        """Return who is logged in, as audit messages name them."""
        return Participant(f"{session.name}@{self.trail.source.host}", user_name=session.name, address=session.address)

    def tell_login(self, name: str, address: str, ok: bool, out: bool = False) -> None:
        """Record that a person logged in (or out), or tried to."""
        if self.trail.on:
            person = Participant(f"{name}@{self.trail.source.host}", user_name=name, address=address)
            self.trail.note(events.authenticated(self.trail.source, person, ok, out))
