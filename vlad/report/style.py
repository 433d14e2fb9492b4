"""The report's style sheet. `--own` is the colour of a level or of a line, wherever it is used."""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b2027; --dim: #66707c; --rule: #d9dee4;
  --tile: #f4f6f8; --blue: #1f6fd0; --orange: #d4620a; --green: #1a8f5a;
  --safe: #37a06b; --caution: #3fa7c4; --warning: #e0a800; --danger: #d9442f; --emergency: #8f1fa8; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e3e8ee; --dim: #93a0ad;
  --rule: #323a44; --tile: #1d232a; --blue: #6aaaf5; --orange: #f09a55; --green: #58c794;
  --safe: #2f8a5c; --caution: #3a93ad; --emergency: #c05ad8; } }
.c0 { --own: var(--blue); } .c1 { --own: var(--orange); } .c2 { --own: var(--green); }
.safe { --own: var(--safe); } .caution { --own: var(--caution); } .warning { --own: var(--warning); }
.danger { --own: var(--danger); } .emergency { --own: var(--emergency); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(.75rem, 3vw, 2.5rem) 3rem; max-width: 84rem;
  background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { margin: .2rem 0; font-size: 1.7rem; }
h2 { margin: 2rem 0 .6rem; font-size: 1.15rem; }
p { margin: .3rem 0; }
small { color: var(--dim); overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem;
  padding: 0; list-style: none; }
.tiles li { background: var(--tile); border-radius: .5rem; padding: .6rem .8rem; color: var(--dim); }
.tiles b { display: block; color: var(--ink); font-size: 1.3rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr));
  gap: 1.2rem 1.6rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: .2rem; }
svg { display: block; width: 100%; height: auto; font-size: 11px; }
svg text { fill: var(--dim); }
rect { fill: var(--own); }
.grid { stroke: var(--rule); stroke-width: 1; fill: none; }
.line { stroke: var(--own); stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; fill: none; }
.mark { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 2 2; fill: none; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
small span { white-space: nowrap; margin-right: .4em; }
i { display: inline-block; width: .7em; height: .7em; margin-right: .35em; border-radius: .15em;
  background: var(--own); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92em; }
th { text-align: left; color: var(--dim); font-weight: 500; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
td:first-child { white-space: nowrap; }
.numbers td + td, .numbers th + th { text-align: right; }
.level { font-weight: 600; font-size: .85em; white-space: nowrap; }
.level::before { content: ""; display: inline-block; width: .6em; height: .6em; margin-right: .4em;
  border-radius: 50%; background: var(--own); }
details { margin-top: 1.2rem; }
summary { cursor: pointer; color: var(--dim); }
summary h2 { display: inline; color: var(--ink); }
"""
