"""Figures that a notebook shows once, and that say in words what they show."""

from __future__ import annotations

import base64
import io
from html import escape

from matplotlib.figure import Figure
from PIL import Image

WIDTH, HEIGHT = 8.0, 3.2  # inches
_PIXELS_PER_INCH = 96  # at which it is shown
_COLOURS = 64
_SHARPNESS = 1.6  # pixels drawn for one shown: text stays crisp on dense screens


class MemoryFigure(Figure):
    """A matplotlib figure that no pyplot knows: nothing to close, and shown only as a cell's result.

    ``alt`` describes it. It goes out as HTML around a PNG, because JupyterLab and nbconvert drop the ``alt``
    of a bare ``image/png``; the PNG alone is there for those who show no HTML.
    """

    def __init__(self, *, height: float = HEIGHT):
        super().__init__(figsize=(WIDTH, height), facecolor="white", layout="constrained")
        self.alt = ""

    def png(self) -> bytes:
        """Return the picture as PNG, with few colours: a third of the bytes, which a notebook holds twice."""
        canvas, out = io.BytesIO(), io.BytesIO()
        self.savefig(canvas, format="png", dpi=_PIXELS_PER_INCH * _SHARPNESS)
        picture = Image.open(canvas).convert("RGB")
        picture.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG")
        return out.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        picture = base64.b64encode(self.png()).decode("ascii")
        width = round(self.get_figwidth() * _PIXELS_PER_INCH)
        html = (
            f'<img alt="{escape(self.alt)}" width="{width}" style="max-width:100%;height:auto" '
            f'src="data:image/png;base64,{picture}">'
        )
        data = {"text/html": html, "image/png": picture, "text/plain": self.alt}
        return data, {"image/png": {"width": width, "alt": self.alt}}

    def __repr__(self) -> str:
        return self.alt
