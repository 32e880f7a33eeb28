"""Requests made from the gateway's own description: its answers must be those that it describes."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.engines.servers import LoopbackServer
from tests.gateway.serving import Served, served, upstream

from satisfice.gateway.settings import Limits, Settings

CHECKS = (
    not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance,
    unsupported_method,
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    limits = Limits(tokens=64, chains=4, seconds=20)
    with LoopbackServer() as server, served(upstream(server.url), Settings(limits=limits)) as found:
        yield found


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_described(gateway: Served, mode: GenerationMode) -> None:
    described = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) == 20
    statuses: set[int] = set()
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # there is nothing to get wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=30, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        def agree(case: Any) -> None:
            response = case.call(timeout=30)
            statuses.add(response.status_code)
            passed = "".join(response.headers.get("x-satisfice", []))
            if not passed.startswith('{"passed"'):  # those are the upstream's own words
                case.validate_response(response, checks=CHECKS)

        agree()
    assert 400 in statuses
    assert mode is GenerationMode.NEGATIVE or 200 in statuses
