"""One hash for all that a version computes with: the ONNX file and the weights outside it."""

from __future__ import annotations

import hashlib

from service.repository.store import VersionFiles


def digest(files: VersionFiles) -> str:
    """The sha256 of the ONNX file where there is nothing else; equal digests compute alike."""
    if not files.external:
        return files.sha256
    whole = hashlib.sha256(files.sha256.encode())
    for location, data in sorted(files.external.items()):
        whole.update(location.encode() + b"\0" + hashlib.sha256(data).digest())
    return whole.hexdigest()
