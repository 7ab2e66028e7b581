"""The API against its own description: whatever is asked, no answer is a fault of the server."""

from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scarnode.web import Role
from tests.web.site import served, walked

COSTLY = {"/api/login"}
"""Each costs a password's hash."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    with served(folder) as running:
        walked(running.ledger, running.settings, folder, seed=6)
        yield running


def hammer(site, examples: int) -> None:
    import schemathesis  # two seconds that nobody else needs

    checks = [schemathesis.checks.not_a_server_error, schemathesis.checks.response_schema_conformance]
    token = site.app.state.app_state.sessions.open("ada", Role.ADMIN, "127.0.0.1")
    headers = {"Authorization": f"Bearer {token}", "Host": "localhost"}
    schema = schemathesis.openapi.from_dict(site.app.openapi())
    schema.config.update(base_url=site.address)
    line = requests.Session()
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 12

    for operation in operations:

        @settings(
            max_examples=2 if operation.path in COSTLY else examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
            derandomize=examples < 100,
        )
        @given(case=operation.as_strategy(), numbers=st.data())
        def ask(case, numbers):
            if "job" in (case.path_parameters or {}) and numbers.draw(st.booleans()):
                case.path_parameters["job"] = 1  # the one there is
            answer = case.call(headers=headers, session=line, timeout=30)
            case.validate_response(answer, checks=checks)

        ask()


@pytest.mark.slow
def test_no_request_is_a_fault(site):
    hammer(site, 6)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_request_is_a_fault_at_length(site):
    hammer(site, 400)


def test_the_description_is_there_for_who_is_logged_in(site):
    got = site.browser().get(site.address + "/api", timeout=20).json()
    assert got["openapi"].startswith("3.")
    assert "/api/jobs/{job}" in got["paths"]
    assert "bearer" in str(got["components"]["securitySchemes"]).lower()
    assert urlsplit(site.address).port == site.settings.web.port
