"""config.ini: what is right is typed, what is wrong is named."""

import re
from pathlib import Path

import pytest

from scarnode.config import Settings, read_settings
from scarnode.errors import ConfigError

SHIPPED = Path(__file__).resolve().parent.parent / "config.ini"


def read(tmp_path, content):
    file = tmp_path / "config.ini"
    file.write_text(content)
    return read_settings(file)


def test_the_shipped_file_says_what_the_defaults_are(tmp_path):
    shipped = read_settings(SHIPPED)
    assert shipped.destinations["pacs"].ae_title == "ORTHANC"
    assert shipped.model_copy(update={"destinations": {}}) == Settings()


def test_the_shipped_file_names_every_key():
    text = SHIPPED.read_text()
    for section, field in Settings.model_fields.items():
        if section not in ("recognition", "destinations"):
            for key in field.annotation.model_fields:
                assert re.search(rf"^{key} =", text, re.MULTILINE), f"[{section}] {key} is not in config.ini"


def test_relative_paths_count_from_the_file(tmp_path):
    settings = read(
        tmp_path, "[spool]\npath = in\n[ledger]\nurl = sqlite:///l.sqlite\n[segment]\nweights = w.safetensors\n"
    )
    assert settings.spool.path == tmp_path / "in"
    assert settings.ledger.url == f"sqlite:///{tmp_path / 'l.sqlite'}"
    assert settings.segment.weights == tmp_path / "w.safetensors"


def test_lists_and_destinations(tmp_path):
    settings = read(
        tmp_path,
        "[node]\ncalling_ae_titles = MR1, MR2\n[recognition]\nsite_accept =\n  ^a, b\n  c$\naccept_psir_only = no\n"
        "[destination:one]\nhost = pacs\nport = 104\nae_title = PACS\nobjects = seg, sr\n",
    )
    assert settings.node.calling_ae_titles == ("MR1", "MR2")
    assert settings.recognition.site_accept == ("^a, b", "c$")
    assert settings.recognition.accept_psir_only is False
    assert settings.destinations["one"].objects == ("seg", "sr")


def test_the_environment_replaces_a_value(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARNODE_LEDGER_URL", "postgresql://user:secret@db/scarnode")
    assert read(tmp_path, "[ledger]\nurl = sqlite:///l\n").ledger.url.startswith("postgresql")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[node]\nport = 99999\n", ("[node] port = '99999'", "65535")),
        ("[node]\nae_title = THIS_TITLE_IS_TOO_LONG\n", ("[node] ae_title", "1 to 16")),
        ("[node]\nprot = 104\n", ("[node] prot: no such key", "port")),
        ("[nod]\nport = 104\n", ("[nod]: no such section", "node")),
        ("[segment]\ndevice = gpu\n", ("[segment] device = 'gpu'", "auto|cpu|cuda")),
        ("[study]\nquiet_seconds = soon\n", ("[study] quiet_seconds = 'soon'", "number")),
        ("[destination:x]\nhost = h\nport = 1\n", ("[destination:x] ae_title", "missing")),
        (
            "[destination:x]\nhost = h\nport = 1\nae_title = A\nobjects = seg, pdf\n",
            ("[destination:x] objects", "'sr'"),
        ),
        ("[recognition]\nsite_accept = (\n", ("[recognition] site_accept", "regular expression")),
        ("[recognition]\naccept_score = many\n", ("[recognition] accept_score = 'many'", "integer")),
        ("[recognition]\naccept_scores = 3\n", ("[recognition] accept_scores: no such key", "accept_score")),
        ("port = 104\n", ("not an INI file",)),
    ],
)
def test_a_fault_names_file_section_key_value_and_what_is_allowed(tmp_path, content, named):
    with pytest.raises(ConfigError) as error:
        read(tmp_path, content)
    for part in (str(tmp_path / "config.ini"), *named):
        assert part in str(error.value)


def test_every_fault_is_named_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)port.*quiet_seconds"):
        read(tmp_path, "[node]\nport = x\n[study]\nquiet_seconds = -1\n")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.ini"):
        read_settings(tmp_path / "nowhere.ini")


def test_only_what_changes_a_result_changes_the_digest(tmp_path):
    plain = read(tmp_path, "")
    assert read(tmp_path, "[node]\nport = 105\n").digest() == plain.digest()
    assert read(tmp_path, "[recognition]\naccept_psir_only = no\n").digest() != plain.digest()
