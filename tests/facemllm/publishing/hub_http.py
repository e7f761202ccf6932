"""The loopback Hub's HTTP: routes, bodies by length or in chunks, a note of every request, and faults on demand."""

import json
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

ROUTES = []


class HubError(Exception):
    """An answer other than success, as the Hub gives it: status, its code for clients, and a message."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Message": message, **headers}
        self.headers |= {"X-Error-Code": code} if code else {}


def route(method, pattern):
    def register(function):
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    """Routes requests, notes them, and misbehaves on request; a subclass's functions are made routes by `route`."""

    protocol_version = "HTTP/1.1"

    def answer_request(self):
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.received, self.sent_status, self.lose_answer = 0, None, False
        try:
            self.misbehave()
            for method, pattern, function in ROUTES:
                match = pattern.fullmatch(url.path)
                if match and method == ("GET" if self.command == "HEAD" else self.command):
                    words = match.groupdict().items()
                    function(self, **{key: unquote(word) for key, word in words if word is not None})
                    break
            else:
                raise HubError(404, f"this Hub has no {self.command} {url.path}")
        except HubError as error:
            if error.status != 304:
                self.read_body()
            self.send_json({"error": str(error)}, error.status, error.headers)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            self.server.note({"method": self.command, "path": url.path, "status": self.sent_status}, self.received)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer_request

    def misbehave(self):
        """What a test asked for with `POST /_faults`: a status; half the body, then stall, drop or die; or lose the
        answer to what was done."""
        how = self.server.fault(f"{self.command} {self.path}")
        if how is None:
            return
        if how == "lose":
            self.lose_answer = True
            return
        if how.isdigit():
            raise HubError(int(how), "asked to fail", **({"Retry-After": "1"} if how == "429" else {}))
        self.read_body(stop_at=0.5)
        if how == "stall":
            time.sleep(60)
        if how == "die":
            self.server.note({"method": self.command, "path": self.path, "status": "died"}, self.received)
            os._exit(1)
        self.close_connection = True
        raise ConnectionAbortedError

    def read_body(self, stop_at=1.0, sink=None):
        """The body, by length or in chunks; into `sink` where one is given, up to the share `stop_at`."""
        chunks, parts = [], self._lengths(stop_at)
        for length in parts:
            while length:
                chunk = self.rfile.read(min(length, 2**16))
                if not chunk:
                    raise ConnectionAbortedError
                length -= len(chunk)
                self.received += len(chunk)
                sink.write(chunk) if sink else chunks.append(chunk)
        return b"".join(chunks)

    def _lengths(self, stop_at):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline().split(b";")[0], 16):
                yield length
                self.rfile.readline()
            self.rfile.readline()
        elif not getattr(self, "body_read", False):
            self.body_read = stop_at == 1.0
            yield int(int(self.headers.get("Content-Length", 0)) * stop_at)

    def parse_request(self):
        self.body_read = False  # a connection serves many requests
        return super().parse_request()

    def read_json(self):
        return json.loads(self.read_body() or b"{}")

    def send(self, body, status=200, headers=None, size=None):
        self.sent_status = status
        if self.lose_answer:
            raise ConnectionAbortedError
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value, status=200, headers=None):
        self.send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    @route("POST", "/_faults")
    def add_fault(self):
        self.server.faults.append(self.read_json())
        self.send_json({})

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, root: Path, port: int, handler: type[Handler]):
        self.root = root
        self.lock = threading.Lock()
        self.faults: list[dict] = []  # {"match": regex of "METHOD /path", "skip": 2, "times": 1, "how": "drop"}
        super().__init__(("127.0.0.1", port), handler)

    def fault(self, request: str) -> str | None:
        with self.lock:
            for fault in self.faults:
                if re.search(fault["match"], request) and fault.get("times", 1):
                    if fault.get("skip", 0):
                        fault["skip"] -= 1
                    else:
                        fault["times"] = fault.get("times", 1) - 1
                        return str(fault["how"])
        return None

    def note(self, request: dict, received: int) -> None:
        with self.lock, open(self.root / "requests.ndjson", "a") as file:
            file.write(json.dumps({**request, "received": received}) + "\n")
