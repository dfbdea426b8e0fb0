#!/usr/bin/env python3
"""Turns a folder that compare.sh has filled into a Markdown report.

Per row: the median over the rounds of each side's medians; the ratio is the median over the rounds of
the ratio within a round (its range behind it), against the fastest variant of the tuned peer.
"as installed" is the first variant with the allocator as it comes. A peak resident set is the whole
process's, a library's start included; "above the start" is without it: what the process held before
the case, PyTorch's after its imports. "CPU" is the time of all threads together: beside other work on the
machine the ratio to trust on one thread. "of a product": operations in the products that the case needs,
per second, over those of one large product that the same process measured.

Usage: report.py DIR
"""
import json
import pathlib
import re
import statistics
import sys

NAME = re.compile(r"(?P<case>\w+)\.(?P<part>\w+)\.t(?P<threads>\d+)\.r(?P<round>\d+)\."
                  r"(?P<side>basin|pytorch-(?P<variant>\w+)-(?P<label>[\w-]+?)(?P<compiled>-compiled)?)"
                  r"\.json")
LABELS = {"forward": "forward, training mode", "forward_backward": "forward + backward",
          "adam_update": "Adam, update alone", "adam_step": "Adam step",
          "adamw_update": "AdamW, update alone", "adamw_step": "AdamW step",
          "muon_update": "Muon, update alone", "muon_step": "Muon step",
          "hvp_gradient": "gradient, HVP batch", "hvp_one_shot": "HVP, one shot",
          "hvp_probe": "HVP, each further probe",
          "hvp_lane": "HVP, each of 4 probes given at once",
          "20x3": "2-20x3-1", "20x3_nested": "2-20x3-1, by nested forward mode",
          "128x4": "2-128x4-1", "128x4_nested": "2-128x4-1, by nested forward mode",
          "d3": "D = 3", "d64": "D = 64", "d128": "D = 128"}


def read(folder):
    """{(case, threads, row): {side: {round: numbers}}}, and one record of each side."""
    rows, records = {}, {}
    for path in sorted(folder.glob("*.json")):
        match = NAME.fullmatch(path.name)
        if not match:
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        side = match["side"]
        records.setdefault(side, record)
        prefix = f"{match['case'].removeprefix('hvp_')}.t{match['threads']}."
        for key, value in record.items():
            if not key.startswith(prefix) or not key.endswith(".median_ms"):
                continue
            row = key[len(prefix):-len(".median_ms")]
            if row.endswith(".nanoflann"):  # measured in Basin's own process, in turn with it
                row, side = row[:-len(".nanoflann")], "nanoflann"
            else:
                side = match["side"]
            numbers = {"ms": value, "cpu": record.get(f"{prefix}{row}.cpu_ms"), "rss": record.get(prefix + "peak_rss_bytes"),
                       "start": record.get(prefix + "start_rss_bytes",
                                           record.get("start_rss_bytes")),
                       "share": record.get(f"{prefix}{row}.reduced_share_of_products"),
                       "rate": record.get(f"{prefix}{row}.reduced_gflops"),
                       "faults": record.get(f"{prefix}{row}.page_faults"),
                       "peak": record.get(f"{prefix}{row}.peak_bytes")}
            group = rows.setdefault((match["case"], int(match["threads"]), row), {})
            group.setdefault(side, {})[int(match["round"])] = numbers
    return rows, records


def median(rounds, key):
    values = [r[key] for r in rounds.values() if r[key] is not None]
    return statistics.median(values) if values else None


def ratio_text(basin, peer, key="ms"):
    ratios = [peer[r][key] / basin[r][key] for r in basin
              if r in peer and peer[r][key] and basin[r][key]]
    if not ratios:
        return "-"
    spread = f" ({min(ratios):.1f}-{max(ratios):.1f})" if len(ratios) > 1 else ""
    return f"**{statistics.median(ratios):.1f}x**{spread}"


def number(value, scale=1.0):
    if value is None:
        return "-"
    value *= scale
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def above_start(rounds):
    values = [r["rss"] - r["start"] for r in rounds.values() if r["rss"] and r["start"]]
    return statistics.median(values) if values else None


