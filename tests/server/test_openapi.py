"""Every route of the native API, whatever there is, under requests that a machine made up of its description."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from served import Served, serving

from registry import Registry

pytestmark = pytest.mark.services

DESCRIPTION = "/api/v1/openapi.json"
OPEN = ("/healthz", "/api/v1/whoami", "/api/v1/session")
TOKEN: list[str] = []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("described") / "home"
    TOKEN[:] = [Registry(home).add_token("ann", role="admin").text]
    with serving(home, "--no-anonymous", patience=5) as found:
        yield found
        assert "Traceback" not in found.log, found.log


def ask_everything(server: Served, check: Callable[[Any, Any], None], headers: dict[str, str], examples: int) -> int:
    """Send to every operation what its description allows, and what it does not; return how many there are."""
    import schemathesis
    from schemathesis import GenerationMode

    valid, invalid = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
    reproducible = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    tried = 0
    for found in schemathesis.openapi.from_url(f"{server.url}{DESCRIPTION}").get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        print(operation.label)  # which one it was, where one fails
        tried += 1

        @given(case=operation.as_strategy(generation_mode=valid) | operation.as_strategy(generation_mode=invalid))
        @settings(reproducible, max_examples=examples)
        def ask(case: Any) -> None:
            answer = case.call(headers=headers, timeout=30)
            if answer.status_code >= 400 and case.method != "HEAD":
                error = answer.json()["error"]
                assert set(error) == {"code", "message", "fields"} and "Traceback" not in error["message"]
            check(case, answer)

        ask()
    return tried


def test_no_request_that_the_description_suggests_makes_it_fail(server: Served) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    checks = [not_a_server_error, content_type_conformance, response_schema_conformance]

    def check(case: Any, answer: Any) -> None:
        case.validate_response(answer, checks=checks)

    assert ask_everything(server, check, {"Authorization": f"Bearer {TOKEN[0]}"}, 40) >= 4


def test_without_a_token_nothing_is_told_but_who_asks(server: Served) -> None:
    def check(case: Any, answer: Any) -> None:
        assert case.path in OPEN or 400 <= answer.status_code < 500, (case.path, answer.status_code)

    ask_everything(server, check, {}, 15)


def test_the_description_has_one_shape_of_errors_and_no_page_that_loads_scripts(server: Served) -> None:
    description = server.get(DESCRIPTION).document
    assert "HTTPValidationError" not in json.dumps(description)
    for path in description["paths"].values():
        for operation in path.values():
            assert {"4XX", "5XX"} <= operation["responses"].keys()
    assert {server.get(path).status for path in ("/docs", "/redoc")} == {404}
