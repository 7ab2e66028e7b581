"""`scarnode send`: files go as they are; what is not taken for now is offered again; what is refused is told."""

from __future__ import annotations

import json
import threading
from hashlib import sha256

import pytest
from pydicom.uid import (
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    SecondaryCaptureImageStorage,
)

from scarnode.dicom.scu import RemoteAE, push
from tests.harness.dcmtk import storescp
from tests.harness.peers import Relay, make_object
from tests.harness.senders import dataset_bytes


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(push, "FIRST_PAUSE", 0.01)


def to(port: int, title: str = "PACS", timeout: float = 5.0) -> RemoteAE:
    return RemoteAE("127.0.0.1", port, title, timeout=timeout)


def test_bytes_and_contexts_are_the_files_own(tmp_path, scp):
    paths = [
        make_object(tmp_path / "a.dcm"),
        make_object(tmp_path / "b.dcm", syntax=ImplicitVRLittleEndian),
        make_object(tmp_path / "c.dcm", syntax=JPEGLosslessSV1),
    ]
    came, proposed = [], []
    port = scp(
        lambda event: came.append(sha256(event.encoded_dataset(include_meta=False)).hexdigest()) or 0,
        syntaxes=(ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1),
        on_request=lambda event: proposed.extend(
            (c.abstract_syntax, tuple(c.transfer_syntax)) for c in event.assoc.requestor.requested_contexts
        ),
    )
    done = push.push(paths, to(port), "SENDER")
    assert [outcome.ok for outcome in done.outcomes] == [True] * 3
    assert came == [sha256(dataset_bytes(path)).hexdigest() for path in paths]
    assert sorted(proposed) == sorted(
        (SecondaryCaptureImageStorage, (syntax,))
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1)
    )
    assert (done.associations, done.size) == (1, sum(path.stat().st_size for path in paths))


def test_nothing_is_transcoded_and_the_refusal_says_why(tmp_path, scp):
    good = make_object(tmp_path / "a.dcm")
    compressed, pdf = (
        make_object(tmp_path / "b.dcm", syntax=JPEGLosslessSV1),
        make_object(tmp_path / "c.dcm", EncapsulatedPDFStorage),
    )
    done = push.push([compressed, good, pdf], to(scp()), "SENDER")
    assert [outcome.ok for outcome in done.outcomes] == [False, True, False]
    assert "transfer syntax not supported" in done.outcomes[0].detail
    assert "SOP class not supported" in done.outcomes[2].detail
    implicit_only = scp(syntaxes=(ImplicitVRLittleEndian,))
    assert not push.push([good], to(implicit_only), "SENDER").outcomes[0].ok


def test_a_full_peer_is_asked_again_a_refusing_one_is_not(objects, scp):
    answers = iter([0xA700, 0, 0xA900, 0])
    asked = []
    port = scp(lambda event: asked.append(str(event.request.AffectedSOPInstanceUID)) or next(answers))
    done = push.push(objects, to(port), "SENDER")
    assert [outcome.status for outcome in done.outcomes] == [0, 0, 0xA900]
    assert len(asked) == 4
    assert asked[0] == asked[3]


def test_a_peer_that_stays_full_is_given_up(objects, scp):
    done = push.push(objects[:1], to(scp(lambda event: 0xA700)), "SENDER")
    assert [outcome.status for outcome in done.refused] == [0xA700]
    assert done.associations == push.MAX_TRIES


def test_an_association_that_breaks_costs_nothing(objects, scp):
    taken = []

    def store(event):
        uid = str(event.request.AffectedSOPInstanceUID)
        if len(taken) == 1 and uid not in taken:
            taken.append(uid)
            event.assoc.abort()
            return 0x0110
        taken.append(uid)
        return 0

    done = push.push(objects, to(scp(store)), "SENDER")
    assert all(outcome.ok for outcome in done.outcomes)
    assert done.associations == 2


def test_a_cut_line_is_opened_anew(tmp_path, scp):
    paths = [make_object(tmp_path / f"{number}.dcm", pixels=128) for number in range(4)]
    port = scp()
    with Relay(port, 60_000, "cut") as relay:
        # each connection of the relay passes 60 kB on: one image of 33 kB and a half
        done = push.push(paths, to(relay), "SENDER")
    assert [outcome.ok for outcome in done.outcomes] == [True] * 4
    assert done.associations >= 4


