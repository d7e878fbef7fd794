"""The report's figures: where the data went, how training went, who got how much right, and what changed by type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.figures import ABSENT, percent, points, points_interval, whole
from engine.report.document import Figure
from engine.report.drawing import BLUE, GREEN, GREY, INK, ORANGE, PALE, VERMILLION, blank, label, style, svg, table
from engine.report.query import QueryResult

Row = Mapping[str, Any]
_ROLES = {"primary": (VERMILLION, "s", True), "secondary": (BLUE, "o", True), "exploratory": (GREY, "o", False)}


def flow(steps: QueryResult, exclusions: QueryResult) -> Figure:
    """Boxes from candidates down to training data, what was left out beside each (Schulz et al. 2010)."""
    shown = [row for row in steps.rows if row["n"] is not None]
    out: dict[int, list[Row]] = {}
    for row in exclusions.rows:
        out.setdefault(row["step"], []).append(row)
    with style():
        from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

        # A unit is a line of text; each step takes what its exclusions need.
        needs = [max(3.2, 1.9 + len(out.get(row["step"], ()))) for row in shown]
        branches = [_branch(row["step"]) for row in shown]
        begins = [place > 0 and branches[place] != branches[place - 1] for place in range(len(shown))]
        total = sum(needs) + 1.4 * sum(begins)
        drawing = blank(7.2, 0.19 * total + 0.2)
        axes = drawing.add_subplot()
        axes.set(xlim=(0, 100), ylim=(total, -0.3))
        axes.axis("off")

        def box(x: float, y: float, width: float, height: float, colour: str, edge: str) -> None:
            shape = "round,pad=0,rounding_size=0.25"
            axes.add_patch(
                FancyBboxPatch((x, y), width, height, boxstyle=shape, facecolor=colour, edgecolor=edge, linewidth=1,
                               mutation_aspect=0.4)
            )  # fmt: skip

        def arrow(start: tuple[float, float], end: tuple[float, float]) -> None:
            axes.add_patch(
                FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=GREY, linewidth=1, shrinkA=0,
                                shrinkB=0)
            )  # fmt: skip

        top = 0.0
        for place, (row, need) in enumerate(zip(shown, needs, strict=True)):
            if begins[place]:
                axes.text(1, top + 0.7, "made from accepted answers:", va="center", fontsize=8, color=GREY)
                top += 1.4
            box(1, top, 44, 2.1, PALE, BLUE)
            axes.text(23, top + 0.72, label(row["name"]), ha="center", va="center")
            axes.text(23, top + 1.48, f"n = {whole(row['n'])}", ha="center", va="center", weight="bold")
            if place + 1 < len(shown) and branches[place] == branches[place + 1]:
                arrow((23, top + 2.1), (23, top + need))
            if reasons := out.get(row["step"]):
                height = 0.55 + len(reasons)
                box(54, top + 0.5, 45, height, "white", ORANGE)
                for line, reason in enumerate(reasons):
                    told = label(reason["reason"], 44)
                    axes.text(55.5, top + 1.3 + line, told, va="center", fontsize=8)
                    axes.text(97.5, top + 1.3 + line, whole(reason["n"]), va="center", ha="right", fontsize=8)
                arrow((45, top + 1.05), (54, top + 1.05))
            top += need
        about = "; ".join(f"{label(row['name'])}: {whole(row['n'])}" for row in shown)
        rows = [{"step": r["step"], "what": r["name"], "n": r["n"]} for r in steps.rows]
        rows += [{"step": r["step"], "what": f"left out: {r['reason']}", "n": r["n"]} for r in exclusions.rows]
        rows.sort(key=lambda r: r["step"])
        drawn = svg(drawing, "flow", "Flow of the data", about)
    return Figure("flow", drawn, table(rows), f"Flow of the data. {about}")


def _branch(step: int) -> int:
    """Answers, revisions and pairs: what is made from accepted answers begins a branch of its own."""
    return 0 if step <= 6 else 1 if step <= 8 else 2


def curves(steps: QueryResult) -> Figure:
    """The loss of each training by step, with the held-out loss where it was measured."""
    by_training: dict[str, list[Row]] = {}
    for row in steps.rows:
        by_training.setdefault(row["training_id"], []).append(row)
    with style():
        from matplotlib.ticker import MaxNLocator

        n = len(by_training)
        drawing = blank(7.2, 2.5 * n)
        all_axes = drawing.subplots(n, 1, squeeze=False)[:, 0]
        for axes, (name, rows) in zip(all_axes, by_training.items(), strict=True):
            axes.plot([r["step"] for r in rows], [r["loss"] for r in rows], color=BLUE, linewidth=1.2, label="training")
            held = [r for r in rows if r["heldout_loss"] is not None]
            if held:
                axes.plot([r["step"] for r in held], [r["heldout_loss"] for r in held], color=VERMILLION, linewidth=1.2,
                          linestyle="--", marker="o", markersize=4, label="held out")  # fmt: skip
            axes.set_title(label(name))
            axes.set_ylabel("loss, nats")
            axes.grid(axis="y", color=PALE)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(loc="upper right")
        all_axes[-1].set_xlabel("step of the optimiser")
        about = "; ".join(f"{label(name)}: {whole(len(rows))} steps" for name, rows in by_training.items())
        drawn = svg(drawing, "training", "Loss of training", f"Loss by step. {about}")
    return Figure("training", drawn, table(steps.rows), f"Loss of training by step. {about}")


def conditions(shares: QueryResult) -> Figure:
    """The share of right answers by condition, with Wilson intervals; a panel a capability."""
    panels: dict[str, list[Row]] = {}
    for share_of in shares.rows:
        panels.setdefault(share_of["capability"], []).append(share_of)
    with style():
        drawing = blank(7.2, sum(0.7 + 0.34 * len(rows) for rows in panels.values()) + 0.3)
        heights = [1 + len(rows) / 2 for rows in panels.values()]
        all_axes = drawing.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (name, rows) in zip(all_axes, panels.items(), strict=True):
            for place, row in enumerate(rows):
                colour = BLUE if str(row["condition"]).startswith("base") else GREEN
                colour = GREY if row["condition"] == "reference" else colour
                axes.plot([100 * row["lo"], 100 * row["hi"]], [place, place], color=colour, linewidth=2)
                axes.plot([100 * row["share"]], [place], color=colour, marker="o", markersize=6)
                axes.text(103, place, f"{percent(row['share'])}  (n = {whole(row['n'])})", va="center", fontsize=8)
            axes.set_yticks(range(len(rows)), [label(row["condition"]) for row in rows])
            axes.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.6))
            axes.set_title(label(name))
            axes.grid(axis="x", color=PALE)
            axes.tick_params(axis="y", length=0)
        all_axes[-1].set_xlabel("share of items right, %, with Wilson 95 % interval")
        about = "; ".join(
            f"{label(r['capability'])}, {label(r['condition'])}: {percent(r['share'])} of {whole(r['n'])}"
            for r in shares.rows
        )
        drawn = svg(drawing, "conditions", "Share of items right by condition", about)
    return Figure("conditions", drawn, table(shares.rows), f"Share of items right by condition. {about}")


def _interval_of(row: Row) -> str:
    return ABSENT if row["told_lo"] is None else points_interval(row["told_lo"], row["told_hi"])


def forest(name: str, results: QueryResult, rows: Sequence[Row], title: str) -> Figure:
    """Differences with their intervals, one line a type, all types first; no interval of too few templates."""
    with style():
        from matplotlib.lines import Line2D

        drawing = blank(7.2, 0.9 + 0.3 * len(rows))
        axes = drawing.add_subplot()
        axes.axvline(0, color=INK, linewidth=0.8)
        reach = max(
            5.0,
            *(
                100 * abs(row[one])
                for row in rows
                for one in ("difference", "told_lo", "told_hi")
                if row[one] is not None
            ),
        )
        for place, row in enumerate(rows):
            colour, marker, solid = _ROLES.get(row["role"], _ROLES["exploratory"])
            if row["told_lo"] is not None:
                axes.plot([100 * row["told_lo"], 100 * row["told_hi"]], [place, place], color=colour, linewidth=1.6)
            axes.plot([100 * row["difference"]], [place], color=colour, marker=marker, markersize=6.5,
                      markerfacecolor=colour if solid else "white")  # fmt: skip
            told = f"{points(row['difference'])} {_interval_of(row)}  n = {whole(row['n'])}"
            axes.text(1.03, place, told, va="center", fontsize=8, transform=axes.get_yaxis_transform())
        axes.set_yticks(range(len(rows)), [label(row["item_type"]) for row in rows])
        axes.set(xlim=(-1.05 * reach, 1.05 * reach), ylim=(len(rows) - 0.4, -0.6))
        axes.set_xlabel("difference in percentage points, right is better, with 95 % interval")
        axes.set_title(label(title, 80))
        axes.grid(axis="x", color=PALE)
        axes.tick_params(axis="y", length=0)
        roles = [role for role in _ROLES if any(row["role"] == role for row in rows)]
        handles = [
            Line2D([], [], color=_ROLES[role][0], marker=_ROLES[role][1], label=role,
                   markerfacecolor=_ROLES[role][0] if _ROLES[role][2] else "white")
            for role in roles
        ]  # fmt: skip
        drawing.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        about = "; ".join(f"{label(r['item_type'])}: {points(r['difference'])} {_interval_of(r)}" for r in rows)
        drawn = svg(drawing, name, f"Differences by type: {label(title, 80)}", about)
    return Figure(name, drawn, table(rows), f"Differences by type, {label(title, 80)}. {about}")


def frontier(points_of: QueryResult) -> Figure:
    """Win rates against the base: helpfulness across, harmlessness up, each with its interval; the base at one half."""
    with style():
        drawing = blank(5.2, 4.6)
        axes = drawing.add_subplot()
        axes.axhline(50, color=PALE, linewidth=1)
        axes.axvline(50, color=PALE, linewidth=1)
        axes.plot([50], [50], color=GREY, marker="o", markersize=6, markerfacecolor="white")
        axes.annotate("base", (50, 50), textcoords="offset points", xytext=(6, 6), fontsize=8, color=GREY)
        several = len({row["judge"] for row in points_of.rows}) > 1
        names = [f"{row['condition']} by {row['judge']}" if several else row["condition"] for row in points_of.rows]
        for row, name in zip(points_of.rows, names, strict=True):
            x, y = 100 * row["helpful"], 100 * row["harmless"]
            colour = GREEN if row["condition"] == "sft" else BLUE
            if row["helpful_lo"] is not None:
                axes.plot([100 * row["helpful_lo"], 100 * row["helpful_hi"]], [y, y], color=colour, linewidth=1.6)
            if row["harmless_lo"] is not None:
                axes.plot([x, x], [100 * row["harmless_lo"], 100 * row["harmless_hi"]], color=colour, linewidth=1.6)
            axes.plot([x], [y], color=colour, marker="o", markersize=6)
            axes.annotate(label(name), (x, y), textcoords="offset points", xytext=(6, 6), fontsize=8)
        axes.set(xlim=(0, 100), ylim=(0, 100))
        controlled = [row["controlled"] for row in points_of.rows]
        length = ", at equal length" if all(controlled) else ", some at equal length" if any(controlled) else ""
        axes.set_xlabel(f"more helpful than the base, % of pairs{length}")
        axes.set_ylabel("less harmful than the base, % of pairs")
        about = "; ".join(
            f"{label(name)}: more helpful {percent(row['helpful'])}, less harmful {percent(row['harmless'])}"
            for row, name in zip(points_of.rows, names, strict=True)
        )
        drawn = svg(drawing, "frontier", "Helpfulness against harmlessness", about)
    return Figure("frontier", drawn, table(points_of.rows), f"Helpfulness against harmlessness. {about}")
