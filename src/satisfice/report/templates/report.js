"use strict";
// Everything from the run enters the page as text, never as markup.

function make(tag, names, ...children) {
  const element = document.createElement(tag);
  if (names) element.className = names;
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

function drawCharts() {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const [ink, soft, line, paper] = ["--ink", "--soft", "--line", "--paper"].map((name) => style.getPropertyValue(name).trim());
    const config = {
      background: "transparent", font: "system-ui, sans-serif", view: { stroke: null },
      axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
              labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
      style: { halo: { stroke: paper, fill: paper, strokeWidth: 4, opacity: 0.8 } },
      legend: { labelColor: ink, labelFontSize: 12 },
    };
    for (const place of document.querySelectorAll("[data-chart]")) {
      // `ast` evaluates expressions without `eval`, which the page's security policy forbids.
      vegaEmbed(place, specs[place.dataset.chart], { actions: false, renderer: "svg", ast: true, config })
        .catch((error) => { place.textContent = "This chart could not be drawn: " + error.message; throw error; });
    }
  };
  draw();
  dark.addEventListener("change", draw);
  const axis = document.getElementById("axis");
  if (axis) axis.addEventListener("change", () => {
    for (const place of document.querySelectorAll("#frontiers [data-chart]")) {
      const name = `${place.dataset.chart.split("-").slice(0, 2).join("-")}-${axis.value}`;
      if (specs[name]) place.dataset.chart = name;
    }
    draw();
  });
}

