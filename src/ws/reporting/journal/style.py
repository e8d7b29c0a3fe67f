"""The page's look: one column, tables that scroll inside themselves, a dark theme, a print form."""

CSS = """
:root { color-scheme: light dark; --ink: #1d2330; --dim: #5c6675; --paper: #fff; --panel: #f5f6f8; --line: #d9dde3;
  --green: #1f7a45; --yellow: #8a6100; --red: #b3261e; --on: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --dim: #a3adba; --paper: #14171c; --panel: #1d2128;
  --line: #363d48; --green: #63c98d; --yellow: #e2b64a; --red: #ff8a80; --on: #14171c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 80px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 44px 0 12px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 26px 0 8px; }
h3 span:last-child { font-weight: normal; color: var(--dim); }
p { margin: 6px 0; overflow-wrap: anywhere; }
code { font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.dim, figcaption, caption { color: var(--dim); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 22px 0; }
.tile { background: var(--panel); border: 1px solid var(--line); border-top: 4px solid var(--dim); border-radius: 6px;
  padding: 10px 14px 12px; font-size: 13px; }
.tile.green { border-top-color: var(--green); } .tile.yellow { border-top-color: var(--yellow); }
.tile.red { border-top-color: var(--red); }
.tile .outcome { font-size: 17px; font-weight: 600; margin-top: 6px; }
.tile .figure { font-variant-numeric: tabular-nums; margin-bottom: 4px; }
.badge { display: inline-block; padding: 0 8px; border-radius: 9px; font-size: 12px; font-weight: 600; color: var(--on);
  background: var(--dim); } h3 span.badge:first-child { color: var(--on); font-weight: 600; }
.badge.green { background: var(--green); } .badge.yellow { background: var(--yellow); }
.badge.red { background: var(--red); }
.wide { overflow-x: auto; margin: 12px 0 20px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
table.narrow { width: auto; } table.narrow td, table.narrow th { padding-right: 28px; }
caption { text-align: left; padding-bottom: 6px; white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--dim); white-space: nowrap; }
th.n, td.n { text-align: right; white-space: nowrap; }
tr.strong td { font-weight: 650; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 16em; max-width: 100%; font-weight: normal; }
strong .said { display: inline; font-weight: 600; }
.note { background: var(--panel); border-left: 3px solid var(--line); padding: 8px 12px; margin: 8px 0; }
.note .said { display: inline; }
.entry { margin: 22px 0; }
.figures { display: flex; flex-wrap: wrap; gap: 28px; align-items: flex-start; }
figure { margin: 12px 0; max-width: 100%; } figure svg { max-width: 100%; height: auto; }
figcaption { font-size: 13px; margin-top: 4px; contain: inline-size; }
details { margin: 4px 0; } summary { cursor: pointer; padding: 3px 0; }
dl { font-size: 13px; margin: 0; } dl div { display: flex; gap: 8px; } dt { min-width: 7em; } dd { margin: 0; }
@media print { :root { --ink: #000; --dim: #444; --paper: #fff; --panel: #fff; --line: #bbb; --green: #1f7a45;
  --yellow: #8a6100; --red: #b3261e; --on: #fff; } main { max-width: none; padding: 0; } body { font-size: 11px; }
  table { font-size: 9.5px; } .tile, figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .wide { overflow: visible; } details::details-content { content-visibility: visible; display: block; }
  summary { list-style: none; font-weight: 600; break-after: avoid; }
  .badge { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
