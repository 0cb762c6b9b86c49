"""A Hugging Face hub on 127.0.0.1, in the hub's own layout, for repositories that a test makes in a folder.

A repository is a folder `ROOT/datasets/OWNER/NAME` (or `ROOT/models/OWNER/NAME`); a branch other than main is a
folder beside it, `NAME@refs%2Fconvert%2Fparquet`. `ROOT/commits.json` gives folders the commit that the real repository has,
where the code under test asks for that one.
"""
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

FILE = re.compile(r"^/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")
API = re.compile(r"^/api/(datasets|models)/([^/]+/[^/]+?)(?:/(revision|tree)/([^/]+)(/.*)?)?$")


class Loopback:
    "A running hub: `with Loopback(folder) as hub: ... hub.endpoint`"

    def __init__(self, root: Path):
        self.root, self.requests, self.handler = Path(root), [], Handler
        self.gated, self.delay, self.cut, self.broken = set(), 0., set(), set()  # repositories; seconds; what begins so is cut short; answering 500
        known = self.root / "commits.json"
        given = json.loads(known.read_text()) if known.exists() else {}
        self.commits = {self.root / name: sha for name, sha in given.items()}  # of folders; a hub does not change while it runs

    def __enter__(self):
        hub = self
        handler = type("Handler", (self.handler,), dict(hub=hub))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that has given up is no news
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def folder(self, kind: str, repo: str, revision: str) -> Path | None:
        "Where a revision of a repository lies; None where there is none"
        names = [repo] if revision == "main" else [f"{repo}@{quote(revision, safe='')}"]
        if re.fullmatch("[0-9a-f]{40}", revision):
            owner, name = repo.split("/")
            names = [f"{owner}/{p.name}" for p in (self.root / kind / owner).glob(f"{name}*") if p.name.partition("@")[0] == name]
            names = [n for n in names if self.commit(self.root / kind / n) == revision]
        return next((f for n in names if (f := self.root / kind / n).is_dir()), None)

    def commit(self, folder: Path) -> str:
        "The commit of a folder"
        if folder not in self.commits: self.commits[folder] = commit(folder)
        return self.commits[folder]


def commit(folder: Path) -> str:
    "The commit of a folder: another one whenever a file differs"
    facts = [(str(p.relative_to(folder)), p.stat().st_size, hashlib.sha1(p.read_bytes()).hexdigest()) for p in sorted(folder.rglob("*")) if p.is_file()]
    return hashlib.sha1(json.dumps([folder.name, facts]).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_): pass

    def _send(self, status=200, body=b"", headers=None, head=False, length=None):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body) if length is None else length)} | (headers or {})).items(): self.send_header(name, value)
        self.end_headers()
        if not head: self.wfile.write(body)

    def _json(self, found, status=200, headers=None):
        self._send(status, json.dumps(found).encode(), {"Content-Type": "application/json"} | (headers or {}), self.command == "HEAD")

    def _missing(self, code, status=404, message="not found"):
        self._json(dict(error=message), status, {"X-Error-Code": code, "X-Error-Message": message})

    def do_HEAD(self): self.do_GET()

    def do_GET(self):
        hub, path = self.hub, urlsplit(self.path).path
        hub.requests.append(f"{self.command} {unquote(path)}")
        time.sleep(hub.delay)
        if match := FILE.match(path): return self._file(match[1] or "models", match[2], unquote(match[3]), unquote(match[4]))
        if match := API.match(path): return self._api(match[1], match[2], match[3], unquote(match[4] or "main"), unquote((match[5] or "").strip("/")))
        self._missing("NotFound")

    def _at(self, kind, repo, revision):
        "The folder of a revision, or None when the answer has been sent"
        if repo in self.hub.broken: return self._missing("ServerError", 500, "try again later")
        if repo in self.hub.gated: return self._missing("GatedRepo", 403, f"Access to {repo} is restricted")
        if not any(p.name.partition("@")[0] == repo.split("/")[1] for p in (self.hub.root / kind / repo.split("/")[0]).glob("*")):
            return self._missing("RepoNotFound", 401, "Repository not found")
        return self.hub.folder(kind, repo, revision) or self._missing("RevisionNotFound")

    def _file(self, kind, repo, revision, name):
        if not (folder := self._at(kind, repo, revision)): return
        file, sha = folder / name, self.hub.commit(folder)
        if not file.is_file(): return self._json({}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
        data = file.read_bytes()
        headers = {"X-Repo-Commit": sha, "ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        head = self.command == "HEAD"
        if any(f"{repo}/{name}".startswith(begin) for begin in self.hub.cut) and not head:  # the connection ends in the middle of the file
            self._send(200, data[:len(data) // 2], headers, length=len(data))
            self.close_connection = True
            return
        if (wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))) and not head:
            start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
            return self._send(206, data[start:end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"})
        self._send(200, data, headers, head)

    def _tree(self, folder, at, everything):
        "Files and folders below a place, or only those in it"
        def facts(p):
            name = str(p.relative_to(folder))
            if p.is_dir(): return dict(type="directory", path=name, oid=hashlib.sha1(name.encode()).hexdigest(), size=0)
            return dict(type="file", path=name, oid=hashlib.sha1(p.read_bytes()).hexdigest(), size=p.stat().st_size)
        return [facts(p) for p in sorted(at.rglob("*") if everything else at.iterdir())]

    def _api(self, kind, repo, what, revision, sub):
        if not (folder := self._at(kind, repo, revision)): return
        files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
        names = [str(p.relative_to(folder)) for p in files]
        if what == "tree":
            if sub and not (folder / sub).is_dir(): return self._missing("EntryNotFound")
            return self._json(self._tree(folder, folder / sub, "recursive=true" in urlsplit(self.path).query.lower()))
        self._json(dict(id=repo, _id=repo, sha=self.hub.commit(folder), private=False, gated=False, downloads=0, likes=0, tags=[],
                        siblings=[dict(rfilename=n) for n in names]))
