"""Text is read as it is meant, or not at all: never as another alphabet's letters."""

import hashlib

import pytest

from scarnode.dicom.charset import codec_of, decode

HAN, HANGUL, CYRILLIC, UMLAUT, KANJI = "王^小明", "홍^길동", "Иванов^Иван", "Müller^Jörg", "山田^太郎"
KOREAN = b"Hong^Gildong=\x1b$)C" + "洪".encode("euc_kr")

READ = [
    # as the standard wants it
    (HAN, "utf-8", ["ISO_IR 192"]),
    (HAN, "gb18030", ["GB18030"]),
    (HAN, "gbk", ["GBK"]),
    (CYRILLIC, "iso8859_5", ["ISO_IR 144"]),
    (UMLAUT, "latin-1", ["ISO_IR 100"]),
    ("Hélène^Çelik", "latin-1", ["ISO_IR 100"]),
    ("Łukasz^KOZIÓŁ", "iso8859_2", ["ISO_IR 101"]),
    ("Διονυσιος", "iso8859_7", ["ISO_IR 126"]),
    ("قباني^لنزار", "iso8859_6", ["ISO_IR 127"]),
    ("שרון^דבורה", "iso8859_8", ["ISO_IR 138"]),
    ("Çavuş^Işıl", "iso8859_9", ["ISO_IR 148"]),
    ("สมชาย", "tis-620", ["ISO_IR 166"]),
    ("ﾔﾏﾀﾞ^ﾀﾛｳ", "shift_jis", ["ISO_IR 13"]),
    # sets of several bytes declared as if they had one
    (HANGUL, "euc_kr", ["ISO_IR 149"]),
    (HAN, "gb2312", ["ISO_IR 58"]),
    (KANJI, "iso2022_jp", ["ISO_IR 87"]),
    (KANJI, "iso2022_jp", ["ISO_IR 159"]),
    (KANJI, "iso2022_jp", ["ISO_IR 13", "ISO_IR 87"]),
    ("丂", "iso2022_jp_1", ["", "ISO_IR 159"]),
    (HANGUL, "euc_kr", ["ISO 2022 IR 149"]),
    (HANGUL, "euc_kr", ["", "ISO 2022 IR 149"]),
    # misspelt
    (HAN, "utf-8", ["ISO IR 192"]),
    (HAN, "utf-8", ["iso_ir_192"]),
    (HAN, "utf-8", ["UTF-8"]),
    (HAN, "gb18030", ["GB18030", "ISO IR 192"]),
    (CYRILLIC, "iso8859_5", ["ISO-IR 144"]),
    (CYRILLIC, "iso8859_5", ["ISO8859-5"]),
    (CYRILLIC, "cp1251", ["windows-1251"]),
    (CYRILLIC, "koi8-r", ["KOI8-R"]),
    (UMLAUT, "latin-1", ["ISO 2022 IR 100"]),
    (UMLAUT, "latin-1", ["latin_1"]),
    (KANJI, "shift_jis", ["SHIFT_JIS"]),
    (HANGUL, "euc_kr", ["euc-kr"]),
    # the bytes are plainly of another set than is declared, or none is
    (UMLAUT, "utf-8", ["ISO_IR 100"]),
    ("Simões^João", "utf-8", ["ISO_IR 100"]),
    (KANJI, "utf-8", ["ISO_IR 100"]),
    (CYRILLIC, "utf-8", ["ISO_IR 144"]),
    (HAN, "utf-8", ["GB18030"]),
    (HANGUL, "utf-8", ["ISO_IR 149"]),
    (UMLAUT, "utf-8", []),
    (UMLAUT, "utf-8", ["KLINGON"]),
    (UMLAUT, "latin-1", []),
    (UMLAUT, "latin-1", ["ISO 2022 IR 6"]),
    (UMLAUT, "latin-1", ["ISO_IR 192"]),
    (KANJI, "iso2022_jp", []),
    ("Doe^Jane", "ascii", ["KLINGON"]),
]


@pytest.mark.parametrize(("text", "codec", "declared"), READ)
def test_what_is_plain_is_read(text, codec, declared):
    assert decode(text.encode(codec), declared) == text


@pytest.mark.parametrize("repeated", [b"^\x1b$)C", b"^"], ids=["by the standard", "designated once"])
@pytest.mark.parametrize("declared", [["", "ISO 2022 IR 149"], ["", "ISO_IR 149"], []])
def test_text_that_switches_between_sets(declared, repeated):
    assert decode(KOREAN + repeated + "吉洞".encode("euc_kr"), declared) == "Hong^Gildong=洪^吉洞"


NOT_READ = [
    (CYRILLIC, "iso8859_5", ["ISO 2022 IR 6, IS"]),
    (CYRILLIC, "iso8859_5", ["KLINGON"]),
    (CYRILLIC, "iso8859_5", []),
    (CYRILLIC, "iso8859_5", ["ISO_IR 6"]),
    (CYRILLIC, "iso8859_5", ["ISO_IR 100"]),
    (CYRILLIC, "cp1251", ["ISO_IR 100"]),
    (CYRILLIC, "koi8-r", ["ISO_IR 192"]),
    ("Διονυσιος", "iso8859_7", ["ISO_IR 100"]),
    (HAN, "gb18030", []),
    (HAN, "gb18030", ["ISO_IR 100"]),
    (HANGUL, "euc_kr", ["ISO_IR 100"]),
    (HANGUL, "euc_kr", ["ISO_IR 192"]),
    (KANJI, "euc_jp", ["ISO_IR 87"]),
    ("Łódź", "iso8859_2", []),
    ("Hélène", "latin-1", []),  # "Hélčne" in Latin-2
    (HAN, "utf-16", ["utf_16"]),
]


@pytest.mark.parametrize(("text", "codec", "declared"), NOT_READ)
def test_what_nobody_can_tell_is_no_text(text, codec, declared):
    assert decode(text.encode(codec), declared) is None


def test_an_unknown_escape_sequence_is_no_text():
    assert decode(b"\x1b$)C\xc8", ["", "ISO 2022 IR 149"]) is None
    assert decode(b"A\x1b(Z\xc8", []) is None


def test_any_bytes_under_any_term_are_text_or_none():
    terms = [["ISO_IR 100"], ["ISO_IR 87"], ["", "ISO 2022 IR 149"], ["GB18030"], ["x" * 99], ["\ufffd"], ["punycode"]]
    for number in range(300):
        raw = hashlib.sha512(str(number).encode()).digest()[: 1 + number % 64]
        for declared in terms:
            text = decode(raw + b"\x1b$B" * (number % 3), declared)
            assert text is None or isinstance(text, str)


@pytest.mark.parametrize(
    "name", ["", "utf_7", "idna", "rot13", "zlib", "hex", "unicode_escape", "cp500", "../x", "ISO_IR 999"]
)
def test_only_character_sets_of_headers_are_taken(name):
    assert codec_of(name) == ("ascii" if not name else "")
