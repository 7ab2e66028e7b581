"""config.ini: what is right is typed, what is wrong is named."""

import re
from datetime import date, time
from pathlib import Path

import pytest

from scarnode.config import (
    DestinationSection,
    PullSection,
    Settings,
    SourceSection,
    TlsSection,
    WebDestinationSection,
    read_settings,
)
from scarnode.dicom.scu import DimseDestination, RemoteAE
from scarnode.dicom.tls import Identity, Protection
from scarnode.dicom.web import WebDestination
from scarnode.util.errors import ConfigError
from tests.harness.certificates import Authority

SHIPPED = Path(__file__).resolve().parents[2] / "config.ini"


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
        if section not in ("recognition", "destinations", "sources", "pulls"):
            for key in field.annotation.model_fields:
                assert re.search(rf"^{key} =", text, re.MULTILINE), f"[{section}] {key} is not in config.ini"
    for key in {**DestinationSection.model_fields, **WebDestinationSection.model_fields}:
        assert re.search(rf"^(# )?{key} =", text, re.MULTILINE), f"[destination:NAME] {key} is not in config.ini"
    for name, kind in (("source", SourceSection), ("pull", PullSection)):
        for key in kind.model_fields:
            assert re.search(rf"^# {key} =", text.partition(f"# [{name}:")[2], re.MULTILINE), f"[{name}:NAME] {key}"


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
    assert [str(caller) for caller in settings.node.calling_ae_titles] == ["MR1", "MR2"]
    assert settings.recognition.site_accept == ("^a, b", "c$")
    assert settings.recognition.accept_psir_only is False
    assert settings.destinations["one"].objects == ("seg", "sr")


def test_a_destination_is_given_as_the_deliver_room_takes_it(tmp_path):
    settings = read(
        tmp_path,
        "[destination:one]\nhost = pacs\nport = 104\nae_title = PACS\nobjects = seg, labelmap\n"
        "[destination:two]\nurl = https://pacs/dicom-web/\nuser = me\npassword = p%s\nobjects = pdf\n",
    )
    assert settings.destinations["one"].peer("one") == DimseDestination(
        "one", RemoteAE("pacs", 104, "PACS"), ("seg", "labelmap")
    )
    assert settings.destinations["two"].peer("two") == WebDestination(
        "two", "https://pacs/dicom-web", "me", "p%s", objects=("pdf",)
    )
    assert settings.objects() == {"one": ("seg", "labelmap"), "two": ("pdf",)}
    assert settings.kinds() == ("seg", "sr", "sc", "pdf", "labelmap")
    assert "p%s" not in repr(settings)


def test_archives_and_rules(tmp_path):
    source = "[source:a]\nhost = h\nport = 104\nae_title = A\nhow = get\n"
    settings = read(tmp_path, source + "[pull:n]\nsource = a\nsince = 2026-01-31\nat = 23:30\nmodality =\n")
    assert settings.archives()["a"].how == "get"
    rule = settings.pull_rules()["n"]
    assert (rule.since, rule.at, rule.modality) == (date(2026, 1, 31), time(23, 30), "MR")
    assert str(rule.wanted(date(2026, 3, 1)).period) == "20260131-"
    week = read(tmp_path, source + "[pull:n]\nsource = a\n").pull_rules()["n"]
    assert str(week.wanted(date(2026, 3, 10)).period) == "20260303-"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("[pull:n]\nsource = b\n", "[pull:n] source = 'b': allowed: a"),
        ("[pull:n]\nsource = a\nat = 25:00\n", "at = '25:00': allowed: a time of day like 02:30"),
        ("[pull:n]\nsource = a\nsince = ever\n", "allowed: a number of days, or a date like 2026-01-31"),
        ("[source:b]\nhost = h\nport = 1\nae_title = A\nhow = beg\n", "how = 'beg'"),
        ("[source:b]\nhost = h\nport = 1\nae_title = A\ncharacter_set = UTF8\n", "ISO_IR 192"),
        ("[source:b]\nhost = h\nport = 1\nae_title = A\ntls_name = x\n", "this key where tls = yes"),
    ],
)
def test_faults_of_archives_and_rules(tmp_path, lines, said):
    with pytest.raises(ConfigError) as error:
        read(tmp_path, "[source:a]\nhost = h\nport = 104\nae_title = A\n" + lines)
    assert said in str(error.value)


