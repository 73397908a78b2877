# SPDX-License-Identifier: BSD-3-Clause
"""A page in Chromium, without a network, driven through the WebDriver protocol (W3C)."""
import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import tap

PATIENCE = 300


class Browser:
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

    def dark(self):
        self.call("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "features": [{"name": "prefers-color-scheme", "value": "dark"}]}})

    def screenshot(self, path):
        with open(path, "wb") as f:
            request = urllib.request.Request(self.root + "/screenshot")
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                f.write(base64.b64decode(json.load(answer)["value"]))

    def close(self):
        try:
            urllib.request.urlopen(urllib.request.Request(self.root, method="DELETE"), timeout=PATIENCE).close()
        finally:
            self.driver.kill()
            self.driver.wait()


def opened(path):
    """A report, when it is ready; it has not complained."""
    if not shutil.which("chromedriver") or not shutil.which("chromium"):
        raise tap.Skip("no chromium")
    b = Browser("file://" + path)
    for _ in range(PATIENCE * 10):
        if b.run("return document.documentElement.dataset.ready") == "1":
            break
        time.sleep(0.1)
    errors = [e for e in b.call("/se/log", {"type": "browser"}) if e["level"] == "SEVERE"]
    assert not errors, errors
    return b
