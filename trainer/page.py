"""Page: sections -> one HTML file that needs nothing else. Pure.

No script, no font, no picture from elsewhere: it opens from a mail, on a bin without a network, in ten years.
Everything that is not `Html` is escaped, so a folder named `<b>` is shown as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Html", "Section", "columns", "details", "figure", "html", "note", "page", "paragraph", "table", "tiles"]


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def html(value: object) -> Html:
    """Markup for a value: `Html` as it is, anything else escaped."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        key: its anchor.
        title: its heading, and its entry in the contents.
        body: what it holds.
    """

    key: str
    title: str
    body: Html


def paragraph(*parts: object) -> Html:
    """A paragraph of text."""
    return Html(f"<p>{''.join(html(part) for part in parts)}</p>")


def note(*parts: object) -> Html:
    """Something that was not measured, or that a reader must know to read a figure rightly."""
    return Html(f'<p class="note">{"".join(html(part) for part in parts)}</p>')


def figure(svg: str, caption: object) -> Html:
    """A drawing with its sentence."""
    return Html(f'<figure><div class="plot">{svg}</div><figcaption>{html(caption)}</figcaption></figure>')


def columns(*parts: Html) -> Html:
    """Parts side by side where there is room."""
    return Html(f'<div class="columns">{"".join(parts)}</div>')


def details(summary: object, body: Html) -> Html:
    """A part that is folded away."""
    return Html(f"<details><summary>{html(summary)}</summary>{body}</details>")


def table(
    head: Sequence[object], rows: Sequence[Sequence[object]], *, text_columns: int = 1, kinds: Sequence[str] = ()
) -> Html:
    """A table.

    Args:
        text_columns: how many columns from the left hold words; the others hold numbers, set to the right.
        kinds: a class for each row; none where empty.
    """

    number = ' class="number"'

    def cells(row: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag}{number if at >= text_columns else ''}>{html(cell)}</{tag}>" for at, cell in enumerate(row)
        )

    marks = [f' class="{escape(kind)}"' if kind else "" for kind in kinds] or [""] * len(rows)
    body = "".join(f"<tr{mark}>{cells(row, 'td')}</tr>" for mark, row in zip(marks, rows, strict=True))
    return Html(
        f'<div class="wide"><table><thead><tr>{cells(head, "th")}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def tiles(entries: Sequence[tuple[str, str, str]]) -> Html:
    """The few figures that matter most: (what, figure, how sure)."""
    boxes = "".join(
        f'<div class="tile"><div class="what">{html(what)}</div><div class="big">{html(value)}</div>'
        f'<div class="sure">{html(sure)}</div></div>'
        for what, value, sure in entries
    )
    return Html(f'<div class="tiles">{boxes}</div>')


def page(title: str, lead: Html, sections: Sequence[Section]) -> str:
    """The whole file."""
    contents = "".join(f'<li><a href="#{part.key}">{html(part.title)}</a></li>' for part in sections)
    body = "".join(f'<section id="{part.key}"><h2>{html(part.title)}</h2>{part.body}</section>' for part in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{_CSS}</style></head>\n"
        f'<body><header><h1>{html(title)}</h1>{lead}</header><nav aria-label="Contents"><ol>{contents}</ol></nav>\n'
        f"<main>{body}</main></body></html>\n"
    )


_CSS = """
:root{--paper:#fff;--ink:#1b1f24;--muted:#5a636e;--grid:#e3e6ea;--box:#f6f7f9;--warn:#fff6e0;--warn-edge:#d98e00;
--int8:#0072b2;--float:#c24e00;--teacher:#00795a;--other:#8a4b78;--heat:#0072b2;--on-heat:#fff}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e8eaed;--muted:#a3abb5;--grid:#2d333b;--box:#1d2127;
--warn:#2c2415;--warn-edge:#e69f00;--int8:#56b4e9;--float:#f0a04b;--teacher:#35c99b;--other:#d997c0;--heat:#56b4e9;
--on-heat:#0c0f12}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0 auto;max-width:1120px;padding:2.5rem 1.5rem 5rem;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:2.1rem;line-height:1.2;margin:0 0 .5rem;letter-spacing:-.01em}
h2{font-size:1.4rem;line-height:1.3;margin:3.5rem 0 .6rem;padding-top:1rem;border-top:1px solid var(--grid)}
h3{font-size:1.02rem;margin:1.8rem 0 .3rem}
p{max-width:74ch;margin:.5rem 0}
a{color:var(--int8)}
code{font-size:.9em;background:var(--box);padding:.1em .35em;border-radius:4px;overflow-wrap:anywhere}
nav ol{columns:3 15rem;margin:1.6rem 0 0;padding:.9rem 1rem .9rem 2.4rem;background:var(--box);border-radius:10px;
font-size:.92rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(155px,1fr));gap:.8rem;margin:1.4rem 0}
.tile{background:var(--box);border-radius:10px;padding:.9rem 1rem}
.tile .what,.tile .sure{font-size:.84rem;color:var(--muted);line-height:1.35}
.tile .big{white-space:nowrap;font-size:1.5rem;font-weight:650;line-height:1.35;font-variant-numeric:tabular-nums}
.note{background:var(--warn);border-left:3px solid var(--warn-edge);padding:.5rem .8rem;border-radius:0 6px 6px 0}
.wide{overflow-x:auto;margin:.9rem 0}
table{border-collapse:collapse;font-size:.9rem;line-height:1.4;font-variant-numeric:tabular-nums;min-width:50%}
th,td{padding:.38rem .75rem .38rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
th{font-weight:600;color:var(--muted);font-size:.82rem;vertical-align:bottom}
.number{text-align:right;white-space:nowrap;padding-left:.6rem}
th.number{white-space:normal}
td small{white-space:nowrap;color:var(--muted);font-size:.86em;font-weight:400}
tr.quoted td{color:var(--muted);font-style:italic}
tr.ours td:first-child{font-weight:600}tr.ours td:first-child small{white-space:normal}
tr.absent td{color:var(--muted)}
tr.group td{padding-top:1rem;font-weight:600;color:var(--muted);font-size:.82rem}
figure{margin:1rem 0}
figcaption{font-size:.9rem;color:var(--muted);max-width:74ch;margin-top:.3rem}
.plot{overflow-x:auto}
svg{max-width:100%;height:auto;display:block;font-family:inherit}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:.4rem 1.6rem;align-items:start}
details{margin:.8rem 0}
summary{cursor:pointer;color:var(--int8)}
svg text{fill:var(--ink);font-size:12px}
svg .tick{fill:var(--muted);font-size:11.5px;font-variant-numeric:tabular-nums}
svg .axis-label{fill:var(--muted);font-size:12px}
svg .head{fill:var(--muted);font-weight:600;font-size:12px}
svg .grid{stroke:var(--grid);stroke-width:1}
svg .axis{stroke:var(--muted);stroke-width:1}
svg .guide{stroke:var(--muted);stroke-width:1.2;stroke-dasharray:4 4;fill:none}
svg .goal{fill:var(--teacher)}
svg .line{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
svg .thin{stroke-width:1.4}
svg .whisker{stroke-width:2}
svg .band{stroke:none;fill-opacity:.16}
svg .mark{stroke-width:2}
svg .label,svg .head{font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
svg .plain{font-weight:400}
svg .line.int8,svg .whisker.int8,svg .mark.int8{stroke:var(--int8)}
svg .line.float,svg .whisker.float,svg .mark.float{stroke:var(--float)}
svg .line.teacher,svg .whisker.teacher,svg .mark.teacher{stroke:var(--teacher)}
svg .line.other,svg .whisker.other,svg .mark.other{stroke:var(--other)}
svg .line.quiet,svg .mark.quiet{stroke:var(--muted)}
svg .band.int8,svg .mark.int8,svg .bar.int8,svg .label.int8{fill:var(--int8)}
svg .band.float,svg .bar.float,svg .label.float{fill:var(--float)}
svg .mark.float{fill:var(--paper)}
svg .band.teacher,svg .mark.teacher,svg .label.teacher{fill:var(--teacher)}
svg .band.other,svg .mark.other,svg .label.other{fill:var(--other)}
svg .mark.quiet,svg .bar.quiet,svg .label.quiet{fill:var(--muted)}
svg .cell{fill:var(--heat)}
svg .wrong{fill:var(--float)}
svg .on{fill:var(--on-heat);font-weight:600}
.mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:1rem}
.mistakes figure{margin:0;background:var(--box);border-radius:10px;overflow:hidden}
.mistakes img{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:var(--grid)}
.mistakes figcaption{padding:.45rem .6rem .6rem;font-size:.82rem;line-height:1.35;margin:0;overflow-wrap:anywhere}
.mistakes b{color:var(--ink)}
@media (max-width:640px){body{padding:1.2rem .9rem 3rem}h1{font-size:1.6rem}nav ol{columns:1}}
@media print{nav{display:none}section{break-inside:avoid-page}body{max-width:none}}
"""
