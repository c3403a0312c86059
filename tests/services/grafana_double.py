"""A server that speaks as much of Grafana's HTTP API as a push needs, with its ways of refusing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_double"
VIEWER = "glsa_viewer"


@dataclass
class Grafana:
    """What the server holds. ``prefix``: the path that Grafana is served under."""

    prefix: str = ""
    url: str = ""
    failing: bool = False
    folders: dict[str, str] = field(default_factory=dict)
    """Title by uid."""
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By uid: model, folder, version."""

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/api/folders":
            listed = enumerate(self.folders.items(), 1)
            return 200, [{"id": n, "uid": uid, "title": title} for n, (uid, title) in listed]
        return 404, {"message": "Not found"}

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        if path == "/api/folders":
            uid = f"folder{len(self.folders)}"
            self.folders[uid] = body["title"]
            return 200, {"id": len(self.folders), "uid": uid, "title": body["title"]}
        if path == "/api/dashboards/db":
            return self.save(body)
        return 404, {"message": "Not found"}

    def save(self, body: Any) -> tuple[int, Any]:
        model = body["dashboard"]
        folder = body.get("folderUid", "")
        if folder and folder not in self.folders:
            return 400, {"message": "folder not found"}
        if not model.get("title"):
            return 400, {"message": "Dashboard title cannot be empty"}
        if model.get("id") is not None:
            return 404, {"message": "Dashboard not found", "status": "not-found"}
        uid = model.get("uid") or f"made{len(self.dashboards)}"
        known = self.dashboards.get(uid)
        twins = [
            other
            for other, held in self.dashboards.items()
            if other != uid and (held["folder"], held["model"]["title"]) == (folder, model["title"])
        ]
        if (known or twins) and not body.get("overwrite"):
            return 412, {"message": "A dashboard of the same name exists", "status": "name-exists"}
        version = known["version"] + 1 if known else 1
        self.dashboards[uid] = {"model": model, "folder": folder, "version": version}
        slug = model["title"].lower().replace(" ", "-")
        url = f"{self.prefix}/d/{uid}/{slug}"
        return 200, {"uid": uid, "url": url, "status": "success", "version": version}


@contextmanager
def grafana(prefix: str = "") -> Iterator[Grafana]:
    """A Grafana on a loopback port."""
    state = Grafana(prefix)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}{prefix}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def refused(
    state: Grafana, path: str, headers: Message, *, writing: bool = False
) -> tuple[int, Any] | None:
    """Why a request is not answered, if it is not."""
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    if state.failing:
        return 500, {"message": "Internal server error"}
    if not path.startswith(f"{state.prefix}/"):
        return 404, {"message": "Not found"}
    if token not in (TOKEN, VIEWER):
        return 401, {"message": "Invalid API key"}
    if writing and token == VIEWER:
        return 403, {"message": "You need permissions: dashboards:write"}
    return None


def handler(state: Grafana) -> type[BaseHTTPRequestHandler]:
    """Answers requests out of ``state``."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            path = self.path.removeprefix(state.prefix)
            self.answer(*(refused(state, self.path, self.headers) or state.get(path)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.removeprefix(state.prefix)
            refusal = refused(state, self.path, self.headers, writing=True)
            self.answer(*(refusal or state.post(path, body)))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
