"""A disk that fills up: images are refused, nothing is half written, and the node goes on by itself with room again."""

from __future__ import annotations

import sqlite3

import pytest
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from scarnode.dicom.reactor import held
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.disk import Inside, small_disk
from tests.harness.node import Node
from tests.harness.peers import make_object
from tests.harness.tools import wait_until

PIXELS = 256  # 128 KiB each


def node_on(tmp_path, size, lies_there, **sections):
    """A node with one of its folders on a small disk."""
    disk = tmp_path / "disk"
    paths = {
        "spool": {"path": disk / "spool"},
        "results": {"path": disk / "results"},
        "ledger": {"url": f"sqlite:///{disk / 'ledger.sqlite'}"},
    }
    settings = {name: paths[name] for name in lies_there}
    for name, values in sections.items():
        settings[name] = {**settings.get(name, {}), **values}
    node = Node(tmp_path, prefix=small_disk(disk, size), **settings)
    return node, disk


def associate(node):
    ae = AE("SCANNER")
    ae.add_requested_context(SecondaryCaptureImageStorage)
    ae.add_requested_context(Verification)
    association = held(ae.associate(node.host, node.port, ae_title=node.ae_title))
    assert association.is_established
    return association


def store(association, folder, number):
    return association.send_c_store(make_object(folder / f"{number}.dcm", pixels=PIXELS))


