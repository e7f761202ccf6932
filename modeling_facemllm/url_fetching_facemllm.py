"""The bytes at an `http(s)` URL, within limits of time and size, and never from where a stranger points.

The standard library's client does it: of the others, some releases of transformers bring httpx and some requests.
"""

import contextlib
import gzip
import http.client
import io
import ipaddress
import re
import socket
import threading
import time
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

FETCH_TIMEOUT = 60.0
"""Seconds that a URL may take in all: from the address to the last byte, redirects included."""
MAX_BYTES = 64 * 2**20
"""Bytes of an encoded picture: of a file, of a URL's body, also once it is decompressed, or of base64."""

_SAFE = "!#$%&'()*+,/:;=?@[]~"  # what RFC 3986 lets stand in a URL, `%` for what is quoted already


class _Guard:
    """What one fetch may do, its redirects included; it ends the connection when the time is over.

    `own_host` is the host that the caller named, which may be on a private network; None where a stranger named it.
    """

    def __init__(self, timeout: float, own_host: str | None):
        self.ends, self.own_host = time.monotonic() + timeout, own_host
        proxies = (proxy for scheme, proxy in urllib.request.getproxies().items() if scheme != "no")
        self._proxies = {urlsplit(proxy if "//" in proxy else f"//{proxy}").hostname for proxy in proxies}
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(timeout, self._close)
        self._timer.daemon = True

    def __enter__(self) -> "_Guard":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def is_late(self) -> bool:
        return time.monotonic() >= self.ends

    def check_host(self, host: str | None) -> None:
        """Refuse a name or number that says of itself that it is on a private network."""
        if host == self.own_host:
            return
        try:
            private = _is_private(host or "")
        except ValueError:  # a name: its address is looked at when it is known
            private = host in (None, "", "localhost")
        if private:
            raise ValueError(f"{host} is on a private network, and nobody here named it")

    def check_peer(self, connection: http.client.HTTPConnection) -> None:
        """The same for the address that a name turned out to have; a proxy is the caller's own choice."""
        self._socket = connection.sock
        if connection.host not in (self.own_host, *self._proxies) and _is_private(connection.sock.getpeername()[0]):
            connection.close()
            raise ValueError(f"{connection.host} is on a private network, and nobody here named it")

    def _close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever reads from it


def fetch(
    url: str, *, timeout: float = FETCH_TIMEOUT, max_bytes: int = MAX_BYTES, private_hosts: bool = True
) -> bytes:
    """The body at a URL; blanks and letters beyond ASCII in it are quoted, compression by gzip is undone.

    Args:
        timeout: seconds that it may take in all.
        max_bytes: bytes that the body may have.
        private_hosts: whether the URL's host may be on a private network: False for a URL that came from a row, a
            list or a page. A redirect to another host never leads there.

    Raises:
        ValueError: whatever is wrong: the address, the host, the answer, its length or its time.
    """
    try:
        address = _quoted(url)
        with _Guard(timeout, urlsplit(address).hostname if private_hosts else None) as guard:
            try:
                return _body(address, guard, timeout, max_bytes)
            except Exception as error:
                if guard.is_late():
                    raise ValueError(f"it takes longer than {timeout:g} s") from error
                raise
    except ValueError:
        raise
    except Exception as error:  # http.client and urllib have many
        raise ValueError(str(error) or type(error).__name__) from error


def without_password(url: str) -> str:
    """A URL as it may be written down: without `user:password@`."""
    return re.sub(r"(?<=//)[^/?#]*@", "***@", url)


def _body(address: str, guard: _Guard, timeout: float, max_bytes: int) -> bytes:
    guard.check_host(urlsplit(address).hostname)
    # Some hosts refuse Python's default agent.
    request = urllib.request.Request(address, headers={"User-Agent": "facemllm", "Accept-Encoding": "identity"})
    handlers = (_Redirects(guard), _Handler(guard), _SecureHandler(guard))
    with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as response:
        promised = int(response.headers.get("Content-Length") or 0)
        if promised > max_bytes:
            raise ValueError(f"it has {promised:,} bytes, more than {max_bytes:,}")
        body = _read(response, guard, max_bytes)
        if len(body) < promised:
            raise ValueError(f"it ends after {len(body):,} of {promised:,} bytes")
        encoding = (response.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return _read(gzip.GzipFile(fileobj=_Compressed(body, guard)), guard, max_bytes)
    if encoding != "identity":
        raise ValueError(f"it is compressed by {encoding[:20]!r}, which was not asked for")
    return body


def _read(source: Any, guard: _Guard, max_bytes: int) -> bytes:
    parts, size = [], 0
    # Not `read`: of a chunk that says that it has -1 bytes it reads all that ever comes.
    while part := source.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise ValueError(f"it has more than {max_bytes:,} bytes")
        if guard.is_late():
            break
    if guard.is_late():  # what was cut off then looks as if it had ended
        raise TimeoutError
    return b"".join(parts)


class _Compressed(io.BytesIO):
    """Bytes of gzip, read in time: those of millions of empty parts decompress to nothing for a minute."""

    def __init__(self, body: bytes, guard: _Guard):
        super().__init__(body)
        self._guard = guard

    def read(self, size: int | None = -1) -> bytes:
        if self._guard.is_late():
            raise TimeoutError
        return super().read(size)


def _quoted(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no http(s) URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user or password in it is not fetched: fetch it yourself, and pass the bytes")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    host = host if parts.port is None else f"{host}:{parts.port}"
    path, query = (re.sub("%(?![0-9A-Fa-f]{2})", "%25", quote(part, _SAFE)) for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, host, path, query, ""))


def _is_private(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return not ip.is_global or ip.is_multicast


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, guard: _Guard):
        self._guard = guard

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        fp.close()  # what else it says may be endless
        address = _quoted(newurl)
        self._guard.check_host(urlsplit(address).hostname)
        return super().redirect_request(req, fp, code, msg, headers, address)


def _guarded(kind: type[http.client.HTTPConnection], guard: _Guard) -> type[http.client.HTTPConnection]:
    class Connection(kind):
        def connect(self) -> None:
            self.timeout = max(guard.ends - time.monotonic(), 0.001)
            super().connect()
            guard.check_peer(self)

    return Connection


class _Handler(urllib.request.HTTPHandler):
    def __init__(self, guard: _Guard):
        super().__init__()
        self._connection = _guarded(http.client.HTTPConnection, guard)

    def http_open(self, req: Any) -> Any:
        return self.do_open(self._connection, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, guard: _Guard):
        super().__init__()
        self._connection = _guarded(http.client.HTTPSConnection, guard)

    def https_open(self, req: Any) -> Any:
        return self.do_open(self._connection, req)
