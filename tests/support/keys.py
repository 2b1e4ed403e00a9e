"""Keys of a test's own, and the file that knows them."""

from __future__ import annotations

import hashlib
from pathlib import Path

KEYS = {"app": "infer-7Hq2mV9x", "scraper": "metrics-p3Ls8Wd1", "ops": "admin-Zk5tRb0c"}
SCOPES = {"app": "infer", "scraper": "metrics", "ops": "admin"}


def line_of(name: str, key: str, scopes: str, options: str = "") -> str:
    """A line of the file of keys."""
    return f"{name} {scopes} sha256:{hashlib.sha256(key.encode()).hexdigest()} {options}\n"


def write_keys(path: Path, *more: str) -> Path:
    """The file of KEYS, and of the lines in `more`."""
    path.write_text("".join(line_of(name, key, SCOPES[name]) for name, key in KEYS.items()) + "".join(more))
    path.chmod(0o600)
    return path


def bearer(key: str) -> dict[str, str]:
    """The header that brings a key; gRPC's metadata, too."""
    return {"authorization": f"Bearer {key}"}
