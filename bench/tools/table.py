"""Results as text."""

import statistics


class Results:
    """The value of each row and server in each round."""

    def __init__(self):
        self.values = {}

    def add(self, row, server, turn, value):
        self.values.setdefault((row.name, server.name), {})[turn] = value

    def median(self, row, name):
        values = self.values.get((row.name, name))
        return statistics.median(values.values()) if values else None

    def spread(self, row, name):
        values = self.values[row.name, name].values()
        return min(values), max(values)

    def ratio(self, row, name):
        """To what the row is compared with: the median of the rounds' own ratios, as a round's runs are close in time."""
        base = (row.base, name) if row.against == "itself" else (row.name, row.against)
        values, bases = self.values.get((row.name, name), {}), self.values.get(base, {})
        ratios = [value / bases[turn] for turn, value in values.items() if turn in bases]
        return statistics.median(ratios) if ratios else None


def summary(results, rows, servers):
    """One line for each row."""
    peers = [server.name for server in servers if server.kind == "peer"]
    header = ["", "unit", "floor epoll", "floor tokio", "ours", "best peer", "ours / floor", "goal", ""]
    lines = [header]
    for row in rows:
        show = lambda name: number(results.median(row, name), row.unit)
        measured = [name for name in peers if results.median(row, name) is not None]
        best = min(measured, key=lambda name: results.median(row, name), default=None)
        lines.append([
            row.name, row.unit[0], show("floor_epoll"), show("floor_tokio"), show("ours"),
            f"{show(best)} {best}" if best else "-", *verdict(results, row),
        ])
    return grid(lines)


def verdict(results, row):
    against = {"floor_epoll": "epoll", "floor_tokio": "tokio", "itself": "one thread", "hyper": "hyper", None: row.unit[0]}[row.against]
    if row.against is None:
        ours = results.median(row, "ours")
        ours = None if ours is None else ours * row.unit[1]
        shown = "-"
    else:
        ours = results.ratio(row, "ours")
        shown = "-" if ours is None else f"{ours:.2f}"
    return [shown, f"≤ {row.goal:.2f} {against}", "" if ours is None or round(ours, 2) <= row.goal else "over"]


def details(results, rows, servers):
    """One block for each row, with all servers in it, the best first."""
    text = []
    for row in rows:
        measured = [server for server in servers if results.median(row, server.name) is not None]
        measured.sort(key=lambda server: results.median(row, server.name))
        text.append(f"{row.name}, {row.unit[0]}")
        lines = [["", "median", "least", "most", "ratio", ""]]
        for server in measured:
            ratio = results.ratio(row, server.name)
            lines.append([
                f"  {server.name}", number(results.median(row, server.name), row.unit),
                *(number(value, row.unit) for value in results.spread(row, server.name)),
                "-" if ratio is None else f"{ratio:.2f}", server.kind,
            ])
        text.append(grid(lines) if measured else "  nobody was measured")
        text.append("")
    return "\n".join(text)


def number(value, unit):
    if value is None:
        return "-"
    value *= unit[1]
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def grid(lines):
    """Columns as wide as needed; the first one and those with words stand left, numbers right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    is_left = [all(not line[column][:1].isdigit() for line in lines[1:]) or column == 0 for column in range(len(widths))]
    format = lambda line: "  ".join(
        cell.ljust(width) if left else cell.rjust(width) for cell, width, left in zip(line, widths, is_left)
    ).rstrip()
    return "\n".join(map(format, lines))
