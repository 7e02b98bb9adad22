"""Reading of the user's texts, the same for training and prediction."""

import codecs
import pathlib
import unicodedata

from ...errors import UserError

# Byte order marks. UTF-32 comes first: its mark starts with that of UTF-16.
ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: pathlib.Path) -> str:
    """Returns the text of a file; see `decode_text`.

    Raises:
        UserError: the file cannot be read or decoded; names the line.
    """
    return decode_text(_read_bytes(path), str(path))


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def decode_text(content: bytes, name: str) -> str:
    """Returns bytes as text: UTF-8, or UTF-16 or UTF-32 if they start with a byte order mark.

    Args:
        content: the bytes.
        name: where they come from, for error messages.

    Raises:
        UserError: they cannot be decoded, or contain NUL characters; names the line.
    """
    encoding = next((value for mark, value in ENCODINGS.items() if content.startswith(mark)), None)
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        kind = (encoding or "utf-8").removesuffix("-sig").upper()
        raise UserError(
            f"{name}, line {line}: not valid {kind} (byte {content[error.start]:#04x}). Save the "
            "file as UTF-8."
        ) from error
    if "\0" in text:
        raise UserError(
            f"{name}, line {text[: text.index(chr(0))].count(chr(10)) + 1}: contains a NUL "
            "character. Save the file as UTF-8 text."
        )
    return text


def split_lines(text: str) -> list[str]:
    """Returns the lines of a text, which end in LF, CRLF or CR, as in tables.

    Unlike in `str.splitlines`, other separators such as U+2028 do not end a line.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_lines(path: pathlib.Path) -> list[str]:
    """Returns the lines of a file that are not blank.

    Raises:
        UserError: the file cannot be read or decoded.
    """
    return content_lines(_read_bytes(path), str(path))


def content_lines(content: bytes, name: str) -> list[str]:
    """Returns the lines of a file's content that are not blank; see `decode_text`."""
    return [line for line in split_lines(decode_text(content, name)) if line.strip()]


def clean_text(text: str) -> str:
    """Returns a text in Unicode's composed form (NFC), without surrounding whitespace.

    Some systems encode "é" as one character, others as two, which a model would not recognize.
    """
    return unicodedata.normalize("NFC", text.strip())


def clean_argument(text: str) -> str:
    """Returns a text from the command line, cleaned like texts for training.

    Raises:
        UserError: it is not valid UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{text!a} is not valid UTF-8. Pass UTF-8 text.") from error
    return clean_text(text)
