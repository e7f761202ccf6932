"""A web server on loopback with pictures, and with what a list of five years ago finds: gone, silent, forbidden, no
picture."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PictureServer:
    """`pictures` maps a path to the file's bytes. Besides them: `/gone` 404, `/forbidden` 403, `/noai` a
    picture with `X-Robots-Tag: noai`, `/hang` silence, `/page` HTML, `/half` the first half of a picture."""

    def __init__(self, pictures):
        pictures = dict(pictures)
        some = next(iter(pictures.values()))
        self.asked = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                if self.path.startswith("/hang"):
                    time.sleep(8)
                    return
                status, body, headers = 200, pictures.get(self.path), {}
                if self.path.startswith("/noai"):
                    body, headers = some, {"X-Robots-Tag": "noai, noimageai"}
                elif self.path.startswith("/page"):
                    body = b"<html>This domain is for sale</html>"
                elif self.path.startswith("/half"):
                    body = some[: len(some) // 4]
                elif body is None:
                    status, body = (403 if self.path.startswith("/forbidden") else 404), b"no"
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        # a queue of five, the usual length, drops what many threads ask at once
        server = type("Server", (ThreadingHTTPServer,), {"request_queue_size": 128})
        self._server = server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
