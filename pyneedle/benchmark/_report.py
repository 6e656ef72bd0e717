"""Comparisons as a Markdown table."""

from collections.abc import Callable, Mapping, Sequence

from ._compare import Comparison

Goals = Callable[[Comparison], tuple[str, str]]


def machine_table(machine: Mapping[str, str]) -> str:
    """The machine's description."""
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in machine.items())])


def comparison_table(rows: Sequence[Comparison], goals: Goals | None = None) -> str:
    """A row per comparison: pyneedle's time, the ratio to the fastest peer with its range, and every peer's ratio.

    Parameters
    ----------
    rows : sequence of Comparison
        In the order of the table.
    goals : callable, optional
        Gives "must reach" and "aim" of a comparison as text, "" for none; adds the two columns.
    """
    peers = list(dict.fromkeys(peer for row in rows for peer in row.ratios))
    head = ["what", "kernel", "pyneedle, ms", "fastest peer", "ratio [range]"]
    head += ["must reach", "aim"] if goals else []
    head += peers
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [f"{row.label}, {row.what}", row.kernel, f"{1e3 * row.seconds['pyneedle']:.4g}", row.fastest or "none"]
        cells.append(str(row.ratios[row.fastest]) if row.fastest else "")
        cells += list(goals(row)) if goals else []
        cells += [f"{row.ratios[peer].median:.3g}x" if peer in row.ratios else "" for peer in peers]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def skipped_lines(rows: Sequence[Comparison]) -> list[str]:
    """Which peers were left out somewhere, and why, each reason once."""
    reasons = dict.fromkeys(f"{peer} skipped: {reason}" for row in rows for peer, reason in row.skipped.items())
    return list(reasons)
