"""An input and what an answer to it hangs on, as pieces of HTML: pictures for images, coloured values for the rest."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.report.occlusion import Attribution
from service.core.contract import Array

EDGE_PIXELS = 112
MOST_VALUES = 96
# The two ends of the scale: what speaks for the class, and what against it (Okabe and Ito's orange and blue).
_FOR, _AGAINST = np.array([213.0, 94.0, 0.0]), np.array([0.0, 114.0, 178.0])
_WHITE = np.array([255.0, 255.0, 255.0])

Floats = NDArray[np.floating[Any]]


def picture_of(sample: Array) -> str:
    """One sample (without the batch axis): an <img> of an image, else its values in short."""
    if sample.ndim == 3 and sample.shape[0] in (1, 3):
        plain = np.nan_to_num(sample.astype(np.float64), posinf=0.0, neginf=0.0)
        low, high = float(plain.min()), float(plain.max())
        scaled = (plain - low) * (255 / ((high - low) or 1))
        return _img(np.broadcast_to(scaled, (3, *sample.shape[1:])).transpose(1, 2, 0), "the input")
    values = sample.ravel()
    more = " …" if values.size > MOST_VALUES else ""
    return f'<span class="values">{" ".join(_plain(v) for v in values[:MOST_VALUES])}{more}</span>'


def picture_of_attribution(found: Attribution, sample: Array, scale: float) -> str:
    """What was hidden at which cost; `scale` is the drop of probability that is drawn in full colour."""
    if found.kind == "image":
        return _img(_colours(found.drops, scale), "what the answer hangs on")
    drops, values = found.drops.ravel()[:MOST_VALUES], sample.ravel()[:MOST_VALUES]
    spans = map(_span, values, drops, _colours(drops, scale))
    return f'<span class="values">{" ".join(spans)}</span>'


def _span(value: Any, drop: float, colour: Floats) -> str:
    red, green, blue = (int(part) for part in colour)
    return f'<span style="background:rgb({red},{green},{blue})" title="{drop:+.3f}">{_plain(value)}</span>'


def _colours(drops: Floats, scale: float) -> Floats:
    """Red, green, blue in 0..255 on a new last axis."""
    strength = np.clip(drops / (scale or 1.0), -1, 1)[..., np.newaxis]
    ends = np.where(strength >= 0, _FOR, _AGAINST)
    coloured: Floats = _WHITE + np.abs(strength) * (ends - _WHITE)
    return coloured


def _img(pixels: Floats, title: str) -> str:
    image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    factor = max(1, EDGE_PIXELS // max(image.size))
    larger = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    larger.save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'


def _plain(value: Any) -> str:
    text = f"{value:.3g}" if np.issubdtype(np.asarray(value).dtype, np.floating) else str(value)
    return html.escape(text)
