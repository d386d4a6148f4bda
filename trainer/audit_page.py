"""Audit page: what was found -> one HTML page that needs nothing else.

    Audit + cached pixels -> render -> text with every thumbnail inside it

No script, nothing fetched, and below 6 MB however many pictures there are: what is shown is counted, and a thumbnail
that comes out large is compressed harder.
"""

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.preprocess import fit
from trainer.audit_find import Audit, Group, Pair
from trainer.audit_labels import Shortcut, SourceNoise, Suspect
from trainer.data import Dataset
from trainer.recipe import Recipe

__all__ = ["render"]

GROUPS = 36
MEMBERS = 9
SUSPECTS = 240
EXAMPLES = 5
"""The most of each that is shown; with the sizes below 5 MB at worst."""

_BYTES_PER_PX = 64

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #666e78; --line: #d9dde2; --page: #fff; --bar: 34,104,178;
  --warn: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa3ad; --line: #3a4048; --page: #16191d;
  --bar: 96,160,230; --warn: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 5rem; max-width: 78rem; color: var(--ink); background: var(--page);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.3rem; margin: 3rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
p { max-width: 46rem; margin: .4rem 0; } .soft, small, figcaption { color: var(--soft); }
nav a { margin-right: 1.2rem; } a { color: rgb(var(--bar)); }
ul.points { margin: 1rem 0; padding-left: 1.1rem; max-width: 52rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: middle; }
th:first-child, td:first-child, .left { text-align: left; } thead th { color: var(--soft); font-weight: 500; }
td small { display: block; font-size: 11px; line-height: 1.35; white-space: nowrap; }
tr.all td, tr.all th { border-top: 2px solid var(--line); }
.bar { display: inline-block; height: .7em; background: rgb(var(--bar)); border-radius: 2px; margin-right: .4em; }
.cards { display: flex; flex-wrap: wrap; gap: .7rem; }
figure { margin: 0; } figcaption { font-size: 12px; line-height: 1.35; } img { display: block; border-radius: 4px; }
.card { width: 128px; } .card b { color: var(--ink); } .name { overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; display: block; font-size: 11px; }
.row { display: flex; gap: 3px; align-items: center; } .groups { display: flex; flex-wrap: wrap; gap: .9rem 1.6rem; }
.pair { border: 1px solid var(--line); border-radius: 6px; padding: .4rem; }
.warn { color: var(--warn); font-weight: 600; }
"""


def render(audit: Audit, dataset: Dataset, run: Path, recipe: Recipe, points: Iterable[str]) -> str:
    """Make the page.

    Args:
        points: the sentences at its top.

    Returns:
        HTML, text that refers to nothing outside itself.
    """
    show = _Thumbnails(dataset)
    title = f"Audit of the pictures of {run}"
    return "\n".join([
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{len(dataset.records):,} pictures, recipe {escape(recipe.name)}. Nothing has been changed: '
        "what follows is for a person to look at.</p>",
        f'<ul class="points">{"".join(f"<li>{escape(point)}</li>" for point in points)}</ul>',
        '<nav><a href="#balance">Balance</a><a href="#copies">Near-copies</a>'
        '<a href="#suspects">Suspected wrong labels</a><a href="#shortcuts">Shortcuts</a></nav>',
        *_balance(audit, recipe),
        *_copies(audit, show, recipe.data.same_object),
        *_suspects(audit, show),
        *_shortcuts(audit, show),
        "</body></html>\n",
    ])  # fmt: skip


class _Thumbnails:
    """Cached pictures as `<img>` elements that carry their own JPEG."""

    def __init__(self, dataset: Dataset) -> None:
        self.records = dataset.records
        self._pixels = dataset.pixels

    def __call__(self, index: int, side_px: int) -> str:
        record = self.records[index]
        data = b64encode(_jpeg(fit(self._pixels[index], side_px))).decode()
        about = escape(f"{record.name}\n{record.target}, {record.split}\n{record.sha256}")
        return (
            f'<img src="data:image/jpeg;base64,{data}" width="{side_px}" height="{side_px}" alt="" title="{about}" '
            'loading="lazy">'
        )


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """JPEG of uint8 RGB [S, S, 3], of a size that many of them can have."""
    data = b""
    for quality in (82, 65, 45, 25, 10):
        data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= _BYTES_PER_PX * len(rgb):
            break
    return data


def _balance(audit: Audit, recipe: Recipe) -> list[str]:
    sources = list(dict.fromkeys(source for source, _ in audit.counts))
    present = {target for _, target in audit.counts}
    targets = [*(label for label in recipe.data.labels if label in present), *sorted(present - set(recipe.data.labels))]
    in_train = sum(counts[0] for counts in audit.counts.values())
    strongest = max(audit.draws.values())

    def cell(keys: Sequence[tuple[str, str]], *, heat: bool) -> str:
        counts = [sum(column) for column in zip(*(audit.counts[key] for key in keys), strict=True)]
        if not counts:
            return "<td></td>"
        share = sum(audit.draws[key] for key in keys)
        times = f", &times;{share * in_train / counts[0]:.1f}" if counts[0] else ""
        depth = f' style="background: rgba(var(--bar), {0.55 * share / strongest:.2f})"' if heat else ""
        return (
            f"<td{depth}><b>{sum(counts):,}</b><small>{' · '.join(map(str, counts))}</small>"
            f"<small>{share:.1%}{times}</small></td>"
        )

    def row(name: str, keys: Sequence[tuple[str, str]], style: str = "") -> str:
        cells = [
            cell([key for key in keys if key[1] == target], heat=style == "") for target in targets
        ] + [cell(keys, heat=False)]  # fmt: skip
        weight = f"<small>weight {recipe.data.weight.get(name, 1.0):g}</small>" if style == "" else ""
        return f"<tr{style}><td>{escape(name)}{weight}</td>{''.join(cells)}</tr>"

    keys = list(audit.counts)
    return [
        '<h2 id="balance">Balance</h2>',
        "<p>Pictures by source and label; below them train · tune · val; below that the share of the photographs that "
        "training draws (the deeper the blue, the larger), and how often one of these training pictures is drawn "
        "compared with the average one.</p>",
        '<div class="wide"><table><thead><tr><th>source</th>',
        *(f"<th>{escape(target)}</th>" for target in targets),
        "<th>all</th></tr></thead><tbody>",
        *(row(source, [key for key in keys if key[0] == source]) for source in sources),
        row("all", keys, ' class="all"'),
        "</tbody></table></div>",
    ]


def _copies(audit: Audit, show: _Thumbnails, same_object: float) -> list[str]:
    shown = audit.groups[:GROUPS]
    odd = [group for group in audit.groups[GROUPS:] if len(group.targets) > 1 or len(group.splits) > 1][:GROUPS]

    def group_row(group: Group) -> str:
        picked = np.unique(np.linspace(0, len(group.members) - 1, MEMBERS).astype(int))
        more = len(group.members) - len(picked)
        says = [f"{len(group.members)} pictures, {escape(' and '.join(group.targets))}"]
        if len(group.targets) > 1:
            says.append('<span class="warn">more than one label</span>')
        if len(group.splits) > 1:
            says.append(f'<span class="warn">in {escape(" and ".join(group.splits))}</span>')
        thumbs = "".join(show(group.members[place], 72) for place in picked)
        rest = f"<small>and {more} more</small>" if more else ""
        return f'<div class="group"><small>{"; ".join(says)}</small><div class="row">{thumbs}{rest}</div></div>'

    def pair_card(pair: Pair) -> str:
        targets = dict.fromkeys(show.records[index].target for index in (pair.left, pair.right))
        return (
            f'<figure class="pair"><div class="row">{show(pair.left, 96)}{show(pair.right, 96)}</div>'
            f"<figcaption>{pair.cosine:.3f}; {escape(' and '.join(targets))}</figcaption></figure>"
        )

    lines = [
        '<h2 id="copies">Near-copies</h2>',
        f"<p>Pictures whose features' cosine is above {same_object:g} are taken for one object and stay on one side "
        f"of the split: {len(audit.groups)} groups. Chains count: the ends of a large group may differ.</p>",
    ]
    for title, pairs in (
        (f"Just over {same_object:g}: taken for the same object", audit.over),
        (f"Just under {same_object:g}: taken for different objects", audit.under),
    ):
        if pairs:
            lines += [f"<h3>{title}</h3>", f'<div class="cards">{"".join(map(pair_card, pairs))}</div>']
    for title, some in (
        (f"The largest {len(shown)} of {len(audit.groups)} groups", shown),
        ("Smaller ones with several labels or on several sides", odd),
    ):
        if some:
            lines += [f"<h3>{title}</h3>", f'<div class="groups">{"".join(map(group_row, some))}</div>']
    return lines


def _suspects(audit: Audit, show: _Thumbnails) -> list[str]:
    largest = max(noise.share for noise in audit.noise) or 1.0

    def noise_row(noise: SourceNoise) -> str:
        share = f'<span class="bar" style="width: {6 * noise.share / largest:.2f}em"></span>{noise.share:.1%}'
        note = "" if noise.is_judged else "one label only: its look gives the label away, wrong ones go unseen"
        return (
            f'<tr><td>{escape(noise.source)}</td><td>{noise.pictures:,}</td><td>{noise.suspects}</td>'
            f'<td class="left">{share}</td><td class="left soft">{note}</td></tr>'
        )  # fmt: skip

    of_source: dict[str, dict[tuple[int, str], list[Suspect]]] = defaultdict(dict)
    for suspect in audit.suspects:
        record = show.records[suspect.index]
        of_source[record.source].setdefault((record.group, suspect.suggested), []).append(suspect)
    quota = max(4, SUSPECTS // max(1, len(of_source)))

    def card(alike: Sequence[Suspect]) -> str:
        suspect = alike[0]
        name = "/".join(show.records[suspect.index].name.split("/")[-2:])
        copies = f"<br>and {len(alike) - 1} near-copies" if len(alike) > 1 else ""
        return (
            f'<figure class="card">{show(suspect.index, 128)}<figcaption>{escape(suspect.given)} '
            f"{suspect.given_prob:.2f}<br>→ <b>{escape(suspect.suggested)} {suspect.prob:.2f}</b>{copies}"
            f'<span class="name">{escape(name)}</span></figcaption></figure>'
        )

    lines = [
        '<h2 id="suspects">Suspected wrong labels</h2>',
        "<p>A linear probe on the pictures' features named each picture without having seen it or its near-copies. "
        "Shown is what it would rather call something else, the surest first: given label and its probability → "
        "suggested label and its probability. A hard picture can be a suspect with a right label, so the shares are "
        "upper bounds more than estimates.</p>",
        '<table><thead><tr><th>source</th><th>pictures</th><th>suspects</th><th class="left">wrong at most about'
        "</th><th></th></tr></thead><tbody>",
        *map(noise_row, sorted(audit.noise, key=lambda noise: -noise.share)),
        "</tbody></table>",
    ]
    for noise in sorted(audit.noise, key=lambda noise: -noise.suspects):
        if cards := list(of_source.get(noise.source, {}).values()):
            some = f", the first {quota} of {len(cards)} different ones" if len(cards) > quota else ""
            lines += [
                f"<h3>{escape(noise.source)}: {noise.suspects} of {noise.pictures:,}{some}</h3>",
                f'<div class="cards">{"".join(map(card, cards[:quota]))}</div>',
            ]
    return lines


def _shortcuts(audit: Audit, show: _Thumbnails) -> list[str]:
    pictures: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(show.records):
        pictures[record.source].append(index)

    def percent(share: float | None) -> str:
        return "&ndash;" if share is None else f"{share:.0%}"

    def row(shortcut: Shortcut) -> str:
        mine = pictures[shortcut.source]
        picked = np.unique(np.linspace(0, len(mine) - 1, EXAMPLES).astype(int))
        always = ' class="left warn"' if shortcut.implied_share > 0.9 else ' class="left"'
        return (
            f"<tr><td>{escape(shortcut.source)}</td><td>{shortcut.draws:.1%}</td>"
            f"<td{always}>{escape(shortcut.implied)} {shortcut.implied_share:.0%}</td><td>{shortcut.bits:.2f}</td>"
            f"<td>{percent(shortcut.recognised)}</td><td>{percent(shortcut.own)}</td><td>{percent(shortcut.others)}</td>"
            f'<td><div class="row">{"".join(show(mine[place], 48) for place in picked)}</div></td></tr>'
        )

    return [
        '<h2 id="shortcuts">Shortcuts: what a model could cheat with</h2>',
        f"<p>The labels that training draws hold {audit.label_bits:.2f} bits; the source alone tells "
        f"{audit.source_bits:.2f} of them. Calling every picture by its source's commonest label is right for "
        f"{audit.source_right:.0%} of the draws, one name for all for {audit.guess_right:.0%}. Where a source is "
        "easily recognised and has one label, its board, light and camera will be learnt as that label.</p>",
        '<div class="wide"><table><thead><tr><th>source</th><th>share of draws</th><th class="left">label it implies'
        "</th><th>bits it gives away</th><th>source recognised</th><th>named right</th>"
        '<th>… from other sources only</th><th class="left">look</th></tr></thead><tbody>',
        *map(row, audit.shortcuts),
        "</tbody></table></div>",
        '<p class="soft">Source recognised: how often a linear probe tells where a picture is from. Named right: by a '
        "probe that has seen other pictures of the source, and by one that has not, on the labels that other sources "
        "have too; a wide gap means that the source's own look does the work.</p>",
    ]
