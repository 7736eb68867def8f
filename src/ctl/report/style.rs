//! How the page looks: one column, by the reader's own light or dark setting. Colours by Okabe and Ito, told apart by
//! most people who do not see all colours; charts are never read by colour alone.

/// The style sheet.
pub const CSS: &str = r"
:root{--bg:#fbfbfa;--card:#ffffff;--ink:#1b1f24;--soft:#57606a;--edge:#d0d7de;--track:#eef0f2;
--wait:#b9bec5;--launch:#e69f00;--boot:#56b4e9;--start:#cc79a7;--run:#009e73;--end:#7b6fb0;
--efa:#0072b2;--tcp:#d55e00;--box:#56b4e9;--mark:#1b1f24;
--a0:#0072b2;--a1:#e69f00;--a2:#009e73;--a3:#cc79a7;--a4:#56b4e9;--a5:#d55e00;--rest:#8a8f98;--focus:#0969da}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1b2026;--ink:#e8ebee;--soft:#a3adb8;--edge:#363d46;
--track:#262c34;--wait:#5d6670;--launch:#e69f00;--boot:#56b4e9;--start:#d58fb5;--run:#1fb58a;--end:#a79ad6;
--efa:#4aa3df;--tcp:#f0813a;--box:#4aa3df;--mark:#ffffff;
--a0:#4aa3df;--a1:#e6a92c;--a2:#1fb58a;--a3:#d58fb5;--a4:#8ccff2;--a5:#f0813a;--rest:#8a929c;--focus:#79b8ff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.25rem;margin:0 0 .75rem}
h3{font-size:1rem;margin:1.25rem 0 .5rem}
p{margin:.25rem 0 .75rem}
.sub,.note,.axis,.ticks,.most{color:var(--soft);font-size:.875rem}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:1rem;background:var(--card);padding:.5rem}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
section{background:var(--card);border:1px solid var(--edge);border-radius:.5rem;padding:1.25rem;margin-top:1.25rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.75rem;margin-top:1rem}
.tile{background:var(--card);border:1px solid var(--edge);border-radius:.5rem;padding:.75rem 1rem;display:flex;flex-direction:column}
.tile .name{font-size:.875rem;color:var(--soft)}
.tile .value{white-space:nowrap;font-size:1.25rem;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;margin:0 0 .75rem;font-size:.875rem}
.legend li{display:flex;align-items:center;gap:.4rem;min-width:0;overflow-wrap:anywhere}
.key{width:.875rem;height:.875rem;flex:none}
.rows{display:flex;flex-direction:column;gap:.125rem}
.row{display:grid;grid-template-columns:12rem 1fr;gap:.75rem;align-items:center}
.label{font-size:.875rem;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;font-variant-numeric:tabular-nums}
.bar{width:100%;height:1.125rem;display:block;background:var(--track);border-radius:.2rem}
.axis{display:flex;justify-content:space-between;gap:1rem;margin:.25rem 0 .75rem}
.with-label{margin-left:12.75rem}
.days+.axis span{white-space:nowrap}
.ticks{position:relative;height:1.25rem;margin-top:.25rem;margin-bottom:.75rem}
.ticks span{position:absolute;transform:translateX(-50%);white-space:nowrap}
.most{margin:0}
.days{width:100%;height:12rem;display:block;border-bottom:1px solid var(--soft);border-top:1px dashed var(--edge)}
.square{display:block;width:min(100%,30rem);height:auto;margin:0 auto}
.square text{font-size:3.2px;fill:var(--soft)}
.scroll{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;font-size:.875rem;width:100%}
caption{text-align:left;font-weight:600;padding:.25rem 0}
th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--edge);vertical-align:top}
tbody th{font-weight:500}
thead th{vertical-align:bottom}
#jobs th,#jobs td{white-space:nowrap}
#jobs td{max-width:10rem;overflow:hidden;text-overflow:ellipsis}
#jobs td:last-child{max-width:18rem}
.n{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}
details{margin-top:.75rem}
summary{cursor:pointer;color:var(--soft);font-size:.875rem;padding:.35rem 0}
.flags{padding-left:1.25rem;margin:.25rem 0;overflow-wrap:anywhere}
.empty{color:var(--soft)}
.c-wait{fill:var(--wait)}.c-launch{fill:var(--launch)}.c-boot{fill:var(--boot)}.c-start{fill:var(--start)}
.c-run{fill:var(--run)}.c-end{fill:var(--end)}.c-efa{fill:var(--efa)}.c-tcp{fill:var(--tcp)}
.c-line{fill:var(--soft)}.c-box{fill:var(--box)}.c-mark{fill:var(--mark)}
.c-near{fill:var(--run)}.c-far{fill:var(--tcp)}
.c-grid,.c-frame,.c-right{fill:none;stroke:var(--edge);stroke-width:.3}.c-frame{stroke:var(--soft)}
.c-right{stroke:var(--soft);stroke-dasharray:1.5 1}
.a0{fill:var(--a0)}.a1{fill:var(--a1)}.a2{fill:var(--a2)}.a3{fill:var(--a3)}.a4{fill:var(--a4)}.a5{fill:var(--a5)}
.a-rest{fill:var(--rest)}
@media (max-width:40rem){main{padding:1rem .75rem 3rem}section{padding:.875rem}
.row{grid-template-columns:1fr;gap:.1rem;margin-bottom:.4rem}.with-label{margin-left:0}
.tiles{grid-template-columns:repeat(2,1fr)}.tile .value{font-size:1rem}.tight{display:none}.days{height:9rem}
.square text{font-size:4.2px}}
@media print{section{break-inside:avoid}details{display:none}}
";
