"""A Node program that makes histories with Yjs, asks a question about each, and checks the answers."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def converse(command: Sequence[str], answer: Callable[[dict[str, Any]], Mapping[str, bytes]]) -> dict[str, Any]:
    """Run a program, answer each line of JSON that it writes, and return its last one, which has its ``problems``.

    :param answer: takes a question; the updates that it returns are sent in base64.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        for line in node.stdout:
            message: dict[str, Any] = json.loads(line)
            if "problems" in message:
                return message
            updates = {name: b64encode(data).decode() for name, data in answer(message).items()}
            print(json.dumps(updates), file=node.stdin)
            node.stdin.flush()
    raise AssertionError(f"{command[1]} ended without a result")
