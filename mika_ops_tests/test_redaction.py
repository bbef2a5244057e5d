"""What is kept of an error: a sentence without addresses, links and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.redaction import LONGEST_SENTENCE, describe_error, redact

SECRET = st.text("abcXYZ0189_-", min_size=6, max_size=20)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("550 <ada@example.test>: no such user", "550 <<address>>: no such user"),
        ("ada.lind+shop@mail.example.test refused", "<address> refused"),
        ("refused ada@localhost", "refused <address>"),
        ("refused: ÄDA@exämple.test,bob@example.test", "refused: <address>,<address>"),
        ("see https://shop.test/magic?token=abc now", "see <link> now"),
        ("HTTPS://SHOP.TEST/x", "<link>"),
        ("postgresql://user:password@host:5432/shop failed", "<link> failed"),
        ("Authorization: Bearer abc.def", "Authorization: <token>"),
        ("token ec_pat_abc123 is not valid", "token <token> is not valid"),
        ("bearer  secret-thing", "<token>"),
    ],
)
def test_addresses_links_and_tokens_are_taken_out(text: str, kept: str) -> None:
    assert redact(text) == kept


@pytest.mark.parametrize(
    "text", ["connection refused", "451 4.3.0 try again later", "record.attemptCount is not a number", "a @ b"]
)
def test_an_error_that_names_nobody_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_sentence_stands_on_one_line() -> None:
    assert redact("first\r\n  second\tthird\n") == "first second third"


@pytest.mark.parametrize("length", [LONGEST_SENTENCE - 1, LONGEST_SENTENCE])
def test_a_sentence_of_the_longest_length_stays(length: int) -> None:
    assert redact("x" * length) == "x" * length


def test_a_longer_sentence_is_cut_and_shows_it() -> None:
    cut = redact("x" * (LONGEST_SENTENCE + 1))
    assert len(cut) == LONGEST_SENTENCE
    assert cut.endswith("x…")


@given(before=st.text(max_size=600), local=SECRET, after=st.text(max_size=20))
def test_no_address_survives_wherever_it_stands(before: str, local: str, after: str) -> None:
    assert f"{local}@example.test" not in redact(f"{before} {local}@example.test {after}")


@given(scheme=st.sampled_from(["https", "smtp", "postgresql+psycopg"]), password=SECRET)
def test_no_password_of_a_url_survives(scheme: str, password: str) -> None:
    assert password not in redact(f"cannot reach {scheme}://user:{password}@host/path")


@given(secret=SECRET)
def test_no_token_survives(secret: str) -> None:
    assert f"ec_pat_{secret}" not in redact(f"sent ec_pat_{secret} to the site")


@given(st.text())
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cc", "Cs"])))
def test_what_no_database_can_store_is_left_out(text: str) -> None:
    kept = redact(f"refused{text}")
    assert kept.isprintable()
    assert kept.encode()


def test_an_error_says_what_it_says() -> None:
    assert describe_error(RuntimeError("no route to ada@example.test")) == "no route to <address>"


def test_an_error_without_words_is_named_by_its_type() -> None:
    assert describe_error(TimeoutError()) == "TimeoutError"
    assert describe_error(ValueError(" \n")) == "ValueError"


def test_an_address_with_a_quoted_local_part_is_an_address_too() -> None:
    assert "ada" not in redact('550 <"ada lind"@example.test> unknown')
