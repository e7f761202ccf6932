"""What is fetched from a URL, and what is not, from real servers on loopback."""

import contextlib
import gzip
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modeling_facemllm.url_fetching_facemllm import fetch, without_password

BODY = b"a picture " * 100


class Server:
    """Loopback, by the two names of one machine: what a redirect calls `localhost` is another host than 127.0.0.1."""

    def __init__(self):
        server = self
        self.paths, self.ended = [], threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.paths.append(self.path)
                answer = getattr(server, "do_" + self.path.strip("/").partition("?")[0].partition("%")[0], None)
                if answer is None:
                    server.send(self, BODY)
                else:
                    answer(self)

            def log_message(self, *args):
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"

    def send(self, request, body, status=200, **headers):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    def do_gzip(self, request):
        self.send(request, gzip.compress(BODY), Content_Encoding="gzip")

    def do_bomb(self, request):
        self.send(request, gzip.compress(bytes(10**7)), Content_Encoding="gzip")

    def do_unasked(self, request):
        self.send(request, BODY, Content_Encoding="br")

    def do_short(self, request):
        self.send(request, BODY, Content_Length=str(len(BODY) + 1))

    def do_promised(self, request):
        self.send(request, b"", Content_Length=str(10**12))

    def do_endless(self, request):
        self.send(request, BODY)
        while not self.ended.is_set():
            request.wfile.write(bytes(1 << 16))

    def do_negative(self, request):
        self.send(request, b"-1\r\n", Transfer_Encoding="chunked")
        with contextlib.suppress(OSError):
            for _ in range(1000):
                request.wfile.write(bytes(1 << 16))

    def do_parts(self, request):
        self.send(request, gzip.compress(b"") * 500_000, Content_Encoding="gzip")

    def do_drips(self, request):
        self.send(request, b"")
        while not self.ended.wait(0.05):
            request.wfile.write(b".")
            request.wfile.flush()

    def do_heads(self, request):
        while not self.ended.wait(0.05):
            request.wfile.write(b"H")
            request.wfile.flush()

    def do_garbage(self, request):
        request.wfile.write(b"GARBAGE\r\n\r\n")

    def do_closes(self, request):
        request.connection.close()

    def do_loop(self, request):
        self.send(request, b"", 302, Location="/loop")

    def do_same(self, request):
        self.send(request, b"", 302, Location="/two words.png")

    def do_elsewhere(self, request):
        self.send(request, b"", 302, Location=f"http://localhost:{self.httpd.server_port}/reached")

    def do_file(self, request):
        self.send(request, b"", 302, Location="file:///etc/passwd")

    def do_ftp(self, request):
        self.send(request, b"", 302, Location="ftp://127.0.0.1/a")


@pytest.fixture
def server():
    server = Server()
    yield server
    server.ended.set()
    server.httpd.shutdown()
    server.httpd.server_close()


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("two words.png", "/two%20words.png"),
        ("two%20words.png", "/two%20words.png"),
        ("peñoles.png", "/pe%C3%B1oles.png"),
        ("顔.png", "/%E9%A1%94.png"),
        ("100%.png", "/100%25.png"),
        ("a.png?a=b c&d=é#end", "/a.png?a=b%20c&d=%C3%A9"),
    ],
)
def test_blanks_and_letters_beyond_ascii_are_quoted(server, path, asked):
    assert fetch(f"{server.url}/{path}") == BODY
    assert server.paths == [asked]


def test_gzip_is_undone(server):
    assert fetch(f"{server.url}/gzip") == BODY


def test_a_redirect_on_the_same_host_is_followed(server):
    assert fetch(f"{server.url}/same") == BODY


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("short", "1,000 of 1,001 bytes"),
        ("promised", "1,000,000,000,000 bytes"),
        ("endless", "more than 100,000 bytes"),
        ("negative", "more than 100,000 bytes"),
        ("bomb", "more than 100,000 bytes"),
        ("unasked", "'br'"),
        ("garbage", "GARBAGE"),
        ("closes", ""),
        ("loop", "302"),
        ("elsewhere", "localhost is on a private network"),
        ("file", ""),
        ("ftp", "http"),
    ],
)
def test_whatever_the_answer_the_error_is_a_value_error(server, path, reason):
    with pytest.raises(ValueError, match=reason):
        fetch(f"{server.url}/{path}", timeout=20, max_bytes=100_000)
    assert "/reached" not in server.paths


@pytest.mark.parametrize("path", ["drips", "heads"])
def test_the_time_counts_from_the_address_to_the_last_byte(server, path):
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"0\.5 s"):
        fetch(f"{server.url}/{path}", timeout=0.5)
    assert time.monotonic() - began < 5


def test_the_time_counts_while_a_body_is_decompressed(server):
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"0\.5 s"):
        fetch(f"{server.url}/parts", timeout=0.5)
    assert time.monotonic() - began < 2


def test_a_host_on_a_private_network_is_fetched_from_only_where_the_caller_named_it(server):
    port = server.httpd.server_port
    assert fetch(f"http://localhost:{port}/") == BODY
    asked = len(server.paths)
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1"):
        with pytest.raises(ValueError, match=r"private network|refused"):
            fetch(f"http://{host}:{port}/", private_hosts=False, timeout=5)
    assert len(server.paths) == asked


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a.example/1.jpg",
        "http:///1.jpg",
        "http://[::1/1.jpg",
        "http://a.example:99999/",
        "x",
    ],
)
def test_what_is_no_http_url_is_refused(url):
    with pytest.raises(ValueError, match=r"\w"):
        fetch(url)


def test_a_password_in_a_url_is_neither_sent_nor_shown():
    with pytest.raises(ValueError, match="password") as caught:
        fetch("http://me:secret@127.0.0.1:1/a.jpg")
    assert "secret" not in str(caught.value)
    assert without_password("http://me:secret@a.example/b@c.jpg") == "http://***@a.example/b@c.jpg"


def test_a_proxy_on_a_private_network_is_the_callers_choice(server, monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", server.url)
    assert fetch("http://a.example/1.jpg", private_hosts=False) == BODY
    assert server.paths == ["http://a.example/1.jpg"]
    with pytest.raises(ValueError, match="private network"):
        fetch("http://10.0.0.1/1.jpg", private_hosts=False)


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ValueError, match="refused"):
        fetch(f"http://127.0.0.1:{port}/")
