"""A Hugging Face hub on 127.0.0.1 that also takes uploads: tokens, private repositories, commits, and a connection that ends in the middle of them."""
import base64
import hashlib
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loopback import Handler, Loopback

POST = re.compile(r"^/api/(datasets|models)/([^/]+/[^/]+)/(preupload|commit)/([^/]+)$")


def blob(content: bytes) -> str:
    "What git calls a file"
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class UploadHub(Loopback):
    "A hub with one user, `me`, whose token is `right`; `reader` may read what is private and write nothing"

    def __init__(self, root: Path):
        Path(root).mkdir(parents=True, exist_ok=True)
        super().__init__(root)
        self.private, self.sent, self.breaks = set(), [], None  # folders; names by commit; how many commits it takes before it breaks off
        self.users = {"right": "me", "reader": "reader"}
        self.handler = _Handler

    def user(self, headers) -> str | None:
        return self.users.get(headers.get("Authorization", "").removeprefix("Bearer "))


class _Handler(Handler):
    def do_GET(self):
        if urlsplit(self.path).path != "/api/whoami-v2": return super().do_GET()
        self.hub.requests.append("GET /api/whoami-v2")
        if (name := self.hub.user(self.headers)) is None: return self._missing("", 401, "Invalid user token")
        self._json(dict(type="user", name=name, orgs=[], auth=dict(type="access_token")))

    def _at(self, kind, repo, revision):
        if self.hub.root / kind / repo in self.hub.private and self.hub.user(self.headers) is None:
            return self._missing("RepoNotFound", 401, "Repository not found")
        return super()._at(kind, repo, revision)

    def do_POST(self):
        hub, path = self.hub, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub.requests.append(f"POST {unquote(path)}")
        if path == "/api/validate-yaml": return self._json(dict(errors=[], warnings=[]))
        if (name := hub.user(self.headers)) is None: return self._missing("", 401, "Invalid user token")
        if path == "/api/repos/create": return self._create(name, json.loads(body))
        kind, repo, what, _ = POST.match(path).groups()
        if name != repo.partition("/")[0]: return self._missing("", 403, "You have read access but not the required permissions")
        if not (folder := hub.folder(kind, repo, "main")): return self._missing("RepoNotFound", 404)
        self._preupload(folder, json.loads(body)) if what == "preupload" else self._commit(folder, kind, repo, body)

    def _create(self, name, wanted):
        owner, kind = wanted["organization"] or name, wanted.get("type", "model") + "s"
        if owner != name: return self._missing("", 403, "You don't have the rights to create a repository there")
        folder, url = self.hub.root / kind / owner / wanted["name"], f"{self.hub.endpoint}/{'datasets/' * (kind == 'datasets')}{owner}/{wanted['name']}"
        if folder.exists(): return self._json(dict(error="You already created this repo", url=url), 409)
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
        if wanted.get("visibility") == "private": self.hub.private.add(folder)
        self._json(dict(url=url))

    def _preupload(self, folder, wanted):
        def facts(path):
            there = folder / path
            return dict(path=path, uploadMode="regular", shouldIgnore=False, oid=blob(there.read_bytes()) if there.is_file() else None)
        self._json(dict(files=[facts(f["path"]) for f in wanted["files"]]))

    def _commit(self, folder, kind, repo, body):
        hub = self.hub
        if hub.breaks is not None and len(hub.sent) >= hub.breaks:
            self.close_connection = True  # the client waits for an answer in vain, and nothing is kept
            return self.connection.close()
        files = [line["value"] for line in map(json.loads, body.splitlines()) if line["key"] == "file"]
        for file in files:
            (place := folder / file["path"]).parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(base64.b64decode(file["content"]))
        hub.sent.append([f["path"] for f in files])
        hub.commits.pop(folder, None)
        self._json(dict(commitUrl=f"{hub.endpoint}/{repo}/commit/{hub.commit(folder)}", commitOid=hub.commit(folder)))
