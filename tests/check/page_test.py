#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The report as a page, in a real browser without a network: it shows what was found, and can be zoomed into."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import tap

PINFOLD, GOLDEN = os.environ["PINFOLD"], os.environ["GOLDEN"]
WORK = tempfile.TemporaryDirectory(prefix="pinfold-page-")
PATIENCE = 120


class Browser:
    """A page in Chromium, driven through the WebDriver protocol (W3C)."""

    def __init__(self, url):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        line = next(l for l in self.driver.stdout if "started successfully on port" in l)
        port = line.split("port ")[-1].strip(" .\n")
        self.root = f"http://127.0.0.1:{port}"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,1400",
                   "--host-resolver-rules=MAP * ~NOTFOUND"]
        made = self.call("/session", {"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": options, "binary": shutil.which("chromium")},
            "goog:loggingPrefs": {"browser": "ALL"}}}})
        self.root += "/session/" + made["sessionId"]
        self.call("/url", {"url": url})

    def call(self, path, body):
        request = urllib.request.Request(self.root + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError(e.read().decode()) from e

    def run(self, script):
        return self.call("/execute/sync", {"script": script, "args": []})

    def close(self):
        try:
            urllib.request.urlopen(urllib.request.Request(self.root, method="DELETE"), timeout=PATIENCE).close()
        finally:
            self.driver.kill()
            self.driver.wait()


def page_of(*classes):
    if not shutil.which("chromedriver") or not shutil.which("chromium"):
        raise tap.Skip("no chromium")
    disk, report = os.path.join(WORK.name, "disk.img"), os.path.join(WORK.name, f"report-{time.monotonic_ns()}.html")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    script = "; ".join(os.path.join(GOLDEN, c) for c in classes) or "true"
    subprocess.run([PINFOLD, "run", f"--report={report}", "-d", f"nvme,path={disk}", "--", "sh", "-c", script],
                   stderr=subprocess.DEVNULL, timeout=PATIENCE, check=True)
    b = Browser("file://" + report)
    for _ in range(PATIENCE * 10):
        if b.run("return document.documentElement.dataset.ready") == "1":
            break
        time.sleep(0.1)
    errors = [e for e in b.call("/se/log", {"type": "browser"}) if e["level"] == "SEVERE"]
    assert not errors, errors
    return b


def test_shows_what_was_found():
    b = page_of("dma-use-after-unmap", "device-protocol")
    try:
        text = b.run("return document.body.innerText")
        for part in ("2 findings in", "dma-use-after-unmap", "buffer_unmap dma-use-after-unmap.c:", "device-protocol",
                     "ring device-protocol.c:", "0000:01:00.0", "0x1000000", "DMA writes", "1 faults"):
            assert part in text, f"{part!r} is not in {text}"
        assert b.run("return document.querySelectorAll('tr.finding').length") == 2
        assert not b.run("return performance.getEntriesByType('resource').length"), "it loads something"
    finally:
        b.close()


WHEEL = """
const c = document.getElementById('map'), r = c.getBoundingClientRect();
for (let i = 0; i < 8; i++)
    c.dispatchEvent(new WheelEvent('wheel', {deltaY: -1, clientX: r.left + r.width / 2, clientY: r.top + 50,
                                             cancelable: true}));
return +c.dataset.span;
"""
# The middle of something mapped that nothing else is drawn upon is pointed at.
POINT = """
const c = document.getElementById('map'), r = c.getBoundingClientRect(), k = devicePixelRatio;
const middle = q => [(Math.max(q[0], 0) + Math.min(q[2], c.width)) / 2, (q[1] + q[3]) / 2];
const top = (x, y) => hits.findLast(q => x >= q[0] && x <= q[2] && y >= q[1] && y <= q[3]);
const [x, y] = middle(hits.find(q => q[4].va && q[2] - q[0] > 8 && top(...middle(q)) === q));
c.dispatchEvent(new MouseEvent('mousemove', {clientX: r.left + x / k, clientY: r.top + y / k}));
const t = document.getElementById('tip');
return t.style.display + '|' + t.textContent;
"""


def test_zooms_and_tells_who_mapped():
    b = page_of("dma-use-after-unmap")
    try:
        whole = b.run("return +document.getElementById('map').dataset.span")
        assert b.run("return +document.getElementById('map').dataset.drawn") >= 3
        shown, text = b.run(POINT).split("|", 1)
        assert shown == "block" and "-> va 0x" in text and "#1 " in text, text
        assert b.run(WHEEL) < whole / 4
        b.run("document.getElementById('reset').click()")
        assert b.run("return +document.getElementById('map').dataset.span") == whole
    finally:
        b.close()


def test_nothing_found():
    b = page_of()
    try:
        text = b.run("return document.body.innerText")
        for part in ("Nothing was found in", "Nothing was mapped.", "No device did any DMA."):
            assert part in text, f"{part!r} is not in {text}"
    finally:
        b.close()


if __name__ == "__main__":
    tap.main(globals())
