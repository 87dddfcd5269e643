"""Styles and scripts, in the wheel: their bytes, their addresses and their hashes."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha384
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from litestar import Request, Response, get
from litestar.params import FromPath

from gateway.edge import rendering
from gateway.problems import NotFound

_TYPES: Final = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `integrity` is as Subresource Integrity (W3C) wants it."""

    name: str
    content: bytes

    @property
    def integrity(self) -> str:
        return "sha384-" + base64.b64encode(sha384(self.content).digest()).decode()

    @property
    def version(self) -> str:
        return sha384(self.content).hexdigest()[:16]

    @property
    def address(self) -> str:
        return f"/console/static/{self.name}?v={self.version}"

    @property
    def media_type(self) -> str:
        return _TYPES[self.name.rpartition(".")[2]]


def _found(folder: Traversable) -> Iterator[Asset]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _found(one)
        elif one.name.rpartition(".")[2] in _TYPES:
            yield Asset(one.name, one.read_bytes())


ASSETS: Final[Mapping[str, Asset]] = {
    asset.name: asset for asset in _found(files("gateway.console") / "static")
}


@get("/console/static/{name:str}", include_in_schema=False)
async def static(
    request: Request[Any, Any, Any], name: FromPath[str]
) -> Response[bytes]:
    """Its address changes with its content, so a browser may keep it for ever."""
    asset = ASSETS.get(name)
    if asset is None or request.query_params.get("v") != asset.version:
        return rendering.problem(NotFound())
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(asset.content, media_type=asset.media_type, headers=headers)
