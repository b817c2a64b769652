"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const { columns, profiles } = JSON.parse($("data").textContent);
  const byName = Object.fromEntries(columns.map((column) => [column.name, column]));
  const shown = columns.filter((column) => column.shown);
  const count = (columns[0].index || columns[0].values).length;
  const PAGE = 50;

  const value = (column, row) => (column.kind === "word" ? column.words[column.index[row]] : column.values[row]);
  const exponent = (v, digits) => v.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2");
  const grouped = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const write = {
    whole: (v) => String(v),
    number: (v) => (v !== 0 && (Math.abs(v) < 1e-4 || Math.abs(v) >= 1e8) ? exponent(Number(v.toPrecision(8)), 5) : String(Number(v.toPrecision(8)))),
    gap: (v) => (v === 0 ? "0" : v < 1e-5 ? exponent(100 * v, 1) + " %" : v < 0.1 ? (100 * v).toFixed(3) + " %" : (100 * v).toFixed(1) + " %"),
    seconds: (v) => (v > 0 && v < 1e-4 ? exponent(v, 2) : v >= 1000 ? grouped(v.toFixed(0)) : v === 0 ? "0.00" : v.toPrecision(3)),
  };
  const cell = (column, row) => {
    const v = value(column, row);
    return v === null ? "–" : column.kind === "word" ? v : write[column.kind](v);
  };
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, v] of Object.entries(attributes)) made.setAttribute(key, v);
    made.append(...children);
    return made;
  };

  // The table: rows that pass the filters, in order, a page at a time.
  const body = $("all").tBodies[0];
  const filters = [...document.querySelectorAll("#filters select")];
  const searched = columns.filter((c) => c.kind === "word" && c.name !== "campaign" && c.name !== "versions");
  let order = Array.from({ length: count }, (_, i) => i), kept = order, page = 0;
  let sorted = { name: "", down: false };

  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.filter((s) => s.value).map((s) => [byName[s.dataset.column], s.value])
      .map(([c, word]) => [c.index, c.words.indexOf(word)]);
    const hits = words.map((word) => searched.map((c) => [c.index, c.words.map((w) => w.toLowerCase().includes(word))]));
    kept = order.filter((row) => wanted.every(([index, code]) => index[row] === code)
      && hits.every((inColumns) => inColumns.some(([index, found]) => found[index[row]])));
    page = 0;
    draw();
  }

  function sort(name) {
    sorted = { name, down: sorted.name === name ? !sorted.down : false };
    const column = byName[name], sign = sorted.down ? -1 : 1;
    order = Array.from({ length: count }, (_, i) => i);
    if (column.kind === "word") {
      const rank = new Map([...column.words].sort((a, b) => (a < b ? -1 : 1)).map((word, i) => [word, i]));
      const ranks = column.words.map((word) => rank.get(word));
      order.sort((a, b) => sign * (ranks[column.index[a]] - ranks[column.index[b]]) || a - b);
    } else {
      const v = column.values; // those without a number come last either way
      order.sort((a, b) => (v[a] === null) - (v[b] === null) || sign * (v[a] - v[b]) || a - b);
    }
    for (const th of $("all").tHead.rows[0].cells) {
      if (th.dataset.column === name) th.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
    filter();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(kept.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const rows = kept.slice(page * PAGE, (page + 1) * PAGE);
    body.replaceChildren(...rows.map((row) => {
      const button = element("button", { type: "button", "aria-expanded": "false", "aria-label": `Details of ${cell(byName.solver, row)}, seed ${cell(byName.seed, row)}, record ${row + 1}` }, "+");
      const tr = element("tr", { role: "row" }, element("td", { role: "cell", class: "open" }, button),
        ...shown.map((c) => element("td", { role: "cell", "data-label": c.head, class: c.kind === "word" ? "word" : "num" }, cell(c, row))));
      button.addEventListener("click", () => toggle(button, tr, row));
      return tr;
    }));
    $("count").textContent = kept.length === count ? `${grouped(String(count))} records.` : `${grouped(String(kept.length))} of ${grouped(String(count))} records.`;
    $("pages").hidden = pages === 1;
    $("page").textContent = `Page ${page + 1} of ${pages}`;
    $("previous").disabled = page === 0;
    $("next").disabled = page === pages - 1;
  }

  function toggle(button, tr, row) {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    button.textContent = open ? "+" : "−";
    if (open) { tr.nextSibling.remove(); return; }
    const told = columns.filter((c) => !c.shown && c.name !== "campaign").map((c) => [c.head, cell(c, row)]).filter(([, words]) => words && words !== "–");
    const lines = `${value(byName.campaign, row)}\nseeds = [${value(byName.instance_seed, row)}]\nsolvers = [${JSON.stringify(value(byName.solver, row))}]`;
    const list = element("dl", {}, ...told.map(([head, words]) => element("div", {}, element("dt", {}, head), element("dd", {}, words))));
    const again = element("pre", {}, element("code", {}, lines));
    tr.after(element("tr", { class: "more" }, element("td", { colspan: shown.length + 1 }, element("div", {}, list, element("p", {}, "To run it again, save this as one.toml: hisopt compare one.toml --records again"), again))));
  }

  function download(name, type, text) {
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  const quoted = (v) => (v === null ? "" : /[",\n]/.test(v) ? `"${String(v).replace(/"/g, '""')}"` : String(v));
  const asCsv = () => [columns.map((c) => c.name).join(","), ...kept.map((row) => columns.map((c) => quoted(value(c, row))).join(","))].join("\n") + "\n";
  const asJson = () => JSON.stringify(kept.map((row) => Object.fromEntries(columns.map((c) => [c.name, value(c, row)]))));

  for (const th of $("all").tHead.rows[0].cells) {
    if (!th.dataset.column) continue;
    const button = element("button", { type: "button" }, th.textContent);
    button.addEventListener("click", () => sort(th.dataset.column));
    th.replaceChildren(button);
  }
  $("filters").hidden = false;
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("search").addEventListener("input", filter);
  for (const select of filters) select.addEventListener("change", filter);
  $("previous").addEventListener("click", () => { page -= 1; draw(); });
  $("next").addEventListener("click", () => { page += 1; draw(); });
  $("as-csv").addEventListener("click", () => download("records.csv", "text/csv", asCsv()));
  $("as-json").addEventListener("click", () => download("records.json", "application/json", asJson()));
  draw();

  // Performance profiles, anew for the solvers shown: who is fastest depends on who is there.
  function profile(costs) {
    const tasks = costs.length ? costs[0].length : 0;
    const best = Array.from({ length: tasks }, (_, i) => Math.min(...costs.map((c) => (c[i] === null ? Infinity : Math.max(c[i], 1e-9)))));
    return costs.map((c) => c.map((v, i) => (v === null ? Infinity : Math.max(v, 1e-9) / best[i])).filter(Number.isFinite).sort((a, b) => a - b)
      .map((ratio, i) => [ratio, (i + 1) / tasks]));
  }
  function redraw(figure, known) {
    const chosen = [...figure.querySelectorAll(".legend input")].map((box, i) => (box.checked ? i : -1)).filter((i) => i >= 0);
    const curves = profile(chosen.map((i) => known.costs[i]));
    const [start, end] = known.x, [bottom, top] = known.y, span = Math.log10(known.high);
    const x = (v) => start + ((end - start) * Math.log10(Math.min(Math.max(v, 1), known.high))) / span;
    const y = (v) => bottom + (top - bottom) * v;
    figure.querySelector(".curves").replaceChildren(...curves.map((points, k) => {
      const at = new Map([[x(1).toFixed(1), y(0)]]);
      for (const [ratio, share] of points) at.set(x(ratio).toFixed(1), y(share));
      let path = "";
      for (const [left, height] of at) path += path ? `H${left}V${height.toFixed(1)}` : `M${left} ${height.toFixed(1)}`;
      const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
      made.setAttribute("d", `${path}H${end.toFixed(1)}`);
      made.setAttribute("class", `line ${known.styles[chosen[k]]}`);
      return made;
    }).reverse());
    const first = (points) => points.filter(([ratio]) => ratio <= 1).length / (known.costs[0].length || 1);
    figure.querySelector("desc").textContent = "Share of tasks. " + chosen.map((i, k) =>
      `${known.solvers[i]}: ${(100 * first(curves[k])).toFixed(0)} % at the left end, ${((100 * curves[k].length) / (known.costs[0].length || 1)).toFixed(0)} % at the right`).join("; ") + ".";
    const lines = curves.flatMap((points, k) => points.map(([ratio, share]) => `${quoted(known.solvers[chosen[k]])},${ratio},${share}`));
    figure.querySelector(".made a").href = "data:text/csv;charset=utf-8," + encodeURIComponent(`solver,at most,share\n${lines.join("\n")}\n`);
  }
  for (const [key, known] of Object.entries(profiles)) {
    const figure = $(key);
    if (!figure) continue;
    for (const entry of figure.querySelectorAll(".legend .entry")) {
      const box = element("input", { type: "checkbox" });
      box.checked = true;
      box.addEventListener("change", () => redraw(figure, known));
      const label = element("label", { class: "entry" }, box, ...entry.childNodes);
      entry.replaceWith(label);
    }
  }
})();