def test_secrets_stand_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARNODE_DESTINATION_MY_PACS_PASSWORD", "secret")
    monkeypatch.setenv("SCARNODE_DESTINATION_MY_PACS_2_TOKEN", "token")
    monkeypatch.setenv("SCARNODE_NOTIFY_MAIL_PASSWORD", "pw")
    monkeypatch.setenv("SCARNODE_NOTIFY_WEBHOOK_SECRET", "key")
    settings = read(
        tmp_path,
        "[notify]\nmail_server = starttls://mail\nmail_user = me\nmail_from = a@b.c\nmail_to = d@e.f, g@h.i\n"
        "webhook_url = https://hook\n"
        "[destination:my-pacs]\nurl = http://pacs\nuser = me\n[destination:my-pacs-2]\nurl = http://pacs\n",
    )
    assert settings.destinations["my-pacs"].peer("").password == "secret"
    assert settings.destinations["my-pacs-2"].peer("").token == "token"
    mail, hook = settings.notify.mail(), settings.notify.webhook()
    assert (mail.port, mail.recipients, mail.password) == (587, ("d@e.f", "g@h.i"), "pw")
    assert (hook.url, hook.secret) == ("https://hook", "key")
    assert not [word for word in ("pw", "key") if f"'{word}'" in repr((settings, mail, hook))]


def test_no_fault_tells_a_secret(tmp_path):
    for line in ("password = s3cret", "user = me\npassword = s3cret\ntoken = s3cret", "token = s3cr\xe9t s3cret"):
        with pytest.raises(ConfigError) as error:
            read(tmp_path, f"[destination:x]\nurl = http://pacs\n{line}\n")
        assert "(secret)" in str(error.value)
        assert "s3cr" not in str(error.value)
    for line in (
        "mail_password = s3cret",
        "webhook_url = ftp://s3cret",
        "mail_user = me\nmail_server = x\nmail_password = s3cret",
    ):
        with pytest.raises(ConfigError) as error:
            read(tmp_path, f"[notify]\n{line}\nwebhook_secret = s3cret\n")
        assert "s3cr" not in str(error.value)


def test_certificates_are_read_where_the_file_is(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing of that kind")
    section = "[destination:x]\nurl = https://pacs\nca_file = "
    with pytest.raises(ConfigError, match="PEM file of certificates"):
        read(tmp_path, section + "ca.pem")
    with pytest.raises(ConfigError, match="ca_file"):
        read(tmp_path, section + "nowhere.pem")


def test_tls_of_the_node_and_of_a_destination(tmp_path, authority):
    made = authority.issue("node")
    ours = f"[tls]\ncertificate = {made.certificate}\nprivate_key = {made.private_key}\nca_file = {authority.ca_file}\n"
    pacs = "[destination:one]\nhost = h\nport = 1\nae_title = A\ntls = yes\n"
    settings = read(tmp_path, ours + "port = 2762\n" + pacs + "[destination:two]\nurl = https://pacs\n")
    identity = Identity(made.certificate, made.private_key)
    assert settings.tls.identity() == identity
    assert settings.peers()["one"].ae.tls == Protection(identity, authority.ca_file)
    assert settings.peers()["two"].identity == identity
    assert read(tmp_path, pacs + "tls_name = pacs\n").peers()["one"].ae.tls == Protection(None, None, "pacs")
    assert read(tmp_path, pacs.replace("yes", "no")).peers()["one"].ae.tls is None


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("certificate = node.pem", ("[tls] private_key", "go together")),
        ("certificate = node.pem\nprivate_key = other.key", ("[tls] private_key", "belongs to the certificate")),
        ("certificate = old.pem\nprivate_key = old.key", ("[tls] certificate", "old.pem", "certificate has expired")),
        ("certificate = gone.pem\nprivate_key = node.key", ("[tls] certificate", "gone.pem", "No such file")),
        ("certificate = node.pem\nprivate_key = gone.key", ("[tls] private_key", "gone.key", "No such file")),
        ("certificate = node.key\nprivate_key = node.key", ("[tls] certificate", "PEM file of a certificate")),
        ("ca_file = gone.pem", ("[tls] ca_file", "gone.pem", "No such file")),
        ("port = 2762\nmutual = no", ("[tls] port", "certificate and private_key")),
        ("certificate = node.pem\nprivate_key = node.key\nport = 2762", ("[tls] port", "ca_file", "mutual = no")),
        ("only = yes", ("[tls] only", "port")),
    ],
)
def test_a_fault_of_tls_names_file_section_key_and_what_to_do(tmp_path, authority, lines, named):
    for name, days in (("node", 10), ("other", 10), ("old", -1)):
        if not (authority.folder / f"{name}.pem").exists():
            authority.issue(name, days=days)
    for file in authority.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ConfigError) as error:
        read(tmp_path, f"[tls]\n{lines}\n")
    for part in (str(tmp_path / "config.ini"), *named):
        assert part in str(error.value)


def test_keys_of_tls_stand_where_tls_is(tmp_path):
    with pytest.raises(ConfigError, match=r"tls_name.*where tls = yes"):
        read(tmp_path, "[destination:x]\nhost = h\nport = 1\nae_title = A\ntls_name = pacs\n")


