"""What an admin has to know, seen in the ledger and made into alarms."""

from __future__ import annotations

import re
import time

from scarnode.config import Settings
from scarnode.dicom.tls import check_identity
from scarnode.ledger.ledger import Ledger
from scarnode.monitoring import queries
from scarnode.monitoring.messages import utc
from scarnode.util.clock import monotonic_time

DESTINATION = "destination_"
LONGEST_NAME = 64
"""Characters that the ledger keeps of an alarm's name."""

CERTIFICATE_DAYS = 14
"""So long before the node's certificate ends an alarm stands."""


def update_alarms(ledger: Ledger, settings: Settings) -> None:
    """Raise, restate and clear the alarms that are conditions of the ledger; called every few seconds.

    ``failed_jobs``, ``held_jobs``, ``identity``, ``queue_age``, ``flag_rate``, ``certificate`` and
    ``destination_NAME``. Alarms on disks, workers, the audit repository and config.ini are kept by the parts that know.

    Parameters
    ----------
    ledger : Ledger
    settings : Settings
        Their [notify] says from when on something is an alarm.
    """
    notify = settings.notify
    ledger.alarms.set_alarm("failed_jobs", _jobs(ledger, "failed", "failed for good"), _tells_of_more)
    held = _jobs(ledger, "held", "held for a person") if notify.held_jobs else ""
    ledger.alarms.set_alarm("held_jobs", held, _tells_of_more)
    ledger.alarms.set_alarm("identity", _identity(ledger), _tells_of_more)
    ledger.alarms.set_alarm("queue_age", _queue_age(ledger, notify.queue_minutes, settings.study.quiet_seconds), _never)
    ledger.alarms.set_alarm("flag_rate", _flag_rate(ledger, notify.flagged_percent, notify.flagged_results), _never)
    ledger.alarms.set_alarm("certificate", _certificate(settings), _never)
    known = {name_of(name): name for name in settings.destinations}
    for alarm in ledger.alarms.standing_alarms():
        if alarm.startswith(DESTINATION) and alarm not in known:
            ledger.alarms.clear_alarm(alarm)
    for alarm, name in known.items():
        ledger.alarms.set_alarm(alarm, _destination(ledger, name, notify.destination_minutes), _never)


def name_of(destination: str) -> str:
    """Return the name of the alarm on a destination."""
    return (DESTINATION + destination)[:LONGEST_NAME]


def _jobs(ledger: Ledger, state: str, what: str) -> str:
    jobs = queries.jobs_in(ledger, state)
    if not jobs.count:
        return ""
    more = ", ..." if jobs.count > len(jobs.newest) else ""
    numbers = ", ".join(map(str, jobs.newest))
    return f"{jobs.count} {what}: job {numbers}{more} (scarnode jobs list --state {state})"


def _identity(ledger: Ledger) -> str:
    jobs = queries.identity_conflicts(ledger)
    if not jobs.count:
        return ""
    more = ", ..." if jobs.count > len(jobs.newest) else ""
    numbers = ", ".join(map(str, jobs.newest))
    what = f"{jobs.count} results name another patient or study than their images, sent again, do now"
    return f"{what}: job {numbers}{more} (send all images of their study again as they should be)"


def _tells_of_more(former: str, detail: str) -> bool:
    """Describe whether there are jobs that the former detail does not tell of: people want to hear of each."""
    then, now = ([int(number) for number in re.findall(r"\d+", text)] for text in (former, detail))
    return now[0] > then[0] or not set(now[1:]) <= set(then[1:])


def _never(_former: str, _detail: str) -> bool:
    """Return the same hash for any detail: a new one is no news."""
    return False


def _queue_age(ledger: Ledger, minutes: float, quiet_seconds: float) -> str:
    if not minutes:
        return ""
    now, limit = time.time(), minutes * 60
    waiting = queries.oldest_queued(ledger, now - limit)
    if waiting and now - waiting.since > limit:
        return f"job {waiting.job} waits to be analysed since {utc(waiting.since)} (limit: {minutes:g} minutes)"
    quiet = queries.oldest_unsearched(ledger)
    if quiet is not None and monotonic_time() - quiet > quiet_seconds + limit:
        return f"a study waits to be searched since {utc(quiet)} (limit: {minutes:g} minutes)"
    return ""


def _flag_rate(ledger: Ledger, percent: float, last: int) -> str:
    if not percent:
        return ""
    flagged, results = queries.flagged_among(ledger, last)
    if results < last or 100 * flagged <= percent * results:
        return ""
    return f"{flagged} of the last {results} results have flags (limit: {percent:g} %)"


def _destination(ledger: Ledger, name: str, minutes: float) -> str:
    waiting = queries.oldest_refused(ledger, name) if minutes else None
    if waiting is None or time.time() - waiting.since <= minutes * 60:
        return ""
    return f"results wait for {name}, those of job {waiting.job} since {utc(waiting.since)}"


def _certificate(settings: Settings) -> str:
    ends = certificate_ends(settings)
    if ends is None or ends - time.time() > CERTIFICATE_DAYS * 86400:
        return ""
    return f"the certificate of [tls] ends on {utc(ends)}: renew it, then reload the node"


def certificate_ends(settings: Settings) -> float | None:
    """Return when the node's certificate ends, in UTC seconds since 1970: 0 of one that can not be used, None of
    none.
    """
    identity = settings.tls.identity()
    try:
        return check_identity(identity) if identity else None
    except ValueError:
        return 0.0
