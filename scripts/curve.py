"""Draws a run as one SVG: mean reward, held-out accuracy with its 95 % interval, and entropy.

    python3 scripts/curve.py runs/quickstart docs/quickstart.svg

It reads the files of the run directory, needs nothing but Python, and writes the same bytes for the same run.
The picture has its own background, and a dark form for viewers that ask for one.
"""

import itertools
import json
import math
import pathlib
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, TOP, BOTTOM = 900, 250, 46, 212
# Left and right end of each panel's axis.
PANELS = ((48, 280), (352, 584), (656, 888))
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #57606a }
.title { font-size: 13px; font-weight: 600; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d0d7de }
.grid { stroke: #d8dee4; stroke-width: 1 }
.stage { stroke: #8c959f; stroke-dasharray: 3 3 }
.raw { fill: none; stroke: #0969da; stroke-width: 1; opacity: 0.4 }
.line { fill: none; stroke: #0969da; stroke-width: 2; stroke-linejoin: round }
.band { fill: #0969da; opacity: 0.15 }
.bar { stroke: #0969da; stroke-width: 1.5 }
.dot { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 }
.title { fill: #f0f6fc }
.card { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #2a313c }
.stage { stroke: #656c76 }
.raw, .line, .bar { stroke: #4493f8 }
.band, .dot { fill: #4493f8 }
}
"""
STAGES = {"sft": "supervised", "rl": "RL"}
# Steps to either side that a smoothed value is the mean of.
REACH = 4


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def series(steps, key):
    return [(row["step"], row[key]) for row in steps if key in row]


def smooth(points):
    def mean(at):
        near = [value for _, value in points[max(0, at - REACH) : at + REACH + 1]]
        return sum(near) / len(near)

    return [(step, mean(at)) for at, (step, _) in enumerate(points)]


def ticks(low, high):
    """Three to six round numbers, the first at or below `low`, the last at or above `high`."""
    rough = (high - low) / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


class Panel:
    """One pair of axes, and what is drawn between them."""

    def __init__(self, ends, title, xs, ys, percent=False):
        self.left, self.right = ends
        self.x = (min(xs), max(max(xs), min(xs) + 1))
        marks = [0, 25, 50, 75, 100] if percent else ticks(min(0, *ys), max(*ys, 1e-9))
        self.y = (marks[0], marks[-1])
        self.parts = [text(self.left - 34, 28, title, "title", "start")]
        for mark in marks:
            self.parts.append(segment(self.left, self.at_y(mark), self.right, self.at_y(mark), "grid"))
            label = f"{mark:g} %" if percent else f"{mark:g}"
            self.parts.append(text(self.left - 6, self.at_y(mark) + 4, label, None, "end"))
        for mark in ticks(*self.x):
            if self.x[0] <= mark <= self.x[1]:
                self.parts.append(text(self.at_x(mark), BOTTOM + 18, f"{mark:g}", None, "middle"))
        self.parts.append(text((self.left + self.right) / 2, BOTTOM + 33, "step", None, "middle"))

    def at_x(self, value):
        return self.left + (value - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left)

    def at_y(self, value):
        return BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (BOTTOM - TOP)

    def place(self, points):
        return " ".join(f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in points)

    def line(self, points, style):
        self.parts.append(f'<polyline class="{style}" points="{self.place(points)}"/>')

    def band(self, low, high):
        self.parts.append(f'<polygon class="band" points="{self.place(low + high[::-1])}"/>')

    def dot(self, x, y, low, high):
        across = self.at_x(x)
        self.parts.append(segment(across, self.at_y(low), across, self.at_y(high), "bar"))
        self.parts.append(f'<circle class="dot" cx="{across:.1f}" cy="{self.at_y(y):.1f}" r="3"/>')

    def boundary(self, step, before, after):
        across = self.at_x(step)
        self.parts.append(segment(across, TOP, across, BOTTOM, "stage"))
        self.parts.append(text(across - 5, TOP + 12, before, None, "end"))
        self.parts.append(text(across + 5, BOTTOM - 8, after, None, "start"))


def text(x, y, what, style, anchor):
    style = f' class="{style}"' if style else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(what)}</text>'


def segment(x1, y1, x2, y2, style):
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def curve(ends, title, points):
    if not points:
        sys.exit(f"{title}: the run has no step of reinforcement learning")
    panel = Panel(ends, title, [x for x, _ in points], [y for _, y in points])
    panel.line(points, "raw")
    panel.line(smooth(points), "line")
    return panel


def accuracy(ends, evaluations, steps):
    if not evaluations:
        sys.exit("held-out accuracy: the run has no evaluation of the set `held-out`")
    found = [(one["step"], *(100 * one[key] for key in ("accuracy", "low", "high"))) for one in evaluations]
    panel = Panel(ends, "held-out accuracy, 95 % intervals", [point[0] for point in found], [0, 100], percent=True)
    for row, later in itertools.pairwise(steps):
        # The row of step 0 is before all stages.
        if row["step"] > 0 and row["stage"] != later["stage"]:
            panel.boundary(row["step"], STAGES[row["stage"]], STAGES[later["stage"]])
    panel.band([(x, low) for x, _, low, _ in found], [(x, high) for x, _, _, high in found])
    panel.line([(x, y) for x, y, _, _ in found], "line")
    for x, y, low, high in found:
        panel.dot(x, y, low, high)
    return panel


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: python3 scripts/curve.py RUN-DIRECTORY PICTURE.svg")
    run, picture = map(pathlib.Path, sys.argv[1:])
    steps = lines(run / "metrics.jsonl")
    evaluations = [json.loads(path.read_text()) for path in sorted(run.glob("evals/*/held-out.json"))]
    panels = [
        curve(PANELS[0], "mean reward", series(steps, "unfiltered/rewards/mean")),
        accuracy(PANELS[1], evaluations, steps),
        curve(PANELS[2], "entropy, nats a token", series(steps, "unfiltered/entropy")),
    ]
    box = f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="6"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
    parts = [head, f"<style>{STYLE}</style>", box, *(part for panel in panels for part in panel.parts), "</svg>"]
    picture.write_text("\n".join(parts) + "\n")
    print(f"{picture}: {len(steps)} steps, {len(evaluations)} evaluations")


main()
