"""Hooks of .mkdocs.yml: files outside docs/ become pages, and links lead to them as they do in the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "licence.md",
    "model_weights/README.md": "weights.md",
    "model_weights/LICENSE-weights.md": "weights-licence.md",
}
SOURCES = {page: source for source, page in OUTSIDE.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out of the navigation what is not there."""
    config.nav = _there(config.nav or [])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose source lies outside docs/."""
    for page, source in SOURCES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        content = text if source.endswith(".md") else f"# Licence\n\n```text\n{text}\n```\n"
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links between docs/ and the files outside it to the pages that those became."""
    source = SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        target = f"{target}/README.md" if target == "model_weights" else target
        page_in_site = OUTSIDE.get(target) or posixpath.relpath(target, "docs")
        return f"]({posixpath.relpath(page_in_site, posixpath.dirname(page.file.src_uri) or '.')}{found[2] or ''})"

    return re.sub(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)]*)?\)", link, markdown)


def _there(nav: list) -> list:
    kept = []
    for entry in nav:
        [(title, target)] = entry.items()
        if isinstance(target, list):
            if below := _there(target):
                kept.append({title: below})
        elif target in SOURCES or (ROOT / "docs" / target).is_file():
            kept.append(entry)
    return kept
