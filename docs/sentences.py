"""Print how long the sentences of the documentation are (python docs/sentences.py [--long N] [PAGE ...])."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 18
"""The mean number of words of a sentence stays below, on every page, with and without its tables."""

LABEL = 3
"""A table cell of so few words is a label or a figure, and no sentence: else large tables would hide long sentences."""

ABBREVIATIONS = ("e.g.", "i.e.", "cf.", "vs.", "al.", "approx.", "Fig.", "No.")


def pages() -> list[Path]:
    """Return every page of the documentation."""
    top = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "model_weights/README.md")
    return [*(ROOT / name for name in top), *sorted((ROOT / "docs").rglob("*.md"))]


def sentences(text: str, tables: bool = True) -> list[str]:
    """Return the sentences of a page.

    A paragraph, a list item and a table cell end a sentence; a colon, a semicolon and a bracket do not. Headings, code
    blocks, comments, pictures and a paragraph's heading in bold are no sentences. Code in running text is one word.

    Parameters
    ----------
    text : str
        The page, in Markdown.
    tables : bool
        Whether table cells of more than `LABEL` words count.
    """
    found = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for before, token in itertools.pairwise(tokens):
        if token.type != "inline" or before.type == "heading_open":
            continue
        plain = re.sub(r"^\*\*[^*]+\.\*\*", "", _plain(token.children or ()))
        cell = before.type in ("td_open", "th_open")
        if not cell or (tables and words(plain) > LABEL):
            found += [one for one in _split(plain) if words(one)]
    return found


def words(sentence: str) -> int:
    """Return the number of words: what stands between blanks and holds a letter or a digit."""
    return sum(any(sign.isalnum() for sign in word) for word in sentence.split())


def mean(text: str, tables: bool = True) -> float:
    """Return the mean number of words of a page's sentences; 0 where it has none."""
    lengths = [words(one) for one in sentences(text, tables)]
    return sum(lengths) / len(lengths) if lengths else 0.0


def _plain(inline: Sequence[Token]) -> str:
    kept = {"text": lambda token: token.content, "code_inline": lambda token: "`code`", "softbreak": lambda token: " "}
    kept |= {"strong_open": lambda token: "**", "strong_close": lambda token: "**", "hardbreak": kept["softbreak"]}
    return "".join(kept[token.type](token) for token in inline if token.type in kept).strip()


def _split(text: str) -> list[str]:
    ends = re.finditer(r"""[.!?]["')\]*]*\s+""", text)
    cuts = [end.end() for end in ends if not text[: end.start() + 1].endswith(ABBREVIATIONS)]
    return [text[start:end].strip() for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def main() -> None:
    """Print a line for each page, and its long sentences where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="default: all")
    parser.add_argument("--long", type=int, metavar="N", help="also print the sentences of more than N words")
    options = parser.parse_args()
    print("mean  without tables  longest  sentences  page")
    for page in options.pages or pages():
        text = page.read_text(encoding="utf-8")
        found = sentences(text)
        with_tables, without = mean(text), mean(text, tables=False)
        longest = max(map(words, found), default=0)
        verdict = "  too long" if max(with_tables, without) >= LIMIT else ""
        name = page.resolve()
        name = name.relative_to(ROOT) if name.is_relative_to(ROOT) else name
        print(f"{with_tables:4.1f}  {without:14.1f}  {longest:7}  {len(found):9}  {name}{verdict}")
        for one in found if options.long else ():
            if words(one) > options.long:
                print(f"      {words(one):3} words: {one}")


if __name__ == "__main__":
    main()
