"""The part of S3 that a Kafka broker without a disk keeps its topics in: objects in memory, in a process of its own.

It outlives the broker, as S3 would: a broker that is killed and started again finds its topics where it left them.
Signatures are not looked at. Run as ``python -m tests.support.object_store PORT``.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple
from xml.sax.saxutils import escape

from aiohttp import web

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_KEY = re.compile(r"<Key>(.*?)</Key>")


class _Object(NamedTuple):
    data: bytes
    etag: str
    at: datetime


class ObjectStore:
    """Objects by key, with the conditional writes (If-Match, If-None-Match) that brokers agree by."""

    def __init__(self) -> None:
        self._objects: dict[str, _Object] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{bucket}{key:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"].lstrip("/")
        if request.method == "POST" and "delete" in request.query:
            return self._delete_many(await request.text())
        answers: dict[str, Callable[[], web.Response]] = {
            "GET": lambda: self._get(request, key) if key else self._list(request),
            "HEAD": lambda: self._get(request, key) if key else web.Response(),
            "DELETE": lambda: self._delete(key),
        }
        if request.method == "PUT":
            return self._put(request, key, await request.read())
        answer = answers.get(request.method)
        return answer() if answer else _error(501, "NotImplemented")

    def _put(self, request: web.Request, key: str, body: bytes) -> web.Response:
        there = self._objects.get(key)
        if request.headers.get("If-None-Match") == "*" and there is not None:
            return _error(412, "PreconditionFailed")
        if (wanted := request.headers.get("If-Match")) is not None:
            if there is None:
                return _error(404, "NoSuchKey")
            if wanted != there.etag:
                return _error(412, "PreconditionFailed")
        etag = '"' + hashlib.md5(body + str(len(self._objects)).encode()).hexdigest() + '"'
        self._objects[key] = _Object(body, etag, datetime.now(UTC))
        return web.Response(headers={"ETag": etag})

    def _get(self, request: web.Request, key: str) -> web.Response:
        found = self._objects.get(key)
        if found is None:
            return _error(404, "NoSuchKey")
        headers = {"ETag": found.etag, "Last-Modified": format_datetime(found.at, usegmt=True)}
        if request.headers.get("If-None-Match") == found.etag:
            return web.Response(status=304, headers=headers)
        size = len(found.data)
        part = _RANGE.fullmatch(request.headers.get("Range", ""))
        if part is None:
            return web.Response(body=found.data, headers=headers)
        first, last = part.groups()
        start = int(first) if first else size - int(last)
        end = min(int(last), size - 1) if first and last else size - 1
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        return web.Response(status=206, body=found.data[start : end + 1], headers=headers)

    def _delete(self, key: str) -> web.Response:
        self._objects.pop(key, None)
        return web.Response(status=204)

    def _delete_many(self, body: str) -> web.Response:
        keys = _KEY.findall(body)
        for key in keys:
            self._objects.pop(key, None)
        gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        return _xml(f"<DeleteResult>{gone}</DeleteResult>")

    def _list(self, request: web.Request) -> web.Response:
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        after = request.query.get("start-after", "")
        contents, folders = [], dict[str, None]()
        for key in sorted(self._objects):
            if not key.startswith(prefix) or key <= after:
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders[prefix + rest.partition(delimiter)[0] + delimiter] = None
                continue
            found = self._objects[key]
            contents.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(found.data)}</Size><ETag>{escape(found.etag)}</ETag>"
                f"<LastModified>{found.at:%Y-%m-%dT%H:%M:%S}.000Z</LastModified></Contents>"
            )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders)
        return _xml(
            f"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>{len(contents)}</KeyCount>"
            f"{''.join(contents)}{common}</ListBucketResult>"
        )


def _xml(text: str) -> web.Response:
    return web.Response(text='<?xml version="1.0" encoding="UTF-8"?>' + text, content_type="application/xml")


def _error(status: int, code: str) -> web.Response:
    answer = _xml(f"<Error><Code>{code}</Code></Error>")
    answer.set_status(status)
    return answer


if __name__ == "__main__":
    web.run_app(ObjectStore().app(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
