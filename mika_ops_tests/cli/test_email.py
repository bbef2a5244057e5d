"""``mika-ops email preview``."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mika_ops.cli.main import main
from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import load_settings
from mika_ops.email.kinds import EXTRA_KINDS, KINDS, PURPOSES


def preview(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main, ["email", "preview", *arguments], env=variables)


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    made = tmp_path / "templates"
    made.mkdir()
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_html_text_and_subject_and_says_where(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    result = preview(kind, "--out", str(out), MIKA_SITE_NAME="Tea House")

    assert result.exit_code == 0
    files = sorted(out.iterdir())
    assert [file.name.split(".", 1)[1] for file in files] == ["html", "subject.txt", "txt"]
    for file in files:
        assert str(file) in result.stdout
        assert file.read_text(encoding="utf-8").strip()
    assert "Tea House" in files[0].read_text(encoding="utf-8")


def test_by_default_it_writes_into_a_folder_beside() -> None:
    assert preview("order_confirmation").exit_code == 0
    assert Path("email-preview/order_confirmation.html").is_file()


def test_each_purpose_of_a_magic_link_has_files_of_its_own() -> None:
    for purpose in PURPOSES:
        assert preview("magic_link", "--purpose", purpose).exit_code == 0
    subjects = {Path(f"email-preview/magic_link-{purpose}.subject.txt").read_text() for purpose in PURPOSES}
    assert len(subjects) == len(PURPOSES)


def test_it_shows_the_shop_as_it_is_configured() -> None:
    preview(
        "order_confirmation",
        MIKA_SITE_NAME="Teehaus",
        MIKA_SUPPORT_EMAIL="hilfe@shop.test",
        MIKA_ACCOUNT_URL="https://shop.test/konto",
        MIKA_LOCALE="de_AT",
    )
    text = Path("email-preview/order_confirmation.txt").read_text(encoding="utf-8")
    for fact in ("Teehaus", "hilfe@shop.test", "https://shop.test/konto", "120,60"):
        assert fact in text


@pytest.mark.parametrize("kind", EXTRA_KINDS)
def test_a_kind_that_is_not_sent_is_shown_with_a_warning(kind: str) -> None:
    result = preview(kind)
    assert result.exit_code == 0
    assert f"emails of the kind {kind} are skipped until MIKA_EMAIL_EXTRA_KINDS names it" in result.stderr
    assert preview(kind, MIKA_EMAIL_EXTRA_KINDS=kind).stderr == ""


def test_a_template_of_the_shops_own_is_shown(templates: Path) -> None:
    (templates / "download.txt.j2").write_text("Hier: {{ link }}")
    preview("download", MIKA_EMAIL_TEMPLATES=str(templates))
    assert Path("email-preview/download.txt").read_text().startswith("Hier: https://")


def test_a_template_of_any_kind_that_does_not_compile_stops_it(templates: Path) -> None:
    (templates / "download.txt.j2").write_text("{% if %}")
    (templates / "layout.html.j2").write_text("{% if %}")
    result = preview("magic_link", MIKA_EMAIL_TEMPLATES=str(templates))
    assert result.exit_code == 2
    assert "the template download.txt.j2 cannot be read: line 1" in result.stderr
    assert "the template layout.html.j2 cannot be read: line 1" in result.stderr
    assert not Path("email-preview").exists()


def test_a_template_that_fails_stops_it(templates: Path) -> None:
    (templates / "magic_link.txt.j2").write_text("{{ nobody }}")
    result = preview("magic_link", MIKA_EMAIL_TEMPLATES=str(templates))
    assert result.exit_code == 2
    assert "the template magic_link.txt.j2, line 1, uses a variable that does not exist" in result.stderr


def test_a_file_that_takes_no_templates_place_is_warned_about(templates: Path) -> None:
    (templates / "magic-link.html.j2").write_text("")
    result = preview("magic_link", MIKA_EMAIL_TEMPLATES=str(templates))
    assert result.exit_code == 0
    assert "Warning: magic-link.html.j2" in result.stderr
    assert "did you mean magic_link.html.j2?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["newsletter"], "'newsletter' is not one of"),
        (["magic_link", "--purpose", "fun"], "'fun' is not one of"),
        (["download", "--purpose", "sign_in"], "--purpose applies to magic_link only"),
        (["magic_link", "--out", "/dev/null/x"], "cannot be written into"),
    ],
)
def test_a_wrong_call_is_reported_and_nothing_is_written(arguments: list[str], message: str) -> None:
    result = preview(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_wrong_setting_is_reported(tmp_path: Path) -> None:
    result = preview("magic_link", MIKA_EMAIL_TEMPLATES=str(tmp_path / "missing"))
    assert result.exit_code == 2
    assert "MIKA_EMAIL_TEMPLATES" in result.stderr


class TestSettings:
    @pytest.mark.parametrize(
        ("text", "kinds"),
        [
            ("download", ("download",)),
            (" admin_notification , download,", ("admin_notification", "download")),
            ("download,download", ("download",)),
            (",", ()),
        ],
    )
    def test_extra_kinds_are_words_with_commas_between(
        self, text: str, kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MIKA_EMAIL_EXTRA_KINDS", text)
        assert load_settings().email_extra_kinds == kinds

    @pytest.mark.parametrize("text", ["magic_link", "downloads", "download;admin_notification", '["download"]', "all"])
    def test_any_other_word_is_reported_with_the_allowed_ones(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIKA_EMAIL_EXTRA_KINDS", text)
        with pytest.raises(SettingsError, match=r"MIKA_EMAIL_EXTRA_KINDS: .* write download or admin_notification"):
            load_settings()

    @pytest.mark.parametrize("name", ["missing", "file"])
    def test_a_folder_of_templates_must_be_there(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(SettingsError, match=r"MIKA_EMAIL_TEMPLATES: .* is no folder that can be read"):
            load_settings(email_templates=tmp_path / name)
