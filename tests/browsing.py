"""A headless browser for tests: Debian's Chromium through selenium; a loud skip where either is missing."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1600",
)  # fmt: skip


@contextlib.contextmanager
def browser(*flags: str) -> Iterator[Any]:
    """A fresh browser with a profile of its own, without network."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="NO BROWSER TEST: selenium is not installed")
    where = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in where:
        pytest.skip("NO BROWSER TEST: chromium and chromedriver are not both on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = where[0]
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, *flags, f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(where[1]))
        try:
            yield driver
        finally:
            driver.quit()


def requests_of(driver: Any) -> list[str]:
    """Every address beyond this machine's files that the browser asked for (its own start page is not one)."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("file:", "data:", "chrome"))]


def address_of(path: Path) -> str:
    return path.resolve().as_uri()
