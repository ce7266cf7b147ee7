"""Better Auth in a Node process, and users who sign in with it."""

from __future__ import annotations

import json
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.databases import SECRET, TestDatabase, User

#: The URL of the application.
SITE = "http://localhost:3000"
PASSWORD = "correct horse battery staple"


class BetterAuth:
    """The Node process, ``tests/node/better_auth.mjs``: calling it sends a message and returns the answer."""

    def __init__(self, node: str, program: Path) -> None:
        self._process = subprocess.Popen([node, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout

    def __call__(self, **message: Any) -> Any:
        self._in.write(json.dumps(message).encode() + b"\n")
        self._in.flush()
        readable, _, _ = select.select([self._out], [], [], 30)
        assert readable, "Better Auth did not answer within 30 s"
        line = self._out.readline()
        assert line, f"Better Auth ended with {self._process.wait(10)}"
        answer = json.loads(line)
        assert "ok" in answer, answer["error"]
        return answer["ok"]

    def stop(self) -> None:
        """End the process."""
        self._in.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._out.close()


@dataclass(frozen=True)
class Person:
    """A user who has signed in.

    :ivar set_auth_token: the header ``set-auth-token`` of the response: the signed token.
    :ivar set_cookie: its header ``set-cookie`` with the session.
    """

    user: User
    set_auth_token: str
    set_cookie: str

    @property
    def token(self) -> str:
        """The session token, without a signature."""
        return self.user.token

    @property
    def cookie(self) -> str:
        """A ``Cookie`` header with the session."""
        return self.set_cookie.split(";")[0]

    @property
    def cookie_name(self) -> str:
        return self.cookie.split("=", 1)[0]

    @property
    def cookie_value(self) -> str:
        return self.cookie.split("=", 1)[1]

    @property
    def signature(self) -> str:
        """The signature in the cookie."""
        return unquote(self.cookie_value).rpartition(".")[2]


class Application:
    """An application with its own instance of Better Auth on a database."""

    def __init__(self, better_auth: BetterAuth, database: TestDatabase, **options: Any) -> None:
        self._better_auth = better_auth
        self.database = database
        better_auth(open=database.url, databaseUrl=database.url, **{"secret": SECRET, "baseURL": SITE, **options})
        better_auth(migrate=database.url)

    def _post(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        answer = self._better_auth(handle=self.database.url, method="POST", path=path, body=body, headers=headers)
        assert answer["status"] == 200, answer
        return dict(answer)

    def _person(self, name: str, answer: dict[str, Any]) -> Person:
        set_cookie = next(header for header in answer["setCookie"] if "session_token=" in header)
        body, set_auth_token = answer["body"], answer["headers"]["set-auth-token"]
        return Person(User(str(body["user"]["id"]), name, body["token"]), set_auth_token, set_cookie)

    def sign_up(self, name: str) -> Person:
        """Create an account, and sign in."""
        body = {"name": name, "email": f"{name}@example.org", "password": PASSWORD}
        return self._person(name, self._post("/api/auth/sign-up/email", body))

    def sign_in(self, name: str, *, remember: bool = True) -> Person:
        """Sign in once more.

        :param remember: whether the cookie outlives the browser.
        """
        body = {"email": f"{name}@example.org", "password": PASSWORD, "rememberMe": remember}
        return self._person(name, self._post("/api/auth/sign-in/email", body))

    def sign_out(self, person: Person) -> None:
        """End a session."""
        self._post("/api/auth/sign-out", {}, cookie=person.cookie)

    def close(self) -> None:
        """Close the instance."""
        self._better_auth(close=self.database.url)
