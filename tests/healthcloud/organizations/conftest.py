"""Every test of this room begins with nothing counted: archiving asks for usage, too."""

import pytest

from healthcloud.organizations import usage
from healthcloud.organizations.models import UsageDay


@pytest.fixture(autouse=True)
def _nothing_counted_before(request: pytest.FixtureRequest) -> None:
    usage._tally.requests.clear()
    usage._tally.errors.clear()
    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        request.getfixturevalue("db")
        UsageDay.objects.all().delete()  # what processes of other tests have really committed
