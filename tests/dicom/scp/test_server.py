"""The listener on the wire, spoken to by pynetdicom."""

import socket
import threading

import pytest
from pydicom import dcmread
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE
from pynetdicom.sop_class import (
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    Verification,
)

from scarnode.dicom.reactor import held
from scarnode.dicom.scp import AccessPolicy, Limits, Spool, listen
from scarnode.util.errors import ScarnodeError
from tests.dicom.scp.builders import instance, write


@pytest.fixture
def scp(tmp_path):
    spool, stored = Spool(tmp_path / "spool"), []
    server = listen(spool, stored.append, "SCARNODE", "127.0.0.1", 0, AccessPolicy(limits=Limits(max_associations=3)))
    yield server.socket.getsockname()[1], spool, stored
    server.shutdown()
    spool.close()


def associate(port, contexts, called="SCARNODE"):
    ae = AE("SCANNER")
    for abstract, *syntaxes in contexts:
        ae.add_requested_context(abstract, syntaxes or None)
    return held(ae.associate("127.0.0.1", port, ae_title=called))


def test_echo(scp):
    association = associate(scp[0], [(Verification,)])
    assert association.send_c_echo().Status == 0
    association.release()


def test_stored_instance_is_in_the_spool_when_success_is_answered(scp):
    port, spool, stored = scp
    sent = instance()
    association = associate(port, [(MRImageStorage,)])
    assert association.send_c_store(sent).Status == 0
    assert stored == list(spool)
    association.release()
    kept = dcmread(stored[0])
    assert kept.PixelData == sent.PixelData
    assert kept.SOPInstanceUID == sent.SOPInstanceUID


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless])
def test_syntaxes_are_kept_as_they_came(scp, tmp_path, syntax):
    port, _, stored = scp
    sent = instance(value=7)
    if syntax.is_compressed:
        sent.compress(syntax)
    else:
        sent.file_meta.TransferSyntaxUID = syntax
        if not syntax.is_little_endian:
            from numpy import frombuffer

            sent.PixelData = frombuffer(sent.PixelData, "<u2").astype(">u2").tobytes()
    [path] = write(tmp_path / "sent", sent)
    association = associate(port, [(MRImageStorage, syntax)])
    assert association.send_c_store(path).Status == 0
    association.release()
    kept = dcmread(stored[0])
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert (kept.pixel_array == 7).all()


@pytest.mark.parametrize("sop_class", [MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage])
def test_every_transfer_syntax_is_taken_for_every_mr_class(scp, sop_class):
    syntaxes = [
        "1.2.840.10008.1.2",  # implicit VR little endian
        "1.2.840.10008.1.2.1",  # explicit VR little endian
        "1.2.840.10008.1.2.2",  # explicit VR big endian
        "1.2.840.10008.1.2.1.99",  # deflated
        "1.2.840.10008.1.2.4.57",  # JPEG lossless
        "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
        "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
        "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
        "1.2.840.10008.1.2.5",  # RLE
    ]
    association = associate(scp[0], [(sop_class, syntax) for syntax in syntaxes])
    assert {context.transfer_syntax[0] for context in association.accepted_contexts} == set(syntaxes)
    association.release()


def test_other_storage_classes_are_taken_and_unknown_ones_refused(scp):
    association = associate(scp[0], [(EncapsulatedPDFStorage,), ("1.2.3.4.5",), (Verification,)])
    accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
    assert accepted == {str(EncapsulatedPDFStorage), str(Verification)}
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.parametrize("direct", [True, False])
def test_a_resend_in_another_transfer_syntax_leaves_the_first_image_as_it_was(tmp_path, direct):
    """The bytes of an uncompressed image, called RLE: they read as such no more."""
    spool = Spool(tmp_path / "spool")
    server = listen(spool, lambda path: None, "SCARNODE", "127.0.0.1", 0, direct=direct)
    sent = instance(value=7)
    association = associate(server.port, [(MRImageStorage, ExplicitVRLittleEndian)])
    assert association.send_c_store(sent).Status == 0
    association.release()
    [path] = spool
    before = path.read_bytes()
    mislabelled = write(tmp_path / "sent", sent)[0].read_bytes()
    assert mislabelled.count(b"1.2.840.10008.1.2.1\0") == 1
    (tmp_path / "rle.dcm").write_bytes(mislabelled.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    ae = AE("ANOTHER")
    ae.add_requested_context(MRImageStorage, RLELossless)
    association = held(ae.associate("127.0.0.1", server.port, ae_title="SCARNODE"))
    assert association.send_c_store(tmp_path / "rle.dcm").Status == 0
    association.release()
    assert path.read_bytes() == before
    assert (dcmread(path).pixel_array == 7).all()
    assert sorted(dcmread(kept).file_meta.TransferSyntaxUID for kept in spool) == [ExplicitVRLittleEndian, RLELossless]
    server.shutdown()
    spool.close()


def test_disk_trouble_is_answered_out_of_resources(scp, monkeypatch):
    port, spool, _ = scp

    def full(_incoming):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "store", full)
    association = associate(port, [(MRImageStorage,)])
    assert association.send_c_store(instance()).Status == 0xA700
    monkeypatch.undo()
    assert association.send_c_store(instance()).Status == 0
    association.release()


def test_one_study_over_interleaved_associations(scp):
    port, spool, _ = scp

    def push(numbers):
        association = associate(port, [(MRImageStorage,)])
        for number in numbers:
            sent = instance(number)
            assert association.send_c_store(sent).Status == 0
        association.release()

    senders = [threading.Thread(target=push, args=(range(start, 30, 3),)) for start in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(list(spool)) == 30


def test_garbage_on_the_port_does_no_harm(scp):
    with socket.create_connection(("127.0.0.1", scp[0])) as link:
        link.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    association = associate(scp[0], [(Verification,)])
    assert association.send_c_echo().Status == 0
    association.release()


def test_a_port_in_use_is_named(scp, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ScarnodeError, match="in use"):
        listen(scp[1], print, "SCARNODE", "127.0.0.1", taken.getsockname()[1])


def test_a_dataset_that_begins_with_file_meta_information_is_refused(scp, monkeypatch):
    """It could name another transfer syntax, instance and sender than those it came with."""
    port, spool, _ = scp
    association = associate(port, [(MRImageStorage,)])
    with monkeypatch.context() as wire:
        wire.setattr("pynetdicom.association.encode", lambda *_: b"\x02\x00\x10\x00UI\x04\x001.2\x00")
        assert association.send_c_store(instance()).Status == 0xC000
    assert association.send_c_store(instance()).Status == 0
    association.release()
    assert len(list(spool)) == 1