def memory_text(basin, peer, stock):
    """Peaks above the start in GB; the ratio is against the smaller of the two peers'."""
    mine = above_start(basin)
    peers = [above_start(side) for side in (peer, stock) if side]
    text = " / ".join(number(x, 1e-9) for x in (mine, *peers))
    known = [x for x in peers if x]
    return f"{text}, **{min(known) / mine:.1f}x**" if mine and known else text


def share_text(basin):
    rate, share = median(basin, "rate"), median(basin, "share")
    return f"{number(rate)}, {100 * share:.0f} %" if rate and share else "-"


def cells(row, sides):
    basin = sides.get("basin", {})
    tuned = {s: v for s, v in sides.items() if s.startswith("pytorch") and "as-installed" not in s}
    stock = {s: v for s, v in sides.items() if "as-installed" in s}
    tree = sides.get("nanoflann")
    best = min(tuned, key=lambda s: median(tuned[s], "ms")) if tuned else None
    peer = tuned.get(best)
    others = ", ".join(f"{s.split('-', 1)[1].replace('-tuned', '')} {number(median(v, 'ms'))}"
                       for s, v in tuned.items() if s != best)
    if tree and basin:
        others += f", nanoflann {number(median(tree, 'ms'))}, {ratio_text(basin, tree)}"
    name = best.split("-", 1)[1].replace("-tuned", "") if best else "-"
    first = next(iter(stock.values()), None)
    gb = 1e-9
    return [LABELS.get(row, row), number(median(basin, "ms")) if basin else "-",
            f"{number(median(peer, 'ms'))} ({name})" if peer else "-",
            ratio_text(basin, peer) if basin and peer else "-", others or "-",
            f"{number(median(first, 'ms'))}, {ratio_text(basin, first)}" if first and basin else "-",
            f"{number(median(basin, 'faults'))} / {number(median(peer, 'faults')) if peer else '-'}"
            if basin else "-",
            number(median(basin, "peak"), gb) if basin else "-",
            f"{number(median(basin, 'rss'), gb)} / {number(median(peer, 'rss'), gb) if peer else '-'}"
            if basin else "-",
            f"{number(median(basin, 'cpu'))} / {number(median(peer, 'cpu'))}, "
            f"{ratio_text(basin, peer, 'cpu')}" if basin and peer else "-",
            memory_text(basin, peer, first) if basin else "-", share_text(basin) if basin else "-"]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows, records = read(pathlib.Path(sys.argv[1]))
    if not rows:
        sys.exit(f"report.py: {sys.argv[1]}: no file of compare.sh in it")
    for side, record in records.items():
        if side == "basin":
            print(f"Basin {record['basin_version']} {record['git_hash'][:12]}, {record['compiler']}, "
                  f"{record['cpu']}, {record['blas']}  ")
    peer = next((r for s, r in records.items() if "tuned" in s), None)
    if peer:
        print(f"PyTorch {peer['torch']}; {peer['built_with']}; tuned: {peer['environment']}; "
              f"resident after import {number(peer.get('start_rss_bytes'), 1e-9)} GB  ")
    head = ["", "Basin ms", "PyTorch tuned ms (variant)", "ratio (range)", "other peers ms",
            "as installed ms, ratio", "faults", "Basin peak allocated GB",
            "peak resident GB, Basin / PyTorch",
            "CPU ms, Basin / PyTorch", "above the start GB, Basin / tuned / as installed", "GF/s, of a product"]
    for case, threads in dict.fromkeys((c, t) for c, t, _ in rows):
        print(f"\n### {case}, {threads} thread{'s' if threads > 1 else ''}\n")
        print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
        group = {row: sides for (c, t, row), sides in rows.items() if (c, t) == (case, threads)}
        order = [r for r in LABELS if r in group] + [r for r in group if r not in LABELS]
        for row in order:
            print("| " + " | ".join(cells(row, group[row])) + " |")


if __name__ == "__main__":
    main()
