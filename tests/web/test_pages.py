"""What the pages show: everything of a job, in words, and only what is there."""

import re
import shutil
from html import unescape
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from scarnode import RESEARCH_USE
from scarnode.ledger import queries
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import DeliveryReport
from scarnode.pipeline.stack import SeriesVerdict, Verdict
from tests.ledger.builders import STUDY, received, verdict
from tests.web.site import Site, served, walked

PATIENT, ACCESSION = "PHANTOM^SEED3", "SYN"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One synthetic study with a result on its way, with flags."""
    folder = tmp_path_factory.mktemp("site")
    with served(folder) as running:
        walked(running.ledger, running.settings, folder, flags=("UNSURE_SCAR",))
        yield running


@pytest.fixture(scope="module")
def browser(site):
    return site.browser()


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def get(site, browser, path, status=200):
    got = browser.get(site.address + path, timeout=20)
    assert got.status_code == status, got.text
    return got


def picture(got) -> np.ndarray:
    assert got.headers["Content-Type"] == "image/png"
    return np.asarray(Image.open(BytesIO(got.content)).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    "path", ["/", "/jobs", "/jobs/1", "/studies", "/studies/1", "/settings", "/help/api", "/nowhere"]
)
def test_every_page_says_what_it_is_not_for(site, browser, path):
    page = browser.get(site.address + path, timeout=20).text
    assert RESEARCH_USE in page
    assert '<html lang="en">' in page
    assert page.count("<h1>") == 1
    assert page.count("<main") == 1
    assert not re.search(r'(src|href|action)="(https?:)?//', page), "asks another machine"
    assert not re.search(r"\son[a-z]+=|<style|style=|javascript:|<script(?![^>]*src=)", page), "the policy forbids it"


def test_the_dashboard_holds_no_patient_data(site, browser):
    page = get(site, browser, "/").text
    assert PATIENT not in page
    assert "SYN-" not in page
    words = text_of(page)
    assert "SCANNER" in words
    assert "pacs" in words
    assert re.search(r"delivering.*1", words)
    number = queries.list_jobs(site.ledger)[0].lge_percent
    assert f"{number:.1f} % Synthetic" in words


def test_a_job_page_tells_everything(site, browser):
    page = get(site, browser, "/jobs/1").text
    words = text_of(page)
    job = queries.get_job(site.ledger, 1)
    assert PATIENT in words
    for value, unit in ((job.lge_percent, "%"), (job.scar_volume_cm3, "cm³")):
        assert f"{value:.1f} {unit} Synthetic" in words
    assert "UNSURE_SCAR Repeated readings outline the scar differently." in words
    assert "Synthetic images: not a patient" in words
    steps = re.findall(r'<li class="(reached|open)"><span>(.*?)</span>', page)
    assert [step for _, step in steps] == [
        "first image received",
        "last image received",
        "stack found",
        "analysis begun",
        "analysed",
        "sent",
    ]
    assert [reached for reached, _ in steps] == ["reached"] * 5 + ["open"]
    assert page.count("<figure") == 4
    assert "0 of 3 objects" in words
    assert "study quiet: 1 series" in words  # the story
    assert "SEGMENT" not in words.upper() or "17 segments" in words


def test_slices_are_those_of_the_images_with_the_outlines_of_the_seg(site, browser):
    plain = [picture(get(site, browser, f"/jobs/1/slices/{index}.png")) for index in range(4)]
    drawn = [picture(get(site, browser, f"/jobs/1/slices/{index}-outlined.png")) for index in range(4)]
    for bare, lines in zip(plain, drawn, strict=True):
        assert bare.shape == lines.shape == (480, 480, 3)
        assert (bare[..., 0] == bare[..., 2]).all()  # grey
        colour = np.ptp(lines, axis=-1) > 60
        assert 0.003 < colour.mean() < 0.2
        calm = np.abs(lines - bare).max(axis=-1) < 8
        assert calm[~colour].mean() > 0.9  # away from the lines it is the same image
    assert not (plain[0] == plain[1]).all()
    api = picture(get(site, browser, "/api/jobs/1/slices/2.png?outlines=false"))
    assert (api == plain[2]).all()
    get(site, browser, "/jobs/1/slices/4.png", 404)
    get(site, browser, "/jobs/1/slices/-1.png", 404)
    assert picture(get(site, browser, "/jobs/1/bullseye.png")).shape == (468, 704, 3)
    assert picture(get(site, browser, "/jobs/1/page.png")).shape[1] == 1400


def test_no_patient_data_in_an_address(site, browser):
    """What is searched for stays out of addresses: proxies and browsers keep those."""
    job = queries.get_job(site.ledger, 1)
    for words in (job.accession_number, job.patient_id, job.study_instance_uid, "phantom"):
        for to, path in (("jobs", "/jobs?find="), ("studies", "/studies/1")):
            done = browser.post(
                site.address + "/find", data={"to": to, "words": words}, allow_redirects=False, timeout=20
            )
            assert done.status_code == 303
            assert done.headers["Location"].startswith(path)
            assert words not in done.headers["Location"]
            assert PATIENT in get(site, browser, done.headers["Location"]).text
    none = browser.post(site.address + "/find", data={"to": "studies", "words": "NEVER-CAME"}, timeout=20)
    assert "Nothing of it was received" in none.text
    assert "port" in none.text
    percent = browser.post(site.address + "/find", data={"to": "studies", "words": "%"}, timeout=20)
    assert "Nothing of it was received" in percent.text  # a sign, not a wildcard


def test_hold_release_and_a_refusal(tmp_path):
    with served(tmp_path) as site:
        walked(site.ledger, site.settings, tmp_path, seed=4)
        browser = site.browser()
        held = browser.post(site.address + "/jobs/1/hold", timeout=20).text
        assert "Asked. The job is held: held by hand." in held
        assert 'action="/jobs/1/retry"' in held
        assert "Release" in held
        again = browser.post(site.address + "/jobs/1/hold", timeout=20).text
        assert "Not done. The job is held." in again
        assert "Not done" not in get(site, browser, "/jobs/1").text  # said once
        released = browser.post(site.address + "/api/jobs/1/retry", timeout=20).json()
        assert released == {"job": 1, "state": "delivering", "says": "asked for again"}
        browser.post(site.address + "/jobs/1/cancel", timeout=20)
        assert browser.post(site.address + "/api/jobs/1/retry", timeout=20).status_code == 409
        assert browser.post(site.address + "/api/jobs/7/retry", timeout=20).status_code == 404
        events = queries.list_events(site.ledger, 1)
        assert [event.actor for event in events[-3:]] == ["web, user ada"] * 3
        assert [event.to_state for event in events[-3:]] == ["held", "delivering", "superseded"]


def test_what_retention_removed_is_said(tmp_path):
    with served(tmp_path) as site:
        walked(site.ledger, site.settings, tmp_path, seed=5)
        browser = site.browser()
        assert "/jobs/1/slices/0.png" in get(site, browser, "/jobs/1").text
        due = site.ledger.deliveries.due_deliveries("pacs")
        site.ledger.deliveries.report_deliveries([DeliveryReport(row.id, True, "Success", None) for row in due])
        shutil.rmtree(site.settings.spool.path)
        mark_removed(site.ledger)
        words = text_of(get(site, browser, "/jobs/1").text)
        assert "They can not be shown: its images were removed from this machine" in words
        assert "The images were deleted 20" in words
        assert "The results were deleted 20" in words
        number = queries.get_job(site.ledger, 1).lge_percent
        assert f"{number:.1f} % Synthetic" in words  # the ledger's numbers stay
        get(site, browser, "/jobs/1/slices/0.png", 404)
        get(site, browser, "/jobs/1/bullseye.png", 404)
        get(site, browser, "/jobs/1/page.png", 404)
        assert "Its files were removed from this machine since" in text_of(get(site, browser, "/studies/1").text)


def mark_removed(ledger: Ledger) -> None:
    with ledger.store.writing() as session:
        connection = session.connection()
        for table, column in (("study", "sources_removed_at"), ("instance", "removed_at"), ("result", "removed_at")):
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = 1790000000")


CASES = {
    "arriving": (None, "Not yet: 3 images came that were not searched"),
    "cine": ([verdict(accepted=False)], "No result: none of its 1 series is a short-axis late-enhancement stack."),
    "maybe": (
        [
            SeriesVerdict(STUDY, "1.9", Verdict.REVIEW, "UNCERTAIN", "score 3", 3, 3, "viab", "MR"),
            verdict(accepted=False),
        ],
        "No result: none of its 2 series is surely a short-axis late-enhancement stack; 1 may be one.",
    ),
    "broken search": (
        [SeriesVerdict("", "(all)", Verdict.REVIEW, "SEARCH_FAILED", "OSError", 0, 3)],
        "No result: the study could not be searched.",
    ),
    "nothing": ([], "No result: the study holds nothing to analyse."),
}


@pytest.mark.parametrize("name", CASES)
def test_why_there_is_no_result(tmp_path, name):
    verdicts, answer = CASES[name]
    with served(tmp_path) as site:
        site.ledger.studies.add_instances([received(number) for number in range(1, 4)])
        if verdicts is not None:
            newest, _ = site.ledger.studies.study_files(1)
            site.ledger.studies.close_study(1, newest, verdicts, [])
        browser = site.browser()
        words = text_of(get(site, browser, "/studies/1").text)
        assert answer in words
        told = get(site, browser, "/api/studies/1").json()
        assert told["answer"].startswith(answer)
        assert told["todo"]
        for one in verdicts or []:
            assert one.reason in words
            assert one.detail in words
        assert [one["images"] for one in told["waiting"]] == ([3] if verdicts is None else [])


def test_unreadable_files_are_named(tmp_path):
    with served(tmp_path) as site:
        site.ledger.studies.add_instances([received(number) for number in range(1, 4)])
        newest, [path, *_] = site.ledger.studies.study_files(1)
        site.ledger.studies.close_study(1, newest, [], [], problems={path: "TRUNCATED_HEADER: ends early"})
        browser = site.browser()
        words = text_of(get(site, browser, "/studies/1").text)
        assert "No result: none of its files can be read." in words
        assert "TRUNCATED_HEADER: ends early" in words
        assert path in words


def test_settings_hide_their_secrets(tmp_path):
    settings = tmp_path / "config.ini"
    from scarnode.config import read_settings
    from tests.harness.tools import free_port
    from tests.web.site import ACCOUNTS

    settings.write_text(
        f"[spool]\npath = spool\n[results]\npath = results\n[ledger]\nurl = sqlite:///ledger.sqlite\n"
        f"[web]\nport = {free_port()}\nusers =\n    {ACCOUNTS[0]}\n    {ACCOUNTS[1]}\n"
        "[destination:archive]\nurl = https://pacs.example.org/dicom-web\nuser = me\npassword = s3cretword\n"
        "[destination:other]\nurl = https://pacs.example.org/dicom-web\ntoken = s3crettoken\n"
        "[notify]\nwebhook_url = https://chat.example.org/hooks/s3cretpath\nwebhook_secret = s3cretkey\n"
        "[cluster]\nbroker = redis://:s3cretpass@redis.example.org/0\n"
        "[source:old]\nhost = 127.0.0.1\nport = 104\nae_title = OLD\n"
    )
    with served(tmp_path, read_settings(settings)) as site:
        browser = site.browser()
        for path in ("/settings", "/api/settings"):
            page = get(site, browser, path).text
            assert "s3cret" not in page
            assert "scrypt" not in page
            assert "(hidden)" in page
            assert "destination:archive" in page
            assert "source:old" in page
            assert "chat.example.org" in page
            assert "redis.example.org" in page
            assert "quiet_seconds" in page
            assert "vic viewer" in page


def test_many_jobs_are_paged(tmp_path):
    with served(tmp_path) as site:
        many_jobs(site, 120)
        browser = site.browser()
        path, seen = "/jobs", []
        while path:
            page = get(site, browser, path).text
            seen += [int(number) for number in re.findall(r'<th scope="row"><a href="/jobs/(\d+)">', page)]
            older = re.search(r'<a href="([^"]+)" rel="next"', page)
            path = older[1].replace("&amp;", "&") if older else ""
        assert seen == list(range(120, 0, -1))
        assert "120" in text_of(get(site, browser, "/").text)
        assert len(get(site, browser, "/api/jobs?state=queued&limit=7&before=10").json()) == 7


def many_jobs(site: Site, count: int) -> None:
    from tests.ledger.builders import plan

    site.ledger.studies.add_instances([received(number) for number in range(1, 4)])
    newest, _ = site.ledger.studies.study_files(1)
    site.ledger.studies.close_study(
        1, newest, [], [plan(f"k{number}", range(number, number + 1)) for number in range(count)]
    )


def test_what_a_header_says_is_text(tmp_path):
    from dataclasses import replace

    evil = "<script>alert(1)</script>&\"'>"
    with served(tmp_path) as site:
        site.ledger.studies.add_instances(
            [replace(received(1), patient_name=evil, patient_id=evil, calling_ae=evil[:16])]
        )
        newest, _ = site.ledger.studies.study_files(1)
        bad = SeriesVerdict(STUDY, evil, Verdict.REJECTED, evil, evil, 0, 1, evil, evil)
        from tests.ledger.builders import plan

        site.ledger.studies.close_study(1, newest, [bad], [plan("a")])
        browser = site.browser()
        for path in ("/", "/jobs", "/jobs/1", "/studies/1"):
            page = get(site, browser, path).text
            assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
        found = browser.post(site.address + "/find", data={"to": "studies", "words": evil}, timeout=20).text
        assert "<script>alert" not in found
