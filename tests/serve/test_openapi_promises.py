"""What the OpenAPI document promises, tried against the running application by schemathesis."""

from __future__ import annotations

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serve.conftest import TOKEN

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def findings(http_service, examples: int) -> list[str]:
    """What breaks a promise, by route; the same examples every time."""
    schema = schemathesis.openapi.from_url(f"{http_service.url}/v1/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 10
    return [fault for operation in operations if (fault := broken(operation, examples))]


def broken(operation, examples: int) -> str:
    """The first promise of a route that an example breaks, "" if none does."""

    @hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def keeps_its_promises(case):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=30)

    try:
        keeps_its_promises()
    except (AssertionError, BaseExceptionGroup) as error:
        return f"{operation.label}: {error}"
    return ""


@pytest.mark.timeout(200)
def test_the_routes_keep_the_promises_of_the_document(http_service):
    assert findings(http_service, examples=8) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_routes_keep_the_promises_of_the_document_for_longer(http_service):
    assert findings(http_service, examples=200) == []