def test_the_environment_replaces_a_value(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARNODE_LEDGER_URL", "postgresql://user:secret@db/scarnode")
    assert read(tmp_path, "[ledger]\nurl = sqlite:///l\n").ledger.url.startswith("postgresql")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[node]\nport = 99999\n", ("[node] port = '99999'", "65535")),
        ("[node]\nae_title = THIS_TITLE_IS_TOO_LONG\n", ("[node] ae_title", "1 to 16")),
        ("[node]\nprot = 104\n", ("[node] prot: no such key", "port")),
        ("[node]\ncalling_ae_titles = MR1@10.0.0.300\n", ("[node] calling_ae_titles", "10.0.0.300", "host name")),
        ("[node]\ncalling_ae_titles = MR1@10.1.2.3/24\n", ("[node] calling_ae_titles", "write 10.1.2.0/24")),
        ("[node]\ncalling_ae_titles = MR1@\n", ("[node] calling_ae_titles", "TITLE@ADDRESS")),
        ("[nod]\nport = 104\n", ("[nod]: no such section", "node")),
        ("[segment]\ndevice = gpu\n", ("[segment] device = 'gpu'", "auto|cpu|cuda")),
        ("[study]\nquiet_seconds = soon\n", ("[study] quiet_seconds = 'soon'", "number")),
        ("[destination:x]\nhost = h\nport = 1\n", ("[destination:x] ae_title", "missing")),
        (
            "[destination:x]\nhost = h\nport = 1\nae_title = A\nobjects = seg, gif\n",
            ("[destination:x] objects", "'sr'"),
        ),
        ("[audit]\nurl = https://audit\n", ("[audit] url = 'https://audit'", "syslog-tls://audit.example.org:6514")),
        ("[audit]\nurl = syslog-tls://audit:six\n", ("[audit] url", "syslog-udp://")),
        ("[notify]\nmail_server = mail:25\n", ("[notify] mail_server = 'mail:25'", "starttls://mail.example.org:587")),
        ("[notify]\nmail_server = smtp://mail\nmail_from = a@b.c\n", ("[notify] mail_to", "go together")),
        ("[notify]\nmail_to = a@b.c\n", ("[notify] mail_to", "go together")),
        ("[notify]\nmail_server = smtp://mail\nmail_from = Me <a@b.c>\n", ("[notify] mail_from", "admin@example.org")),
        ("[notify]\nmail_server = smtp://mail\nmail_user = a\nmail_password = b\n", ("mail_password", "smtps://")),
        ("[notify]\nmail_user = a\n", ("[notify] mail_password", "together")),
        ("[notify]\nlink = node:8104\n", ("[notify] link = 'node:8104'", "https://")),
        ("[destination:x]\nurl = pacs\n", ("[destination:x] url = 'pacs'", "https://")),
        ("[destination:x]\nurl = http://pacs\nport = 1\n", ("[destination:x] port: no such key", "url, user")),
        ("[destination:x]\nurl = http://pacs\nuser = me\n", ("[destination:x] password", "together")),
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


def test_an_audit_repository_is_given_as_the_audit_room_takes_it(tmp_path):
    assert read(tmp_path, "").audit.repository(TlsSection()) is None
    assert read(tmp_path, "[audit]\nurl = syslog-tls://audit\n").audit.repository(TlsSection()).port == 6514
    repository = read(tmp_path, "[audit]\nurl = syslog-udp://[::1]:5140\n").audit.repository(TlsSection())
    assert (repository.host, repository.port, str(repository)) == ("::1", 5140, "syslog-udp://[::1]:5140")
    authority = Authority(tmp_path / "a")
    ours = authority.issue("node")
    identity = f"[tls]\ncertificate = {ours.certificate}\nprivate_key = {ours.private_key}\n"
    settings = read(tmp_path, f"{identity}[audit]\nurl = syslog-tls://audit\nca_file = a/ca.pem\n")
    repository = settings.audit.repository(settings.tls)
    assert repository.ca_file == authority.ca_file
    assert repository.identity == Identity(ours.certificate, ours.private_key)


def test_config_init_writes_the_shipped_file_and_never_changes_one(scarnode, tmp_path):
    shipped = SHIPPED.read_text()
    assert scarnode("config", "init", "-").stdout == shipped
    file = tmp_path / "new" / "config.ini"
    scarnode("config", "init", file)
    assert file.read_text() == shipped
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("mine")
    assert "there already" in scarnode("config", "init", file, code=2).stderr
    assert file.read_text() == "mine"
    assert "can not be written" in scarnode("config", "init", file / "below", code=2).stderr


def test_config_unit_is_the_shipped_one(scarnode, tmp_path):
    scarnode("config", "unit", tmp_path / "scarnode.service")
    assert "serve --config /etc/scarnode/config.ini" in (tmp_path / "scarnode.service").read_text()


def test_config_unit_gives_the_template_of_the_roles_too(scarnode):
    printed = scarnode("config", "unit", "--roles", "-").stdout
    assert "serve --role %i --config" in printed
    assert printed.count("[Service]") == 1
