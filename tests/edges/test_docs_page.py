"""The docs page: it comes whole from the node, and may load nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from router_node.edges.http_documents import PAGE
from tests.edges.described import DOCUMENT

FILES = {"/docs": "text/html", "/docs/docs.css": "text/css", "/docs/docs.js": "text/javascript"}


@pytest.mark.parametrize("path", FILES)
async def test_it_is_served_and_bounded_to_this_node(http: Any, path: str) -> None:
    async with http.get(path) as response:
        text = await response.text()
        assert (response.status, response.content_type) == (200, FILES[path])
        policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(r"(?:https?:)?//[a-z]", text.replace("// ", "")) is None
    assert "innerHTML" not in text
    referred = set(re.findall(r'(?:src|href)="(/[^"#]*)"', text)) | set(re.findall(r'read\("([^"]+)"\)', text))
    assert referred <= DOCUMENT["paths"].keys()
    if path != "/docs/docs.css":
        assert referred


def test_every_file_of_it_is_in_the_package() -> None:
    assert {each.name for each in PAGE.iterdir()} == {"docs.html", "docs.css", "docs.js"}
