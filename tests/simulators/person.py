"""A person at a browser, who signs in with the local Sigstore; run as a program, it is a browser.

Usage: python -m tests.simulators.person SECRET_FILE IDENTITY URL
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import requests


def sign_in(url: str, *, secret: str, identity: str) -> requests.Response:
    """What comes of filling in the page at an address."""
    page = requests.get(url, timeout=10)
    assert page.status_code == 200
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    action = page.url.partition("?")[0]
    filled = {"secret": secret, "identity": identity}
    return requests.post(action, data=hidden | filled, timeout=10)


if __name__ == "__main__":
    sign_in(sys.argv[3], secret=Path(sys.argv[1]).read_text("utf-8"), identity=sys.argv[2])