function readChains() {
  const data = JSON.parse(document.getElementById("chains").textContent);
  const pick = Object.fromEntries(["task", "policy", "kind", "problem"].map((id) => [id, document.getElementById(id)]));
  const reader = document.getElementById("reader");
  const [previous, next] = ["previous", "next"].map((id) => document.getElementById(id));
  let shown = [];

  const fill = (select, options) => {
    const before = select.value;
    select.replaceChildren(...options.map(([value, text]) => {
      const option = make("option", "", text);
      option.value = value;
      return option;
    }));
    if (options.some(([value]) => String(value) === before)) select.value = before;
  };

  const kinds = {
    all: () => true,
    lost: (run, full) => full && run.verdict === "wrong" && full.verdict === "right",
    won: (run, full) => full && run.verdict === "right" && full.verdict === "wrong",
    right: (run) => run.verdict === "right",
    wrong: (run) => run.verdict === "wrong",
    saved: (run, full) => full && run.spent < full.spent,
    cost: (run, full) => full && run.spent > full.spent,
    odd: (run) => run.truncated || run.error || run.answer === null || run.verdict === "unknown",
  };
  const sign = { right: "✓", wrong: "✗", unknown: "?", error: "!" };

  function list() {
    const policy = pick.policy.value;
    shown = data.problems.filter((problem) => problem.task === pick.task.value && problem.runs[policy]
      && kinds[pick.kind.value](problem.runs[policy], problem.runs[data.full[policy]]));
    if (pick.kind.value === "saved" || pick.kind.value === "cost") {
      const order = pick.kind.value === "saved" ? 1 : -1;
      const saved = (problem) => problem.runs[data.full[policy]].spent - problem.runs[policy].spent;
      shown.sort((a, b) => order * (saved(b) - saved(a)));
    }
    fill(pick.problem, shown.map((problem, i) => {
      const run = problem.runs[policy], full = problem.runs[data.full[policy]];
      const against = full && policy !== data.full[policy] ? ` of ${full.spent}` : "";
      const name = problem.id.length > 12 ? `${problem.id.slice(0, 8)}…` : problem.id;
      return [i, `${i + 1}. ${name}${problem.seed ? ` seed ${problem.seed}` : ""} ${sign[run.verdict]} ${run.spent}${against} tokens`];
    }));
    if (!pick.problem.value) pick.problem.selectedIndex = 0;
    show();
  }

  function show() {
    const place = pick.problem.selectedIndex, problem = shown[place];
    previous.disabled = place <= 0;
    next.disabled = place < 0 || place >= shown.length - 1;
    if (!problem) {
      reader.replaceChildren(make("p", "note", "None of the problems chosen for this file is of this kind. Choose another."));
      return;
    }
    const policy = pick.policy.value, run = problem.runs[policy], full = problem.runs[data.full[policy]];
    const question = make("p", "question", make("b", "", "Question  "), problem.question, "\n", make("b", "", "Right answer  "), problem.gold);
    const pair = make("div", "pair", card(policy, run, full, null));
    if (full && policy !== data.full[policy]) pair.append(card(`${data.full[policy]}, same problem and seed`, full, full, { run, label: policy }));
    reader.replaceChildren(question, pair);
  }

  const endings = {
    model: "the model ended its thinking itself", rule: "the rule stopped the thinking",
    limit: "a token limit ended the thinking", turn: "the model ended its turn without an answer", "": "given up",
  };

  function card(title, run, full, rule) {
    const box = make("article", "run", make("h3", "", title));
    const answer = run.answer === null ? "no answer" : run.answer;
    box.append(make("p", "", make("span", `badge ${run.verdict}`, `${sign[run.verdict]} ${run.verdict}`), ` ${answer}`,
      make("span", "caption", ` – ${endings[run.ended] ?? run.ended}`)));
    if (run.error) box.append(make("p", "note", `The policy failed: ${run.error}`));
    const most = Math.max(full ? full.spent : 0, run.spent, 1);
    const bar = make("div", "bar");
    bar.setAttribute("aria-hidden", "true");
    for (const name of ["kept", "probe", "dropped"]) {
      const part = make("span", name);
      part.style.width = `${(100 * run[name]) / most}%`;
      bar.append(part);
    }
    const numbers = ["spent", "kept", "probe", "dropped", "injected", "prefilled"];
    box.append(bar, make("ul", "ledger", ...numbers.map((name) => make("li", "", `${name} `, make("b", "", String(run[name]))))));
    const chain = make("div", "chain");
    chain.tabIndex = 0;
    chain.setAttribute("role", "region");
    chain.setAttribute("aria-label", `Chain of ${title}`);
    lay(chain, run, rule);
    box.append(chain);
    if (run.others.length) {
      box.append(make("p", "caption", `Chains that are not in the answer, together ${run.dropped} tokens: ` + run.others.map((other) =>
        `chain ${other.chain} (${endings[other.ended] ?? "given up"})`).join("; ") + "."));
    }
    return box;
  }

  function lay(chain, run, rule) {
    const cut = rule ? sharedLength(rule.run, run) : -1;
    let at = 0;
    for (const piece of run.pieces) {
      if (piece.kind === "look") chain.append(lookOf(piece));
      else if (piece.kind === "first") chain.append(make("span", "first", ` ▲ first right answer (token ${run.first_right}) `));
      else if (piece.kind === "injected") chain.append(make("span", "injected", piece.text));
      else {
        const here = cut - at;
        if (cut < 0 || here >= piece.text.length) chain.append(make("span", "sampled", piece.text));
        else if (here < 0) chain.append(make("span", "sampled unread", piece.text));
        else {
          chain.append(make("span", "sampled", piece.text.slice(0, here)),
            make("span", "cut", ` ■ ${rule.label} stopped here; what follows was not needed or was lost `),
            make("span", "sampled unread", piece.text.slice(here)));
        }
        at += piece.text.length;
      }
    }
  }

  // Characters that the rule's chain shares with the full one up to its stop; -1 when it never left that path.
  function sharedLength(run, full) {
    const stop = run.pieces.findIndex((piece) => piece.kind === "injected");
    if (stop < 0 || run.ended !== "rule") return -1;
    const text = (pieces) => pieces.filter((piece) => piece.kind === "sampled").map((piece) => piece.text).join("");
    const begin = text(run.pieces.slice(0, stop));
    return text(full.pieces).startsWith(begin) ? begin.length : -1;
  }

  function lookOf(piece) {
    const parts = [make("b", "", piece.stop ? "■ looked " : "looked ")];
    if (piece.asked) parts.push(make("span", "injected", piece.asked));
    if (piece.said) parts.push(make("span", "probe", piece.said.trim()));
    if (piece.measure) {
      const line = piece.threshold === null ? "" : `, threshold ${piece.threshold}`;
      parts.push(` ${piece.measure} ${piece.value}${line} → `, make("b", "", piece.stop ? "stop" : "go on"));
    }
    if (piece.tokens) parts.push(make("span", "caption", ` (${piece.tokens} tokens)`));
    return make("span", piece.stop ? "look stop" : "look", ...parts);
  }

  const step = (by) => () => { pick.problem.selectedIndex += by; show(); };
  previous.addEventListener("click", step(-1));
  next.addEventListener("click", step(1));
  for (const id of ["task", "policy", "kind"]) pick[id].addEventListener("change", list);
  pick.problem.addEventListener("change", show);
  fill(pick.task, data.tasks.map((name) => [name, name]));
  fill(pick.policy, data.subjects.map((name) => [name, name]));
  pick.policy.value = data.first;
  list();
}

// A table that is cut off at its right edge says so, by a shadow and a word in its caption.
function markCutTables() {
  const mark = () => {
    for (const box of document.querySelectorAll(".scroll"))
      box.classList.toggle("right", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  };
  for (const box of document.querySelectorAll(".scroll")) box.addEventListener("scroll", mark, { passive: true });
  window.addEventListener("resize", mark);
  const columns = document.getElementById("columns");
  if (columns) columns.addEventListener("change", mark);
  mark();
}

drawCharts();
markCutTables();
if (document.getElementById("reader")) readChains();