@pytest.mark.slow
def test_settled_studies_make_room_before_an_image_is_refused(tmp_path):
    """Half as much again as the disk holds goes in, of studies without an LGE stack; the oldest make room."""
    settings = {
        "spool": {"min_free_percent": 25},
        "study": {"quiet_seconds": 0.1},
        "retention": {"free_when_full": "yes"},
    }
    node, disk = node_on(tmp_path, "8m", ["spool"], **settings)
    with node:
        inside = Inside(node, disk)
        association = associate(node)

        def stored(number):
            return store(association, tmp_path, number).Status == 0

        for number in range(12 * 2**20 // 131_072):
            wait_until(lambda number=number: stored(number), 60, "room", poll=0.2)
        association.release()
        assert inside.free() >= 2 * 2**20
    gone = books.query(node.ledger_path, "SELECT removed_at IS NOT NULL AS gone FROM instance ORDER BY id")
    flags = [row["gone"] for row in gone]
    assert 30 < sum(flags) < len(flags)
    assert flags == sorted(flags, reverse=True), "not the oldest first"


def assert_whole(spool, count):
    files = list(spool.glob("??/*.dcm"))
    assert len(files) == count
    assert all(len(dcmread(path).PixelData) == 2 * PIXELS * PIXELS for path in files)
    assert list((spool / "partial").iterdir()) == []


def alarms(node):
    return books.query(node.ledger_path, "SELECT name, detail, cleared_at FROM alarm ORDER BY id")


def test_below_the_floor_images_are_refused_until_there_is_room(tmp_path, scarnode):
    node, disk = node_on(tmp_path, "16m", ["spool"], spool={"min_free_percent": 25})
    with node:
        inside, sent = Inside(node, disk), []
        floor = 16 * 2**20 // 4
        inside.fill(leave=floor + 600_000)
        association = associate(node)
        while (answer := store(association, tmp_path, len(sent))).Status == 0:
            sent.append(answer)
        assert 1 <= len(sent) <= 5
        assert answer.Status == 0xA700
        assert "Disk space" in answer.ErrorComment
        before = inside.free()
        assert before >= floor
        for number in range(20):  # not a byte of any of them reaches the disk
            assert store(association, tmp_path, 100 + number).Status == 0xA700
        assert inside.free() == before
        assert_whole(inside.path / "spool", len(sent))
        assert association.send_c_echo().Status == 0
        [alarm] = wait_until(lambda: alarms(node), 5, "the alarm")
        assert (alarm["name"], alarm["cleared_at"]) == ("disk_spool", None)
        assert "floor 4.2 MB" in alarm["detail"]
        listed = scarnode("alarms", "-c", node.config_path, code=1)
        assert "disk_spool" in listed.stdout

        inside.empty()
        assert store(association, tmp_path, 200).Status == 0  # over the same association
        association.release()
        wait_until(lambda: alarms(node)[0]["cleared_at"], 5, "the end of the alarm")
        assert len(alarms(node)) == 1
        assert "no alarm" in scarnode("alarms", "-c", node.config_path).stdout
        assert_whole(inside.path / "spool", len(sent) + 1)
    told = [line for line in node.log().splitlines() if "disk_spool" in line]
    assert len(told) == 2, told


def test_a_disk_that_fills_in_the_middle_of_a_write_leaves_no_half_file(tmp_path):
    node, disk = node_on(tmp_path, "16m", ["spool"], spool={"min_free_percent": 0})
    with node:
        inside, sent = Inside(node, disk), 0
        inside.fill(leave=500_000)
        association = associate(node)
        while (answer := store(association, tmp_path, sent)).Status == 0:
            sent += 1
        assert (sent, answer.Status) == (3, 0xA700)
        assert inside.free() > 50_000, "what was written of the image is still there"
        assert_whole(inside.path / "spool", sent)
        wait_until(lambda: alarms(node), 5, "the alarm")
        inside.empty()
        assert store(association, tmp_path, 100).Status == 0
        association.release()
        assert_whole(inside.path / "spool", sent + 1)


@pytest.mark.slow
def test_jobs_wait_for_room_for_their_results(tmp_path):
    """Of 4 MB the results do not fit; then the disk is full; then there is room."""
    node, disk = node_on(tmp_path, "4m", ["results"], spool={"min_free_percent": 10})
    phantom = make_phantom(51, PhantomSettings(matrix=(128, 128), slices=6, component="magnitude"))
    paths = write_dicom(phantom, tmp_path / "lge")
    with node:
        inside = Inside(node, disk)
        storescu(node.host, node.port, paths, node.ae_title)
        wait_until(lambda: "no disk space" in reason(node), 180, "a job whose results do not fit")
        files = [path for path in inside.path.rglob("*") if path.is_file()]
        assert all(dcmread(path).SOPInstanceUID for path in files), "a half result lies there"
        assert not [path for path in files if path.name.startswith(".")]
        inside.fill()
        wait_until(lambda: "waits for disk space" in reason(node), 10, "the job's reason")
        due(node)
        [alarm] = wait_until(lambda: alarms(node), 5, "the alarm")
        assert alarm["name"] == "disk_results"
        assert association_works(node, tmp_path), "the spool's disk has room"
        [job] = books.jobs(node.ledger_path)
        assert (job["state"], job["attempts"]) == ("queued", 0)
        inside.empty()
        inside.grow("64m")
        [job] = books.wait_for_jobs(node.ledger_path, timeout=60)
        assert (job["state"], job["attempts"]) == ("done", 1)
        wait_until(lambda: alarms(node)[-1]["cleared_at"], 5, "the end of the alarm")


def reason(node):
    found = books.jobs(node.ledger_path)
    return found[0]["reason"] if found else ""


def due(node):
    with sqlite3.connect(node.ledger_path, timeout=10) as connection:
        connection.execute("UPDATE job SET due_at = 0")


def association_works(node, tmp_path):
    association = associate(node)
    answer = store(association, tmp_path, 1000)
    association.release()
    return answer.Status == 0


@pytest.mark.parametrize("left", [0, pytest.param(40_000, marks=pytest.mark.soak)])
def test_a_full_ledger_loses_nothing_of_what_is_received(tmp_path, left):
    node, disk = node_on(tmp_path, "8m", ["ledger"])
    with node:
        inside = Inside(node, disk)
        inside.fill(leave=left)
        association = associate(node)
        count = 300 if left else 30
        for _ in range(count):
            assert association.send_c_store(make_object(tmp_path / "one.dcm", pixels=8)).Status == 0
        wait_until(lambda: "can not be written" in node.log(), 10, "the log's word")
        assert association.send_c_echo().Status == 0
        association.release()
        assert registered(inside) < count
        assert len(list(node.spool.glob("??/*.dcm"))) == count
        inside.empty()
        wait_until(lambda: registered(inside) == count, 20, "the instances in the ledger")
        assert inside.query("ledger.sqlite", "PRAGMA integrity_check") == [["ok"]]
        wait_until(
            lambda: "disk_ledger" in {alarm["name"] for alarm in alarms(node)} or alarms(node) == [], 5, "alarms"
        )
    assert len(node.log().splitlines()) < 60, "a lasting fault fills the log"


def registered(inside):
    return inside.query("ledger.sqlite", "SELECT count(*) FROM instance")[0][0]


def test_a_ledger_that_has_no_room_to_begin_says_so(tmp_path):
    node, _ = node_on(tmp_path, "8k", ["ledger"])
    done = node.run()
    assert done.returncode == 2
    assert "full" in done.stderr or "disk I/O error" in done.stderr
    assert "Traceback" not in done.stderr
