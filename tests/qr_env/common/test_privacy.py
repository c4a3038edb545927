"""Masking of personal data, and what shops' queries hold that must stay."""

import stat
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qr_env.common.errors import ConfigError
from qr_env.common.privacy import (
    KEY_FILE,
    has_gtin_check,
    is_card,
    mask_query_texts,
    mask_text,
    open_key,
    passes_luhn,
    pseudonym,
)

PHONES = {
    "Germany": (
        "030 1234567", "0151 23456789", "+49 30 1234567", "0049 30 1234567", "(030) 123456-78", "015112345678",
    ),
    "Austria": ("0664 1234567", "+43 664 1234567"),
    "Switzerland": ("044 668 18 00", "+41 44 668 18 00"),
    "United States": ("555-123-4567", "(555) 123-4567", "555.123.4567", "+1 555 123 4567", "555 123 4567"),
    "United Kingdom": ("020 7946 0958", "07700 900123", "+44 20 7946 0958", "07700900123"),
    "France": ("06 12 34 56 78", "01.42.68.53.00", "+33 6 12 34 56 78"),
    "Spain": ("612 345 678", "+34 612 34 56 78"),
    "Italy": ("347 123 4567", "06 1234 5678", "+39 347 1234567"),
    "India": ("98765 43210", "+91 98765 43210", "+919876543210"),
    "China": ("138 1234 5678", "+86 138 1234 5678"),
    "Japan": ("03-1234-5678", "090-1234-5678", "+81-3-1234-5678"),
    "Brazil": ("(11) 98765-4321", "+55 11 98765-4321"),
    "Mexico": ("55 1234 5678", "+52 55 1234 5678"),
    "Poland": ("512 345 678", "+48 512 345 678"),
    "Australia": ("0412 345 678", "(02) 9374 4000"),
}  # fmt: skip
CARDS = (
    "4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "5555555555554444", "2223003122003222",
    "378282246310005", "3782 822463 10005", "6011111111111117", "3530111333300000", "30569309025904",
    "6200000000000005", "4111.1111.1111.1111",
)  # fmt: skip
STAYS = (
    "navy couch", "10x20x30", "10 x 20 x 30 cm", "2024", "1990 2024", "2020 2021 2022", "19.99 29.99", "1,299.00",
    "0.5 0.25 10.75", "140 200 40", "fitted sheet 90 200 25", "600 400 200 mm", "120 200 300 cm",
    "iphone 12 13 14 15", "sd-2024-0017", "ab1234567890", "036000291452", "4006381333931", "9780306406157",
    "00012345678905", "5901234123457", "73513537", "12345678", "model 20240131", "01.02.2024", "01/02/2024",
    "2024-01-31", "31.12.2024", "m8 100 1000 10000", "100-pack 1000 w", "@home decor", "4k 3840x2160 60",
    "rtx 4090 24 gb 2520 mhz", "500000 1000000 lumen", "price 1000000 2000000", "1234567890123456",
    "192.168.100.100", "6789012",
)  # fmt: skip


@pytest.mark.parametrize(("country", "numbers"), PHONES.items())
def test_phone_numbers_as_countries_write_them_are_masked(country, numbers):
    for number in numbers:
        assert mask_text(f"couch {number} blue") == "couch <phone> blue", (country, number)
        assert mask_text(number) == "<phone>", (country, number)


@pytest.mark.parametrize("number", CARDS)
def test_card_numbers_are_masked(number):
    assert mask_text(f"pay {number} now") == "pay <card> now"
    assert mask_text(f"card:{number}") == "card:<card>"


@pytest.mark.parametrize("text", STAYS)
def test_what_shoppers_type_about_products_stays(text):
    assert mask_text(text) == text


@pytest.mark.parametrize("word", ["tel", "tel.:", "call", "Call me", "whatsapp", "phone:", "Telefon", "handy"])
def test_a_word_that_announces_a_number_is_a_sign(word):
    assert mask_text(f"{word} 9876543210") == f"{word} <phone>"


