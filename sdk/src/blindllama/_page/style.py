"""How a page looks: on a phone, on paper, in the dark."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #ffffff; --ink: #1c1d1f; --quiet: #5b5f66; --line: #dcdddf;
  --passed: #14672f; --failed: #a3161b; --not_run: #5b5f66;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15171a; --card: #1d2024; --ink: #ececed; --quiet: #a4a9b1; --line: #363a40;
    --passed: #6fd492; --failed: #ff908f; --not_run: #a4a9b1;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.25rem 1rem 3rem; max-width: 46rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0; display: inline; }
p { margin: .4rem 0; }
.verdict {
  padding: 1rem; border: 1px solid var(--line); border-left: .45rem solid var(--quiet);
  border-radius: .3rem; background: var(--card);
}
.verdict.passed { border-left-color: var(--passed); }
.verdict.failed { border-left-color: var(--failed); }
.verdict.passed h1, li.passed .status { color: var(--passed); }
.verdict.failed h1, li.failed .status { color: var(--failed); }
ol, .limits { padding: 0; list-style: none; }
ol li { padding: .7rem 0; border-top: 1px solid var(--line); }
ol li:last-child { border-bottom: 1px solid var(--line); }
.head { display: flex; gap: .6rem; align-items: baseline; }
.number { min-width: 1.6em; text-align: right; color: var(--quiet); }
.head h3 { flex: 1; }
.status { font-weight: 600; white-space: nowrap; color: var(--not_run); }
dl { margin: .4rem 0 0 2.2rem; display: grid; grid-template-columns: minmax(6.5rem, auto) 1fr;
  gap: .1rem .8rem; font-size: .9rem; }
dt { color: var(--quiet); }
dd { margin: 0; }
.limits li { padding-left: 1.1rem; text-indent: -1.1rem; margin: .4rem 0; }
.limits li::before { content: "–"; display: inline-block; width: 1.1rem; text-indent: 0; }
.picture { width: 100%; min-width: 36rem; height: auto; margin: .5rem 0; }
.picture rect { fill: var(--card); stroke: var(--quiet); stroke-width: 1.5; }
.picture .passed rect { stroke: var(--passed); }
.picture .failed rect { stroke: var(--failed); stroke-dasharray: 5 3; }
.picture text { fill: var(--ink); font: 13px system-ui, sans-serif; text-anchor: middle; }
.picture .small { fill: var(--quiet); font-size: 11px; }
.picture path { fill: none; stroke: var(--quiet); stroke-width: 1.5; }
.wide { overflow-x: auto; }
.wide table { min-width: 36rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
  border-top: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; }
caption { text-align: left; color: var(--quiet); font-size: .9rem; padding: .2rem 0; }
code { font: .8rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); padding: .4rem 0; }
summary { cursor: pointer; }
summary:focus-visible, input:focus-visible, .wide:focus-visible {
  outline: 3px solid var(--quiet); outline-offset: 2px;
}
.bar { display: block; width: 100%; min-width: 5rem; height: .7rem; }
.bar rect { fill: var(--quiet); }
input { font: inherit; width: 100%; padding: .4rem .5rem; color: var(--ink);
  background: var(--card); border: 1px solid var(--quiet); border-radius: .3rem; }
@media (max-width: 32rem) {
  dl { grid-template-columns: 1fr; margin-left: 2.2rem; gap: 0; }
  dd { margin-bottom: .35rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  ol li, .verdict, tr { break-inside: avoid; }
  .search { display: none; }
  tr[hidden] { display: table-row; }
}
"""
