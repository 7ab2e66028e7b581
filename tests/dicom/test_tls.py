"""Keys and certificates are checked before they are needed."""

import time

import pytest

from scarnode.dicom.tls import Identity, check_authorities, check_identity, client_context, server_context


@pytest.fixture(scope="module")
def good(authority):
    made = authority.issue("node")
    return Identity(made.certificate, made.private_key)


def test_a_good_identity_says_when_it_ends(good):
    assert 9 * 86400 < check_identity(good) - time.time() < 11 * 86400


def test_a_chain_may_stand_behind_the_certificate(good, authority, tmp_path):
    chain = tmp_path / "chain.pem"
    chain.write_bytes(good.certificate.read_bytes() + authority.ca_file.read_bytes())
    check_identity(Identity(chain, good.private_key))


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("another's key", "key that belongs to the certificate"),
        ("expired", "valid now .certificate has expired"),
        ("no PEM", "PEM file of a certificate"),
        ("no PEM key", "PEM file of a key"),
        ("absent", "No such file"),
        ("password", "without a password"),
        ("short key", "2048"),
    ],
)
def test_a_bad_identity_says_what_is_allowed(good, authority, tmp_path, fault, named):
    identity = good
    if fault == "another's key":
        identity = Identity(good.certificate, authority.issue("other").private_key)
    elif fault == "expired":
        made = authority.issue("expired", days=-1)
        identity = Identity(made.certificate, made.private_key)
    elif fault == "no PEM":
        (tmp_path / "x").write_text("nothing")
        identity = Identity(tmp_path / "x", good.private_key)
    elif fault == "no PEM key":
        (tmp_path / "x").write_text("nothing")
        identity = Identity(good.certificate, tmp_path / "x")
    elif fault == "absent":
        identity = Identity(good.certificate, tmp_path / "nowhere")
    elif fault == "password":
        made = authority.issue("secret", key=("-newkey", "rsa:2048", "-passout", "pass:secret"))
        identity = Identity(made.certificate, made.private_key)
    elif fault == "short key":
        made = authority.issue("short", key=("-newkey", "rsa:1024", "-nodes"))
        identity = Identity(made.certificate, made.private_key)
    with pytest.raises(ValueError, match=named):
        check_identity(identity)


def test_authorities_are_checked(authority, good, tmp_path):
    check_authorities(authority.ca_file)
    check_authorities(good.certificate)  # one peer's own certificate may stand there as well
    with pytest.raises(ValueError, match="No such file"):
        check_authorities(tmp_path / "nowhere")
    (tmp_path / "x").write_text("nothing")
    with pytest.raises(ValueError, match="PEM file of certificates"):
        check_authorities(tmp_path / "x")


def test_only_forward_secrecy_and_authenticated_encryption_are_offered(good, authority):
    for context in (server_context(good, authority.ca_file), client_context(good, authority.ca_file)):
        for cipher in context.get_ciphers():
            assert cipher["aead"], cipher
            assert "ECDHE" in cipher["name"] or cipher["protocol"] == "TLSv1.3"
