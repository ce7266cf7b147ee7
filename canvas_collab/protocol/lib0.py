"""lib0's variable-length encoding, which all Yjs formats are built of.

The format is that of the ``encoding`` and ``decoding`` modules of the npm package ``lib0``: an unsigned integer has
seven bits in each byte, least significant first, and the high bit set if another byte follows; a string or a byte array
is its length as such an integer, then its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from mypy_extensions import i64

#: The largest integer that JavaScript represents exactly; no well-formed message has a larger one.
MAX_SAFE_INTEGER: Final = 2**53 - 1

# The encodings of the integers of one byte.
_ONE_BYTE = [bytes((number,)) for number in range(0x80)]


class Malformed(ValueError):
    """The bytes do not conform to the format; the text says what is wrong."""


class TooLarge(Malformed):
    """Decoding would take more memory than allowed."""


def encode_var_uint(number: int) -> bytes:
    """Encode a non-negative integer.

    :raises ValueError: if `number` is negative or above :data:`MAX_SAFE_INTEGER`.
    """
    if 0 <= number < 0x80:
        return _ONE_BYTE[number]
    if not 0 <= number <= MAX_SAFE_INTEGER:
        raise ValueError(f"{number} is not between 0 and 2**53 - 1")
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_var_uint(data: bytes, position: i64) -> tuple[i64, i64]:
    """Read an unsigned integer of at most 53 bits; returns it and the position after it.

    :raises Malformed: if there is none.
    """
    try:
        byte: i64 = data[position]
        if byte < 0x80:
            return byte, position + 1
        number: i64 = byte & 0x7F
        shift: i64
        for shift in (7, 14, 21, 28, 35, 42, 49):
            position += 1
            byte = data[position]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            number = MAX_SAFE_INTEGER + 1
    except IndexError:
        raise Malformed("the message ends inside an integer") from None
    if number > MAX_SAFE_INTEGER:
        raise Malformed("an integer has more than 53 bits")
    return number, position + 1


def encode_var_bytes(data: bytes) -> bytes:
    """Encode a byte array: its length, then the bytes."""
    return encode_var_uint(len(data)) + data


def encode_var_string(text: str) -> bytes:
    """Encode a string: the byte array of its UTF-8 encoding."""
    return encode_var_bytes(text.encode("utf-8"))


@final
class Decoder:
    """Decodes one message from front to back; every method raises :exc:`Malformed` if the bytes do not allow it."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        #: The position of the next byte to read.
        self.position = 0
        self._end = len(data)

    @property
    def remaining(self) -> int:
        """The number of bytes that have not been read yet."""
        return self._end - self.position

    def var_uint(self) -> int:
        """Read an unsigned integer of at most 53 bits."""
        number, self.position = read_var_uint(self._data, self.position)
        return number

    def byte(self) -> int:
        """Read one byte."""
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        start, self.position = self.position, self.position + size
        if self.position > self._end:
            raise Malformed("the message ends inside a value")
        return self._data[start : self.position]

    def skip(self, size: int) -> None:
        """Skip `size` bytes."""
        self.position += size
        if self.position > self._end:
            raise Malformed("the message ends inside a value")

    def var_int(self) -> int:
        """Read a signed integer: the sign and six bits in the first byte, then seven bits in each byte."""
        byte = self.byte()
        sign = -1 if byte & 0x40 else 1
        number, shift = byte & 0x3F, 6
        while byte >= 0x80:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
        return sign * number

    def var_bytes(self) -> bytes:
        """Read a byte array."""
        length = self.var_uint()
        start = self.position
        stop = start + length
        if stop > self._end:
            raise Malformed("the message ends inside a byte array")
        self.position = stop
        return self._data[start:stop]

    def var_string(self) -> str:
        """Read a UTF-8 string."""
        try:
            return self.var_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("a string is not UTF-8") from error

    def finish(self) -> None:
        """Raise :exc:`Malformed` unless everything has been read."""
        if self.remaining:
            raise Malformed(f"{self.remaining} bytes follow the end of the message")
