"""``mika-ops alerts test``."""

from click.testing import CliRunner, Result

from mika_ops.cli.main import main
from mika_ops_tests.alerting.test_channels import SECRET, endpoint


def tried(**variables: str) -> Result:
    return CliRunner().invoke(main, ["alerts", "test"], env=variables)


def test_a_test_alert_arrives_at_every_address() -> None:
    with endpoint() as one, endpoint() as another:
        result = tried(MIKA_ALERT_URLS=f"{one.url}, {another.url}", MIKA_SITE_NAME="Tea House")

    assert result.exit_code == 0
    assert result.stdout == "Accepted by number 1 of MIKA_ALERT_URLS.\nAccepted by number 2 of MIKA_ALERT_URLS.\n"
    for receiver in (one, another):
        (posted,) = receiver.posted
        assert posted["message"] == "This is a test of the alerts of Tea House: nothing has failed."
        assert posted["type"] == "info"


def test_an_address_that_does_not_take_it_is_reported_and_the_others_are_tried_all_the_same() -> None:
    with endpoint() as broken, endpoint() as well:
        broken.status = 401
        result = tried(MIKA_ALERT_URLS=f"{broken.url},{well.url}")

    assert result.exit_code == 1
    assert result.stderr.startswith("mika-ops: the test alert was not delivered: number 1 of MIKA_ALERT_URLS")
    assert SECRET not in result.output
    assert len(well.posted) == 1


def test_without_an_address_there_is_nobody_to_tell() -> None:
    result = tried()

    assert result.exit_code == 2
    assert "MIKA_ALERT_URLS is not set" in result.stderr


def test_a_wrong_address_is_named_by_its_number() -> None:
    result = tried(MIKA_ALERT_URLS=f"json://pager.example,slack://{SECRET}")

    assert result.exit_code == 2
    assert "MIKA_ALERT_URLS: number 2 is no address" in result.stderr
    assert SECRET not in result.output