@pytest.mark.parametrize(
    "address", ["bob@mail.de", "b.o-b+shop@sub.mail.co.uk", "BOB@MAIL.COM", "jürgen@müller.de", "x_1@y.museum"]
)
def test_addresses_are_masked(address):
    assert mask_text(f"invoice for {address}, please") == "invoice for <email>, please"


def test_several_in_one_text():
    text = "bob@mail.de 4111111111111111 or +49 30 1234567, size 10x20x30"
    assert mask_text(text) == "<email> <card> or <phone>, size 10x20x30"


def test_masking_is_stable():
    for text in (*CARDS, *STAYS, *(number for numbers in PHONES.values() for number in numbers)):
        once = mask_text(text)
        assert mask_text(once) == once


def test_digits_of_other_scripts_are_read():
    assert mask_text("٠٣٠ ١٢٣٤٥٦٧") == "<phone>"
    assert mask_text("²²²²²²²²²²") == "²²²²²²²²²²"


@given(st.integers(0, 10**11 - 1))
def test_a_upc_is_never_a_card_and_seldom_a_phone(number):
    body = f"{number:011d}"
    code = next(body + str(last) for last in range(10) if has_gtin_check(body + str(last)))
    assert "<card>" not in mask_text(code)
    if not body.startswith(("015", "016", "017", "00")):
        assert mask_text(code) == code


@given(st.integers(10**12, 10**13 - 1))
def test_thirteen_digits_are_an_article_number(number):
    assert mask_text(f"ean {number}") == f"ean {number}"


@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    assert isinstance(mask_text(text), str)


def test_long_hostile_texts_take_no_time():
    for text in (
        "a@" * 50_000,
        "1 " * 50_000,
        "1-" * 50_000,
        "(" * 50_000 + "1" * 50_000,
        "a" * 100_000 + "@" + "b." * 50_000,
    ):
        started = time.process_time()
        mask_text(text)
        assert time.process_time() - started < 20, text[:10]  # quadratic time would be hours


def test_texts_of_shoppers_are_masked_at_any_depth_and_titles_stay():
    value = {
        "query": "sofa bob@mail.de", "words": [{"word": "bob@mail.de"}], "title": "sofa by bob@mail.de",
        "agents": {"final": {"rewrites": ["couch 030 1234567"], "mean": 0.5}}, "examples": ({"rewrite": "a@b.de"},),
    }  # fmt: skip
    assert mask_query_texts(value) == {
        "query": "sofa <email>", "words": [], "title": "sofa by bob@mail.de",
        "agents": {"final": {"rewrites": ["couch <phone>"], "mean": 0.5}}, "examples": [{"rewrite": "<email>"}],
    }  # fmt: skip
    assert mask_query_texts({"query": "sofa", "words": [1]}) == {"query": "sofa", "words": [1]}


def test_check_digits():
    assert passes_luhn("4111111111111111") and not passes_luhn("4111111111111112")
    assert has_gtin_check("4006381333931") and not has_gtin_check("4006381333932")
    assert not is_card("4111111111111112")


def test_pseudonyms_are_the_same_for_one_key_alone():
    assert pseudonym("client", b"a") == pseudonym("client", b"a") != pseudonym("client", b"b")
    assert pseudonym("", b"a") == ""
    assert pseudonym("\ud800", b"a")


def test_a_folder_keeps_its_key_for_its_owner(tmp_path):
    key = open_key(tmp_path / "log")
    assert open_key(tmp_path / "log") == key != open_key(tmp_path / "other")
    assert stat.S_IMODE((tmp_path / "log" / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "log").iterdir()] == [KEY_FILE]


def test_a_damaged_key_is_refused(tmp_path):
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(ConfigError, match="5 bytes"):
        open_key(tmp_path)


def test_processes_that_open_a_folder_at_once_agree(tmp_path):
    script = f"from qr_env.common.privacy import open_key; print(open_key({str(tmp_path)!r}).hex())"
    started = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in started}) == 1
