"""A shop's templates that replace the built-in ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.content.samples import sample_email, sample_order
from mika_ops.email.content.template_set import TemplateSet
from mika_ops.email.kinds import EXTRA_KINDS, KINDS
from mika_ops.ports.email import EmailUnrenderable, Envelope
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import NOW
from mika_ops_tests.email.arbitrary import HOSTILE
from mika_ops_tests.email.builders import magic_link, order, order_confirmation, titled
from mika_ops_tests.email.reading import markup_of, text_of

SECRET = "https://shop.test/in?token=canary"  # a link, which no error may repeat


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "templates"
    made.mkdir()
    return made


def rendered(folder: Path) -> Envelope:
    return EmailRenderer(Brand("Tea House"), templates=folder).render(magic_link({"link": SECRET}), None)


def refused(folder: Path) -> str:
    with pytest.raises(EmailUnrenderable) as raised:
        rendered(folder)
    assert "canary" not in str(raised.value)
    return str(raised.value)


class TestReplacing:
    def test_an_empty_folder_changes_nothing(self, folder: Path) -> None:
        assert rendered(folder) == EmailRenderer(Brand("Tea House")).render(magic_link({"link": SECRET}), None)

    def test_a_file_takes_the_place_of_the_template_of_its_name(self, folder: Path) -> None:
        (folder / "magic_link.txt.j2").write_text("Komm herein: {{ link }} ({{ purpose }})", encoding="utf-8")
        envelope = rendered(folder)
        assert envelope.text == f"Komm herein: {SECRET} (sign_in)"
        assert "Use this link to sign in" in envelope.html

    def test_a_subject_can_be_replaced_and_is_passed_to_the_others(self, folder: Path) -> None:
        (folder / "magic_link.subject.txt.j2").write_text("Anmelden bei\n{{ site_name }}\n")
        envelope = rendered(folder)
        assert envelope.subject == "Anmelden bei Tea House"
        assert "<title>Anmelden bei Tea House</title>" in envelope.html

    def test_an_empty_subject_is_refused(self, folder: Path) -> None:
        (folder / "magic_link.subject.txt.j2").write_text("{# nothing #}\n")
        assert refused(folder) == "the template magic_link.subject.txt.j2 makes an empty subject"

    def test_a_layout_is_replaced_for_every_kind(self, folder: Path) -> None:
        (folder / "layout.html.j2").write_text("<body>Ours: {% block content %}{% endblock %}</body>")
        renderer = EmailRenderer(Brand(), extra_kinds=EXTRA_KINDS, templates=folder)
        for kind in KINDS:
            envelope = renderer.render(sample_email(kind, now=to_datetime(NOW)), sample_order(kind))
            assert envelope.html.startswith("<body>Ours: ")

    def test_a_template_can_extend_the_one_that_it_replaces(self, folder: Path) -> None:
        (folder / "magic_link.html.j2").write_text(
            '{% extends "built-in/magic_link.html.j2" %}{% block heading %}Welcome back{% endblock %}'
        )
        read = text_of(rendered(folder).html)
        assert "Welcome back Use this link to sign in to Tea House." in read

    def test_a_template_can_include_another_of_the_folder(self, folder: Path) -> None:
        (folder / "magic_link.txt.j2").write_text('{% include "greeting.txt.j2" %}')
        (folder / "greeting.txt.j2").write_text("Hello from {{ site_name }}")
        assert rendered(folder).text == "Hello from Tea House"

    @given(value=st.text(min_size=1) | st.just(HOSTILE))
    def test_its_values_are_escaped_as_well(self, value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("templates")
        (folder / "order_confirmation.html.j2").write_text(
            '<p title="{{ order.number }}">{{ order.lines[0].title }}</p>'
        )
        found = order(titled(f"T{value}"), orderNumber=f"N{value}")
        html = EmailRenderer(Brand(), templates=folder).render(order_confirmation(), found).html
        assert markup_of(html) == ["p ['title']"]


class TestWhatIsWrong:
    def test_a_folder_that_is_not_there_is_reported(self, tmp_path: Path) -> None:
        assert "missing, which is no folder" in refused(tmp_path / "missing")
        assert len(TemplateSet(tmp_path / "missing").problems()) == 1

    @pytest.mark.parametrize("source", ["{% if %}", "{{ link", "{% nonsense %}", "{{ link|nonsense }}", "{% endif %}"])
    def test_a_template_that_does_not_compile_is_reported_with_its_line(self, folder: Path, source: str) -> None:
        (folder / "magic_link.html.j2").write_text(f"\n\n{source}")
        error = refused(folder)
        assert error.startswith("the template magic_link.html.j2 cannot be read: line 3: ")
        assert TemplateSet(folder).problems() == [error]

    def test_a_layout_that_does_not_compile_is_reported_by_its_own_name(self, folder: Path) -> None:
        (folder / "layout.html.j2").write_text("{% if %}")
        assert refused(folder).startswith("the template layout.html.j2 cannot be read: line 1: ")

    def test_a_template_that_is_not_utf8_is_reported(self, folder: Path) -> None:
        (folder / "magic_link.txt.j2").write_bytes("Grüße".encode("latin-1"))
        assert refused(folder) == "the template magic_link.txt.j2 cannot be read: it is not UTF-8"

    @pytest.mark.parametrize(
        ("source", "problem"),
        [
            ("{{ nobody }}", "uses a variable that does not exist"),
            ("{{ wording[link] }}", "uses a variable that does not exist"),
            ("{{ link | int(default=none) + 1 }}", "TypeError"),
            ("{{ 1 // (link | length - link | length) }}", "ZeroDivisionError"),
            ("{{ ''.__class__.__mro__ }}", "SecurityError"),
            ("{{ wording.__init__.__globals__ }}", "SecurityError"),
            ("{% include 'nowhere.j2' %}", "TemplateNotFound"),
            ("{% include 'magic_link.txt.j2' %}", "RecursionError"),
            ("{% for i in range(9999999) %}{% endfor %}", "OverflowError"),
        ],
    )
    def test_the_error_of_a_template_does_not_hold_what_it_printed(
        self, folder: Path, source: str, problem: str
    ) -> None:
        (folder / "magic_link.txt.j2").write_text(f"\n{source}")
        sentence = refused(folder)
        assert sentence.startswith("the template magic_link.txt.j2, line 2, ")
        assert problem in sentence

    def test_other_kinds_are_not_touched_by_it(self, folder: Path) -> None:
        (folder / "magic_link.txt.j2").write_text("{% if %}")
        renderer = EmailRenderer(Brand(), templates=folder)
        assert "N-1001" in renderer.render(order_confirmation(), order()).text


class TestUnusedFiles:
    def test_a_file_with_an_unknown_name_is_reported_with_the_closest(self, folder: Path) -> None:
        (folder / "magic_link.html").write_text("")
        (unused,) = TemplateSet(folder).unused_files()
        assert unused.startswith("magic_link.html ")
        assert unused.endswith("did you mean magic_link.html.j2?")

    def test_a_file_that_is_like_none_is_reported_with_all_names(self, folder: Path) -> None:
        (folder / "zzz").write_text("")
        (unused,) = TemplateSet(folder).unused_files()
        assert "order_confirmation.subject.txt.j2" in unused

    def test_files_that_are_used_and_hidden_ones_are_not_reported(self, folder: Path) -> None:
        (folder / "magic_link.txt.j2").write_text('{% include "greeting.txt.j2" %}')
        (folder / "greeting.txt.j2").write_text("Hello")
        (folder / ".DS_Store").write_bytes(b"\x00\xff")
        (folder / "drafts").mkdir()
        assert TemplateSet(folder).unused_files() == []

    def test_without_a_folder_there_is_nothing_to_tell(self) -> None:
        assert (TemplateSet().problems(), TemplateSet().unused_files()) == ([], [])
