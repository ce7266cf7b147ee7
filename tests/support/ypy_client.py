"""A y-py client as a program of its own, since y-py aborts its process on what it cannot decode.

Usage: python -m tests.support.ypy_client URL COOKIE. Commands come as JSON lines on stdin, each answered with one:
{"insert": [index, text]} into the text, {"set": [key, value]} in the map, {"push": value} to the array,
{"wait": {"text": …, "map": …, "array": …}} until the document is that; every answer is the content by then.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import y_py

from tests.support.sync_clients import STEP_1, STEP_2, SYNC, RawConnection, read_sync


class YpyClient:
    def __init__(self, connection: RawConnection) -> None:
        self._connection = connection
        self._doc = y_py.YDoc()
        self._text = self._doc.get_text("text")
        self._map = self._doc.get_map("map")
        self._array = self._doc.get_array("array")

    @property
    def content(self) -> dict[str, Any]:
        return {
            "text": str(self._text),
            "map": json.loads(self._map.to_json()),
            "array": json.loads(self._array.to_json()),
        }

    def sync(self) -> None:
        self._connection.send_step_1(y_py.encode_state_vector(self._doc))
        self._connection.receive_until(lambda message: self._handle(message) == STEP_2)

    def run(self, command: dict[str, Any]) -> None:
        if "wait" in command:
            if self.content != command["wait"]:
                self._connection.receive_until(lambda message: self._arrived(message, command["wait"]))
            return
        before = y_py.encode_state_vector(self._doc)
        with self._doc.begin_transaction() as transaction:  # type: ignore[misc, call-arg]
            if "insert" in command:
                self._text.insert(transaction, *command["insert"])
            if "set" in command:
                self._map.set(transaction, *command["set"])
            if "push" in command:
                self._array.append(transaction, command["push"])
        self._connection.send_update(y_py.encode_state_as_update(self._doc, before))

    def _arrived(self, message: bytes, content: dict[str, Any]) -> bool:
        self._handle(message)
        return self.content == content

    def _handle(self, message: bytes) -> int | None:
        if message[0] != SYNC:
            return None
        kind, content = read_sync(message)
        if kind == STEP_1:
            self._connection.send_step_2(y_py.encode_state_as_update(self._doc, content))
        else:
            y_py.apply_update(self._doc, content)
        return kind


def main(url: str, cookie: str) -> None:
    with RawConnection(url, headers={"Cookie": cookie}) as connection:
        client = YpyClient(connection)
        client.sync()
        print(json.dumps(client.content), flush=True)
        for line in sys.stdin:
            client.run(json.loads(line))
            print(json.dumps(client.content), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
