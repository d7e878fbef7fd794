"""The screen as an SVG that is small enough to be kept: Textual's own, of which repetitions are left out."""

import re

from pytest_textual_snapshot import SVGImageExtension
from textual.app import App

_LEFT_OUT = (
    (r"(?s)@font-face \{.*?\}\s*", ""),  # whoever looks at it has a monospaced font
    (r"(?s)<defs>.*?</defs>\s*", ""),  # a rectangle for every line, to cut off what never reaches beyond it
    (r' clip-path="[^"]*"| textLength="[^"]*"| shape-rendering="[^"]*"', ""),
    (r"<text [^>]*>\s*</text>", ""),
    (r'(?s)<g transform="translate\(26,22\)">.*?</g>\s*', ""),  # a window's buttons
    (r"\bterminal(-\d+)?-(?=\w)", ""),
    ("&#160;", "\u00a0"),
    (r"(\d\.\d)\d{5,}", r"\1"),
    (r"(</text>|/>)\s*(?=<)", "\\1\n"),  # a run of characters a line, for whoever reads a difference
    (r"(?m)^\s+", ""),
)
_BACKGROUND = re.compile(r'<rect fill="(.*?)" x="(.*?)" y="(.*?)" width="(.*?)" height="24.65"/>')


class LeanSVG(SVGImageExtension):
    """The screen of an app, in a fifth of the characters and with lines that can be compared."""

    def serialize(self, data: App[object], **_: object) -> str:
        svg = data.export_screenshot(title="cai", simplify=True)
        for pattern, instead in _LEFT_OUT:
            svg = re.sub(pattern, instead, svg)
        return _joined(svg)


def _joined(svg: str) -> str:
    """The picture with neighbours of one background made one."""
    lines: list[str] = []
    last: tuple[str, str, float, float] = ("", "", 0.0, 0.0)
    for line in svg.split("\n"):
        found = _BACKGROUND.fullmatch(line)
        if found is None:
            lines.append(line)
            continue
        fill, x, y, width = found[1], float(found[2]), found[3], float(found[4])
        if last[:2] == (fill, y) and abs(last[2] + last[3] - x) < 0.2:
            lines.pop()
            x, width = last[2], x + width - last[2]
        lines.append(f'<rect fill="{fill}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="24.65"/>')
        last = (fill, y, x, width)
    return "\n".join(lines)
