"""The admin API's client fits its port: the suite that hosts use, with a site that does each keyed call once."""

from collections.abc import Iterator

import pytest

from mika_ops.admin_api.client import MikaAdminApi
from mika_ops_testing.admin_api_server import Call, Reply, Site, done, says
from mika_ops_testing.conformance import AdminApiConformance
from mika_ops_testing.smtp_server import free_port
from mika_ops_tests.admin_api.calls import api_of


class TestMikaAdminApi(AdminApiConformance):
    @pytest.fixture
    def admin_api(self, site: Site) -> Iterator[MikaAdminApi]:
        answers: dict[str, Reply] = {}

        def reply_to(call: Call) -> Reply:
            return answers.setdefault(call.key, self.reply_to(call, len(answers) + 1))

        site.reply_to = reply_to
        with api_of(site.url) as api:
            yield api

    def reply_to(self, call: Call, number: int) -> Reply:
        if call.path.endswith("/replay"):
            is_known = call.body["webhookId"] == self.webhook_id
            return says(done() if is_known else done("failed", message="No such webhook."))
        return says(done(affected={"reservationsScanned": number}))

    @pytest.fixture
    def unreachable_admin_api(self) -> Iterator[MikaAdminApi]:
        with api_of(f"http://127.0.0.1:{free_port()}") as api:
            yield api
