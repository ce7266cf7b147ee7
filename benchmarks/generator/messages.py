"""Decoding of the messages that the generator's clients receive."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from attrs import define

from benchmarks.generator.client import FIRST_CLIENT_ID
from canvas_collab.protocol import awareness
from canvas_collab.protocol.lib0 import Decoder, encode_var_string, encode_var_uint
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms.awareness import CLOCK_OFFSET


class Control(enum.Enum):
    """Messages that concern the connection rather than other clients' updates."""

    NONE = enum.auto()
    SYNC_STEP_2 = enum.auto()
    AUTHENTICATED = enum.auto()
    DENIED = enum.auto()


@define
class Message:
    """A decoded message.  Clients are identified by their number in the generator.

    :ivar edits: for each range of structs, its client and the clocks at which it starts and ends.
    :ivar cursors: for each awareness entry, its client, its clock, and the entry as it was encoded.
    :ivar clock_offset: how far the server has moved the clocks of `cursors` ahead of those that their clients sent;
        already subtracted from the clocks here.
    """

    control: Control = Control.NONE
    edits: Sequence[tuple[int, int, int]] = ()
    cursors: Sequence[tuple[int, int, bytes]] = ()
    clock_offset: int = 0


class MessageDecoder:
    """Decodes messages, each content once: the clients of a room mostly receive the same bytes."""

    def __init__(self, clients: int, hocuspocus: bool) -> None:
        """:param clients: the number of clients in the generator; entries of any others are left out.
        :param hocuspocus: whether messages start with the name of their document.
        """
        self._clients = clients
        self._hocuspocus = hocuspocus
        self._decoded: dict[bytes, Message] = {}

    def decode(self, payload: bytes) -> Message:
        """Decode the payload of a WebSocket message."""
        message = self._decoded.get(payload)
        if message is None:
            message = self._decoded[payload] = self._decode(payload)
        return message

    def _decode(self, payload: bytes) -> Message:
        decoder = Decoder(payload)
        if self._hocuspocus:
            decoder.var_bytes()
        kind, step = decoder.var_uint(), payload[decoder.position] if decoder.remaining else None
        if kind == 0 and step in (1, 2):
            decoder.var_uint()
            edits = self._edits(decoder.var_bytes())
            return Message(Control.SYNC_STEP_2 if step == 1 else Control.NONE, edits)
        if kind == 1:
            cursors = self._cursors(decoder.var_bytes())
            # Other servers pass clocks on unchanged.
            offset = CLOCK_OFFSET if cursors and cursors[0][1] > CLOCK_OFFSET else 0
            return Message(
                cursors=[(number, clock - offset, entry) for number, clock, entry in cursors], clock_offset=offset
            )
        if kind == 2 and self._hocuspocus:
            return Message({1: Control.DENIED, 2: Control.AUTHENTICATED}.get(step or 0, Control.NONE))
        return Message()

    def _edits(self, update: bytes) -> list[tuple[int, int, int]]:
        return [
            (client_id - FIRST_CLIENT_ID, run.clock, run.end)
            for client_id, runs in decode_update(update).runs.items()
            if 0 <= client_id - FIRST_CLIENT_ID < self._clients
            for run in runs
        ]

    def _cursors(self, payload: bytes) -> list[tuple[int, int, bytes]]:
        return [
            (
                entry.client_id - FIRST_CLIENT_ID,
                entry.clock,
                encode_var_uint(entry.client_id) + encode_var_uint(entry.clock) + encode_var_string(entry.state),
            )
            for entry in awareness.decode(payload)
            if 0 <= entry.client_id - FIRST_CLIENT_ID < self._clients and not entry.has_left
        ]
