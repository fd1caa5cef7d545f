"""A headless Chromium that tests drive over a pipe, and the pages it is shown."""

import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 60.0
"""Longest silence of the browser before a test fails; it answers in milliseconds, on a busy machine in seconds."""


class Chromium:
    """A browser process, spoken to in the DevTools protocol: JSON messages parted by NUL on file descriptors 3 and 4.

    Source: https://chromedevtools.github.io/devtools-protocol, and --remote-debugging-pipe of Chromium.
    """

    def __init__(self, program: str, profile: str) -> None:
        """Start it; no name resolves, so that a page that asks the network is refused as well as noticed."""
        options = [
            "--headless=new",
            "--no-sandbox",  # the tests may run as root
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--no-first-run",
        ]
        (their_in, self._out), (self._in, their_out) = os.pipe(), os.pipe()
        # Above the numbers they are moved to, so that neither move closes the other.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (their_in, their_out)]
        actions = [
            (os.POSIX_SPAWN_DUP2, theirs[0], 3),
            (os.POSIX_SPAWN_DUP2, theirs[1], 4),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        self._process = os.posix_spawn(program, [program, *options], dict(os.environ), file_actions=actions)
        for end in (their_in, their_out, *theirs):
            os.close(end)
        self._received, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """Call a method and return its result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method: str) -> None:
        """Wait for an event."""
        while not any(event["method"] == method for event in self.events):
            self.events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._in], [], [], WAIT_S)
            assert ready, f"the browser said nothing for {WAIT_S} s"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser ended"
            self._received += part
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        """End the process."""
        os.close(self._out)  # it ends when its pipe does
        os.close(self._in)
        os.kill(self._process, signal.SIGTERM)
        os.waitpid(self._process, 0)


class Shown:
    """A page in a tab."""

    def __init__(self, browser: Chromium, path: Path, *, width: int, scheme: str, is_open: bool) -> None:
        """Load it and, if asked, open all that opens."""
        self._browser = browser
        browser.events.clear()
        self._target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.send("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = str(attached["sessionId"])
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        self.send("Page.navigate", url=path.as_uri())
        browser.wait_for("Page.loadEventFired")
        if is_open:
            self.run("document.querySelectorAll('details').forEach(part => { part.open = true })")

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method on this tab."""
        return self._browser.send(method, self._session, **parameters)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        text = {"text": "\r"} if key == "Enter" else {"text": key} if key == " " else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    @property
    def requests(self) -> list[str]:
        """Everything the page asked for, itself first."""
        return [str(event["params"]["request"]["url"]) for event in self._of("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """Messages on the console, errors and refusals."""
        found = [
            *self._of("Log.entryAdded"),
            *self._of("Runtime.consoleAPICalled"),
            *self._of("Runtime.exceptionThrown"),
        ]
        return [json.dumps(event["params"]) for event in found]

    def _of(self, method: str) -> list[Mapping[str, Any]]:
        self.run("0")  # events before this answer have arrived
        return [event for event in self._browser.events if event["method"] == method]

    def close(self) -> None:
        """Close the tab."""
        self._browser.send("Target.closeTarget", targetId=self._target)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """Return a running browser; skip where none is installed."""
    program = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not program:
        pytest.skip("no chromium on the path (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="chromium_", ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, profile)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def show(chromium: Chromium) -> Iterator[Any]:
    """Return a function that shows a page: ``show(path, width=360, scheme="dark")``."""
    shown: list[Shown] = []

    def call(path: Path, *, width: int = 1280, scheme: str = "light", is_open: bool = True) -> Shown:
        shown.append(Shown(chromium, path, width=width, scheme=scheme, is_open=is_open))
        return shown[-1]

    yield call
    for page in shown:
        page.close()
