"""What no message, log or file may hold: photographs in base64, keys, and passwords in addresses."""

import os
import re
from urllib.parse import unquote

_LETTER = r"[A-Za-z0-9+/_=%\\-]"  # some servers write \/ for /
_ENCODED = re.compile(  # longer than any word, in one piece or in several
    rf"(?<!{_LETTER}){_LETTER}{{20,}}+(?:[\s,\"']{{1,4}}+{_LETTER}{{20,}}+){{4,}}+"
    rf"|(?<=;base64,){_LETTER}++|{_LETTER}{{100,}}+|{_LETTER}{{60,}}+(?:\s{_LETTER}{{60,}}+){{2,}}+"
)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
MIN_SECRET = 4
"""Characters of a secret that is looked for: a shorter one would be found in every word."""


def hide_encoded(text: str) -> str:
    """The text with `[N characters]` in place of anything encoded, in time that grows with its length."""
    return _ENCODED.sub(lambda found: f"[{len(found[0])} characters]", text)


def hide_values(text: str, *secrets: str) -> str:
    """The text without anything encoded, and with `***` in place of secrets.

    Secrets are those that are given, user names and passwords in addresses, and the passwords of the environment's
    proxies.
    """
    for secret in {*secrets, *_proxy_passwords()}:
        if len(secret) >= MIN_SECRET:
            text = text.replace(secret, "***")
    return _CREDENTIALS.sub("***@", hide_encoded(text))


def _proxy_passwords() -> set[str]:
    found = set()
    for name in _PROXIES:
        for address in (os.environ.get(name, ""), os.environ.get(name.lower(), "")):
            head, _, _ = address.rpartition("@")  # not by `urlsplit`: a wrong address has a password, too
            _, colon, password = head.partition("://")[2].partition(":") if "://" in head else head.partition(":")
            found |= {password, unquote(password)} if colon else set()
    return found
