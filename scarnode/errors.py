"""Errors meant for people: each says what is wrong, where, and what to do about it."""


class ScarnodeError(Exception):
    """Base of every error that scarnode raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence. Never holds patient data: it may end up in a log.
    where : str
        The file, section and key, address or UID hash it concerns.
    todo : str
        What the reader can do about it.
    """

    def __init__(self, what: str, where: str = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        parts = [f"{where}: {what}" if where else what]
        if todo:
            parts.append(todo)
        super().__init__(" -> ".join(parts))

    def __reduce__(self) -> tuple:
        """Survive the way back from a worker process."""
        return type(self), (self.what, self.where, self.todo)


def causes_of(error: BaseException) -> list[BaseException]:
    """Give an error and those it was made from: chained, or wrapped as urllib3 does it, the outermost first."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found


class ConfigError(ScarnodeError):
    """config.ini can not be used as it stands."""


class WeightsError(ScarnodeError):
    """The network's weights are missing or not the ones their card describes."""


class InputError(ScarnodeError):
    """Received or given images can not be used."""


class SpoolError(ScarnodeError):
    """The spool can not be written or read."""


class LedgerError(ScarnodeError):
    """The job database can not be opened, or refuses a change of state."""


class AuditError(ScarnodeError):
    """An audit message can not be kept."""
