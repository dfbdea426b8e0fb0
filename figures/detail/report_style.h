// The style sheet of report.html: no font, picture or sheet from elsewhere. Pictures stand on a
// white card in both colour schemes, so that their colours are the same in each; what is too wide
// for the screen scrolls inside its own box, never the page.
#pragma once
#include <string_view>

namespace basin {

inline constexpr std::string_view kReportStyle = R"css(
:root { --ground: #ffffff; --ink: #1d2127; --soft: #5b6470; --rule: #d8dde3; --tint: #f4f6f8;
  --link: #0b5cad; --warn: #8a4b00; --warn-ground: #fff6e5; --card: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --ink: #e3e7ec; --soft: #a0a9b4; --rule: #333a43; --tint: #1d2228;
    --link: #7db7f5; --warn: #f3c57a; --warn-ground: #2c2415; --card: #f0f0ee; }
  .card > * { filter: brightness(.94); }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; line-height: 1.25; margin: 2.4rem 0 .7rem; padding-top: .6rem;
  border-top: 1px solid var(--rule); overflow-wrap: anywhere; }
p, li { max-width: 76ch; overflow-wrap: anywhere; }
a { color: var(--link); }
.summary { font-size: 1.06rem; }
.hint, figcaption, dt { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
nav { background: var(--tint); border: 1px solid var(--rule); border-radius: 8px;
  margin: 1.6rem 0; padding: .7rem 1rem; }
nav ol { margin: 0; padding-left: 1.4rem; columns: 2 220px; column-gap: 2.6rem; }
.warnings { border-left: 4px solid var(--warn); background: var(--warn-ground); color: var(--warn);
  border-radius: 4px; margin: 1.2rem 0; padding: .4rem 1rem; }
.warnings ul { margin: .3rem 0; padding-left: 1.1rem; }
table { border-collapse: collapse; margin: .4rem 0; font-size: .875rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .38rem .65rem .38rem 0;
  border-bottom: 1px solid var(--rule); }
th { font-weight: 600; }
tbody th { font-weight: 400; }
thead th { border-bottom: 2px solid var(--rule); vertical-align: bottom; }
.n { text-align: right; white-space: nowrap; }
figure { margin: 1.4rem 0 2rem; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
.card > * { display: block; width: 100%; height: auto; margin: 0 auto;
  max-width: var(--natural); min-width: calc(.82 * var(--natural)); border-radius: 7px; }
figcaption { margin-top: .5rem; max-width: 90ch; overflow-wrap: anywhere; }
figure.table { margin: .4rem 0; }
.table figcaption { margin: 0 0 .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dd { margin: 0; overflow-wrap: anywhere; font: .875rem/1.55 ui-monospace, Menlo, Consolas, monospace; }
@media (max-width: 600px) {
  main { padding: 18px 14px 36px; }
  h1 { font-size: 1.4rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
  .stacked thead { position: absolute; left: -9999px; }
  .stacked, .stacked tbody, .stacked tr, .stacked th, .stacked td { display: block; }
  .stacked { width: 100%; }
  .stacked tr { border-bottom: 1px solid var(--rule); padding: .5rem 0; }
  .stacked tbody th { border: 0; padding: 0 0 .2rem; font-weight: 600; }
  .stacked td { border: 0; padding: .1rem 0; text-align: right; display: flex;
    justify-content: space-between; gap: 1rem; }
  .stacked td::before { content: attr(data-label); color: var(--soft); text-align: left; }
  .stacked td:empty { display: none; }
}
@media print {
  :root { --ground: #ffffff; --ink: #000000; --soft: #444444; --rule: #bbbbbb; --tint: #ffffff;
    --link: #000000; --warn: #000000; --warn-ground: #ffffff; --card: #ffffff; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  .scroll { overflow: visible; }
  .card { border: 0; }
  .card > * { min-width: 0; max-width: 100%; }
  figure, tr, .warnings { break-inside: avoid; }
  h2 { break-after: avoid; }
}
)css";

}  // namespace basin
