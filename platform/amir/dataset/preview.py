"""One page to look at a dataset before training: slices, histograms, counts, what was refused.

The page is a single file that asks for nothing from elsewhere.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amir import durable
from amir.dataset.cohort import SPLITS, Split
from amir.dataset.manifest import Manifest, ShardEntry
from amir.dataset.slices import SlicePair, read_shard
from amir.modality import MODELLING_RANGES, IntensityRange, Modality

# The same for every scan, so that two can be compared. MR is shown on the network's scale.
WINDOWS = {
    Modality.MRI: IntensityRange(0.0, 2000.0, "a.u., scaled"),
    Modality.CT: IntensityRange(-160.0, 240.0, "HU"),
    Modality.PET: IntensityRange(0.0, 8.0, "SUV"),
}
# Histograms show what the windows hide: bone, air, hot spots.
HISTOGRAMS = {
    Modality.MRI: WINDOWS[Modality.MRI],
    Modality.CT: IntensityRange(-1024.0, 1000.0, "HU"),
    Modality.PET: MODELLING_RANGES[Modality.PET],
}
MOST_SCANS = 150  # of a page; some 40 kB each
MOST_SLICES = 8  # of a histogram
BINS = 60
SIDE = 256  # pixels of a picture's longer side, at most


def write_preview(folder: Path, manifest: Manifest) -> Path:
    """Write preview.html into a dataset folder; returns its path."""
    path = folder / "preview.html"
    durable.write_text(path, "\n".join(_page(folder, manifest)))
    return path


def _page(folder: Path, manifest: Manifest) -> Iterator[str]:
    digest = manifest.dataset_digest[:12]
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Dataset {digest}'
    yield '</title><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><main>"
    yield f"<h1>Dataset <code>{digest}</code></h1><p class='quiet'>Research use only.</p>"
    yield _counts(manifest)
    yield _refused(manifest)
    yield _windows(manifest)
    for split in SPLITS:
        yield from _split(folder, manifest, split)
    yield "</main></body></html>"


def _counts(manifest: Manifest) -> str:
    rows = [
        (task, split, c.patients, c.scans, c.slices, c.air, f"{c.clipped / c.voxels:.3%}")
        for task in Modality
        for split in SPLITS
        if (c := manifest.counts[split].get(task)) is not None
    ]
    head = "Task", "Split", "Patients", "Scans", "Slices", "Air, left out", "Voxels clipped"
    return f"<h2>Counts</h2>{_table(head, rows)}"


def _refused(manifest: Manifest) -> str:
    if not manifest.refused:
        return "<h2>Refused</h2><p>No scan was refused.</p>"
    rows = [(r.patient_id, r.modality, r.file, r.code, r.reason) for r in manifest.refused]
    head = "Patient", "Task", "File", "Code", "Reason"
    return f"<h2>Refused: {len(rows)} scans</h2>{_table(head, rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Numbers to the right; on a narrow screen it scrolls sideways on its own."""
    titles = "".join(f"<th scope='col'>{title}</th>" for title in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f"<div class='scroll' tabindex='0'><table><thead><tr>{titles}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    text = escape(str(value))
    return f"<td class='number'>{text}</td>" if text[:1].isdigit() else f"<td>{text}</td>"


def _windows(manifest: Manifest) -> str:
    held = {task for split in SPLITS for task in manifest.counts[split]}
    shown = "; ".join(
        f"{task} {WINDOWS[task].lower:g} to {WINDOWS[task].upper:g} {WINDOWS[task].unit}"
        for task in Modality
        if task in held
    )
    return (
        f"<h2>Scans</h2><p>The middle slice of each scan, in fixed windows: {shown}. Histograms "
        "are over slices of the whole scan, the square root of the share of pixels: "
        "<span class='key solid'>target</span>, <span class='key dashed'>degraded</span>.</p>"
    )


def _split(folder: Path, manifest: Manifest, split: Split) -> Iterator[str]:
    entries = manifest.of(split)
    total = sum(len(manifest.of(s)) for s in SPLITS)
    most = max(1, MOST_SCANS * len(entries) // max(total, 1))
    places = np.unique(np.linspace(0, len(entries) - 1, min(most, len(entries))).round())
    shown = [entries[int(place)] for place in places] if entries else []
    note = f", {len(shown)} of them shown" if len(shown) < len(entries) else ""
    yield f"<h3>{split}: {len(entries)} scans{note}</h3><div class='scans'>"
    for entry in shown:
        yield _card(folder, entry)
    yield "</div>"


def _card(folder: Path, entry: ShardEntry) -> str:
    rows = np.linspace(0, entry.rows - 1, min(MOST_SLICES, entry.rows)).round().astype(int)
    wanted = sorted({*rows.tolist(), entry.rows // 2})
    pairs = list(read_shard(folder, entry, wanted))
    middle = pairs[wanted.index(entry.rows // 2)]
    patient = escape(entry.patient_id)
    height, width = middle.target.shape
    facts = (
        f"{entry.modality}, {entry.rows} slices of {height} x {width}, "
        f"{middle.spacing_mm[0]:.3g} x {middle.spacing_mm[1]:.3g} mm; "
        f"{escape(str(entry.parameters.get('name', '')))}"
    )
    pictures = "".join(
        f"<figure><img src='{_picture(image, middle)}' alt='{name} slice of {patient}' "
        f"width='{width}' height='{height}' style='aspect-ratio:{_aspect(middle):.4f}'>"
        f"<figcaption>{name}</figcaption></figure>"
        for name, image in (("degraded", middle.degraded), ("target", middle.target))
    )
    return (
        f"<article><h4>{patient}</h4><p class='quiet'>{facts}</p>"
        f"<div class='pair'>{pictures}</div>{_histogram(pairs, entry.modality)}</article>"
    )


def _aspect(pair: SlicePair) -> float:
    """Width over height in millimetres."""
    height, width = pair.target.shape
    return float(width * pair.spacing_mm[1] / (height * pair.spacing_mm[0]))


def _picture(image: NDArray[np.float32], pair: SlicePair) -> str:
    """The slice in its window as a PNG in an address; PET dark on white, as it is read."""
    from PIL import Image

    grey = WINDOWS[pair.modality].normalise(image * np.float32(pair.scale))
    if pair.modality is Modality.PET:
        grey = 1 - grey
    picture = Image.fromarray((grey * 255).round().astype(np.uint8))
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _histogram(pairs: Sequence[SlicePair], modality: Modality) -> str:
    limits = HISTOGRAMS[modality]
    lines = "".join(
        f"<polyline class='{style}' points='{_points(images, limits)}'/>"
        for style, images in (
            ("dashed", [pair.degraded * np.float32(pair.scale) for pair in pairs]),
            ("solid", [pair.target * np.float32(pair.scale) for pair in pairs]),
        )
    )
    return (
        f"<svg viewBox='0 0 {BINS} 40' preserveAspectRatio='none' role='img' "
        f"aria-label='Histograms of degraded and target'>{lines}</svg>"
        f"<p class='ends'><span>{limits.lower:g}</span><span>{limits.unit}</span>"
        f"<span>{limits.upper:g}</span></p>"
    )


def _points(images: Sequence[NDArray[np.float32]], limits: IntensityRange) -> str:
    """One point a bin, higher where more pixels are; those outside count in the outermost bins."""
    values = limits.clip(np.concatenate([image.ravel() for image in images]))
    counts, _ = np.histogram(values, BINS, (limits.lower, limits.upper))
    heights = 38 - 37 * np.sqrt(counts / max(int(counts.max()), 1))
    return " ".join(f"{k + 0.5:g},{height:.1f}" for k, height in enumerate(heights))


STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --quiet: #5a6470; --page: #fff; --card: #f5f6f8;
  --line: #d5d9df; --solid: #1463c4; --dashed: #b3541e; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --quiet: #a2abb6; --page: #14171b;
  --card: #1e2329; --line: #39414b; --solid: #6aa9f5; --dashed: #f0a068; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1, h2, h3, h4 { line-height: 1.2; overflow-wrap: anywhere; }
h1 { margin: 0; } h2 { margin: 2rem 0 .6rem; } h4 { margin: 0; font-size: 1rem; }
p { margin: .3rem 0 .8rem; } .quiet { color: var(--quiet); font-size: .875rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .925rem; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td:last-child { min-width: 8rem; }
.scans { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .8rem; break-inside: avoid; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; align-items: end; }
figure { margin: 0; } img { display: block; width: 100%; height: auto; background: #000; }
figcaption { color: var(--quiet); font-size: .8rem; text-align: center; }
svg { display: block; width: 100%; height: 3.5rem; margin-top: .4rem;
  border-bottom: 1px solid var(--line); }
polyline { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; }
polyline.solid { stroke: var(--solid); }
polyline.dashed { stroke: var(--dashed); stroke-dasharray: 4 3; }
.ends { display: flex; justify-content: space-between; margin: 0; color: var(--quiet);
  font-size: .75rem; }
.key { border-bottom: 2px solid var(--solid); white-space: nowrap; }
.key.dashed { border-bottom: 2px dashed var(--dashed); }
@media print { :root { --text: #000; --quiet: #444; --page: #fff; --card: #fff; --line: #bbb;
  --solid: #1463c4; --dashed: #b3541e; color-scheme: light; }
  main { max-width: none; padding: 0; } body { font-size: 11pt; }
  .scans { grid-template-columns: repeat(3, 1fr); } .scroll { overflow: visible; }
  h3 { break-after: avoid; } img { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