def test_what_is_no_dicom_object_is_skipped(tmp_path, objects, scp):
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty").touch()
    done = push.push([*objects, tmp_path / "notes.txt", tmp_path / "empty", tmp_path / "gone"], to(scp()), "SENDER")
    assert len(done.outcomes) == 3
    assert [path.name for path in done.skipped] == ["notes.txt", "empty", "gone"]


@pytest.mark.parametrize("lacks", ["preamble", "meta", "meta, implicit"])
def test_a_file_without_its_beginning_goes_out_in_its_own_bytes(tmp_path, scp, lacks):
    """As dcmtk's storescu sends it."""
    syntax = ImplicitVRLittleEndian if lacks.endswith("implicit") else ExplicitVRLittleEndian
    path = make_object(tmp_path / "a.dcm", syntax=syntax)
    dataset = dataset_bytes(path)
    path.write_bytes(path.read_bytes()[132:] if lacks == "preamble" else dataset)
    came = []
    port = scp(
        lambda event: came.append((event.encoded_dataset(include_meta=False), event.context.transfer_syntax)) or 0,
        syntaxes=(ExplicitVRLittleEndian, ImplicitVRLittleEndian),
    )
    done = push.push([path], to(port), "SENDER")
    assert [(outcome.ok, outcome.path) for outcome in done.outcomes] == [(True, path)]
    assert came == [(dataset, syntax)]


def test_a_file_that_dcmtk_does_not_read_either_is_told_how_to_be_mended(tmp_path, objects, scp):
    odd = make_object(tmp_path / "odd.dcm")
    odd.write_bytes(odd.read_bytes()[128:])
    done = push.push([*objects, odd], to(scp()), "SENDER")
    assert [outcome.ok for outcome in done.outcomes] == [True, True, True, False]
    assert "lacks the preamble" in done.outcomes[3].detail
    assert done.outcomes[3].permanent


def test_it_can_be_stopped(objects, scp):
    stopping = threading.Event()
    done = push.push(objects, to(scp(lambda event: stopping.set() or 0)), "SENDER", stopping=stopping)
    assert [outcome.ok for outcome in done.outcomes] == [True, False, False]
    assert "stopped" in done.outcomes[2].detail


def test_more_classes_than_one_association_holds(tmp_path, scp, monkeypatch):
    monkeypatch.setattr(push, "MOST_CONTEXTS", 1)
    paths = [make_object(tmp_path / "a.dcm"), make_object(tmp_path / "b.dcm", EncapsulatedPDFStorage)]
    port = scp(sop_classes=(SecondaryCaptureImageStorage, EncapsulatedPDFStorage))
    done = push.push(paths, to(port), "SENDER")
    assert [outcome.ok for outcome in done.outcomes] == [True, True]
    assert done.associations == 2


# --- the command


def test_command_sends_to_a_real_storescp(tmp_path, objects, scarnode):
    with storescp(tmp_path / "in") as port:
        done = scarnode("send", tmp_path / "0.dcm", tmp_path / "1.dcm", "--to", f"STORESCP@127.0.0.1:{port}")
    assert "2 of 2 stored by STORESCP at 127.0.0.1" in done.stdout
    assert len(list((tmp_path / "in").iterdir())) == 2


def test_command_tells_what_was_refused(tmp_path, objects, scp, scarnode):
    port = scp(lambda event: 0xA900)
    done = scarnode("send", tmp_path, "--to", f"PACS@127.0.0.1:{port}", code=1)
    assert "Not stored" in done.stdout
    assert "0xA900" in done.stdout
    told = json.loads(scarnode("send", tmp_path, "--to", f"PACS@127.0.0.1:{port}", "--json", code=1).stdout)
    assert told["sent"] == 0
    assert [file["status"] for file in told["files"]] == [0xA900] * 3


def test_command_says_what_to_do_about_bad_input(tmp_path, scarnode):
    (tmp_path / "notes.txt").write_text("nothing")
    assert "no DICOM object" in scarnode("send", tmp_path, "--to", "A@127.0.0.1:1", code=2).stderr
    config = tmp_path / "config.ini"
    config.write_text("[destination:pacs]\nhost = h\nport = 1\nae_title = P\n")
    words = ["send", tmp_path, "-c", config, "--to"]
    assert "a C-STORE destination: pacs" in scarnode(*words, "nowhere", code=2).stderr
    assert "is not within 1 to 65535" in scarnode(*words, "A@h:99999", code=2).stderr
