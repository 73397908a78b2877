#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The report as a page, in a real browser without a network: it shows what was found, and can be zoomed into."""
import os
import shutil
import subprocess
import tempfile
import time

import browser
import tap

PINFOLD, GOLDEN = os.environ["PINFOLD"], os.environ["GOLDEN"]
WORK = tempfile.TemporaryDirectory(prefix="pinfold-page-")
PATIENCE = 120


def page_of(*classes):
    if not shutil.which("chromedriver") or not shutil.which("chromium"):
        raise tap.Skip("no chromium")
    disk, report = os.path.join(WORK.name, "disk.img"), os.path.join(WORK.name, f"report-{time.monotonic_ns()}.html")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    script = "; ".join(os.path.join(GOLDEN, c) for c in classes) or "true"
    subprocess.run([PINFOLD, "run", f"--report={report}", "-d", f"nvme,path={disk}", "--", "sh", "-c", script],
                   stderr=subprocess.DEVNULL, timeout=PATIENCE, check=True)
    return browser.opened(report)


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


KEYS = """
const c = document.getElementById('map'), key = k => c.dispatchEvent(new KeyboardEvent('keydown', {key: k}));
const whole = +c.dataset.span, row = document.querySelector('tr.finding'), more = row.nextSibling;
const was = more.hidden;
c.focus();
key('+');
const near = +c.dataset.span;
key('0');
row.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));
return [document.activeElement === c, near < whole, +c.dataset.span === whole, more.hidden !== was, row.tabIndex === 0];
"""
FILTER = """
const seen = () => [...document.querySelectorAll('tr.finding')].filter(r => r.offsetParent).length;
const all = seen(), chip = document.querySelector('#classes button');
chip.click();
const some = seen(), pressed = chip.getAttribute('aria-pressed');
chip.click();
return [all, some, pressed, seen()];
"""
# How far the text is from what is behind it (WCAG 2.1, contrast ratio).
CONTRAST = """
const linear = x => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
const light = c => c.match(/[0-9]+/g).slice(0, 3).map(linear).reduce((n, x, i) => n + x * [.2126, .7152, .0722][i], 0);
const back = light(getComputedStyle(document.body).backgroundColor);
return [...document.querySelectorAll('p, td, th, h2, .dim')].map(e => light(getComputedStyle(e).color))
	.map(l => (Math.max(l, back) + .05) / (Math.min(l, back) + .05)).reduce((a, b) => Math.min(a, b));
"""


def test_keys_classes_and_colours():
    b = page_of("dma-use-after-unmap", "device-protocol", "dma-unmapped")
    try:
        assert b.run(KEYS) == [True] * 5, b.run(KEYS)
        assert b.run(FILTER) == [3, 1, "true", 3]
        assert b.run(CONTRAST) > 4.5
        b.dark()
        assert b.run("return getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
        assert b.run(CONTRAST) > 4.5
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
