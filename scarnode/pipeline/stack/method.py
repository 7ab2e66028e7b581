"""Which method the name of a series speaks of: late enhancement, another, or both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from scarnode.pipeline.stack.names import compiled, forms, matches
from scarnode.pipeline.stack.rules import NAMES_OF_OTHERS, Rules

REFUSING = frozenset({"EARLY_ENHANCEMENT", "DARK_BLOOD", "BEFORE_CONTRAST"})
"""They tell kinds of inversion-recovery images apart: "LGE" beside them changes nothing."""


@dataclass(frozen=True)
class NamedMethod:
    """The method that a name speaks of.

    Attributes
    ----------
    late : bool
        It has a word of late enhancement, or begins with a weak one (``DE``).
    reason : str
        Key of `REASONS` that another method's word in it stands for; '' without one.
    word : str
        That word, as normalised.
    refused : bool
        The other method is the whole truth: no word of late enhancement beside it, or one that changes nothing.
    """

    late: bool
    reason: str = ""
    word: str = ""
    refused: bool = False


@lru_cache(maxsize=4096)
def named_method(name: str, rules: Rules) -> NamedMethod:
    """Return the method that a name speaks of.

    Phrases that name another method without saying that this is one (``post perfusion``, ``flow comp``) are left out
    first. Words for dark blood, early enhancement and images before contrast refuse whatever stands beside them; of
    the others one beside a word of late enhancement leaves doubt, unless `Rules.decisive_names` matches.
    """
    clear = tuple(_without(rules.harmless_names, form) for form in forms(name))
    weak = [matches(rules.weak_lge_names, form) for form in clear]
    late = bool(matches(rules.lge_names, *clear)) or any(found is not None and found.start() == 0 for found in weak)
    other = _other(rules, clear, late)
    if other is None:
        return NamedMethod(late)
    reason, word = other
    contradicted = reason == "BEFORE_CONTRAST" and matches(rules.after_contrast_names, *clear)
    refused = not late or (reason in REFUSING and not contradicted) or bool(matches(rules.decisive_names, *clear))
    return NamedMethod(late, reason, word, refused)


def _other(rules: Rules, clear: tuple[str, ...], late: bool) -> tuple[str, str] | None:
    """Return another method's word and its reason; beside late enhancement first those that refuse."""
    found: list[tuple[str, str]] = []
    for key, reason in NAMES_OF_OTHERS.items():
        if match := matches(getattr(rules, key), *clear):
            found.append((reason, match[0].strip()))
    return min(found, key=lambda entry: late and entry[0] not in REFUSING, default=None)  # the first of equals


def _without(patterns: tuple[str, ...], text: str) -> str:
    """Replace every match by a mark that is no word."""
    for pattern in patterns:
        text = compiled(pattern).sub(" _ ", text)
    return text
