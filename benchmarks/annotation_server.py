"""The server that `annotation` asks: pictures by GET, and the same valid answer to every question by POST.

    python -m benchmarks.annotation_server FOLDER

It prints its port, and serves the files in FOLDER under their names until it is ended.
"""

import asyncio
import json
import re
import sys
from functools import cache
from pathlib import Path

from datasets_scripts.laion_face.answers import answer_schema


def main() -> None:
    """Serve on any free port of loopback."""
    asyncio.run(_serve(Path(sys.argv[1])))


async def _serve(folder: Path) -> None:
    answer, read = _response(_answer(), "application/json"), cache(lambda name: (folder / name).read_bytes())

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    name = Path(head.split()[1].decode()).name  # numbers of copies: /12/photo.jpg
                    writer.write(_response(read(name), "image/jpeg"))
                else:
                    await reader.readexactly(int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1]))
                    writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=2**20, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def _answer() -> bytes:
    """A chat completion with an answer of the annotator's schema: the first option of every attribute."""
    attributes = answer_schema()["properties"]["attributes"]["properties"]
    content = {
        "caption": "A face in the light of a window. It looks at the camera, and the background is a plain wall.",
        "attributes": {name: entry["enum"][0] for name, entry in attributes.items()},
    }
    message = {"role": "assistant", "content": json.dumps(content)}
    usage = {"prompt_tokens": 1000, "completion_tokens": 400, "total_tokens": 1400}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}).encode()


def _response(body: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


if __name__ == "__main__":
    main()
