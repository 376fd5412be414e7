(() => {
"use strict";
// Everything that is shown comes from the data block as text: nothing here parses markup.
const data = JSON.parse(document.getElementById("data").textContent);
const L = data.labels, PARTS = data.parts, N = L.frame.length;
const ROW = 30, FEW_TRACKS = 12, WRONG = data.wrong_from;
const COLOURS = ["#4c78a8", "#59a14f", "#b6992d", "#e15759", "#b07aa1"];
const STATUS_COLOURS = {CONVERGED: "#59a14f", MAX_STEPS: "#b6992d", NO_BETTER: "#b6992d", FILLED: "#76a5d8"};
const byId = (id) => document.getElementById(id);
const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
};
const put = (parent, ...nodes) => { parent.append(...nodes); return parent; };
const percent = (value, digits = 1) => value === null || value === undefined ? "–" : value.toFixed(digits);
const words = (name) => name.replaceAll("_", " ");
const error = (part, i) => L.error[part][i] === null ? null : L.error[part][i] / 100;
const told = (part, i) => L.part_reviews[L.review_by_part[part][i]];
// What a person says of a hand or foot counts for more than what a machine does.
const wrong = (part, i) => told(part, i) ? (told(part, i) === "wrong" ? 100 : 0) : L.wrong[part][i] === null ? null : L.wrong[part][i] / 10;
const numTold = (i, word) => PARTS.filter((part) => told(part, i) === word).length;
const isByHand = (i) => L.origins[L.origin[i]] === "human";
const said = (i) => [L.reviews[L.review[i]], isByHand(i) ? "by hand" : "", ...["wrong", "right"].map((word) => numTold(i, word) ? `${numTold(i, word)} ${word}` : "")].filter((text) => text && text !== "none").join(", ");
const score = (part, i) => L.score[part][i] === null ? null : L.score[part][i] / 10;
const source = (i) => L.sources[L.source[i]];
const when = (i) => L.time[i] === null ? (L.frame[i] ? ` frame ${L.frame[i]}` : "") : ` ${(L.time[i] / 100).toFixed(2)} s`;
const place = (i) => source(i) + when(i);
const pair = (list, name, value) => put(list, put(make("div"), make("dt", name), make("dd", value)));
const table = (node, head, rows) => {
  node.replaceChildren(put(make("thead"), put(make("tr"), ...head.map((name) => make("th", name)))));
  put(node, put(make("tbody"), ...rows.map((row) => put(make("tr"), ...row.map((cell) => make("td", cell))))));
};

// Light and dark -------------------------------------------------------------------------------------------
const charts = [];
const asked = location.hash === "#dark" ? "dark" : location.hash === "#light" ? "light" : null;
const setTheme = (name) => { document.documentElement.dataset.theme = name; charts.forEach((chart) => chart.redraw(false, true)); };
const toggleTheme = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
const dark = matchMedia("(prefers-color-scheme: dark)");
setTheme(asked || (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
const ink = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = (more) => ({stroke: ink("--faint"), grid: {stroke: ink("--line"), width: 1}, ticks: {stroke: ink("--line"), width: 1}, font: "11px system-ui", ...more});
const chart = (options, columns, node) => {
  const width = Math.max(node.clientWidth, 60);
  const made = new uPlot({width, ...options}, columns, node);
  charts.push(made);
  return made;
};
addEventListener("resize", () => charts.forEach((one) => {
  const node = one.root.parentNode;
  if (node && node.clientWidth) one.setSize({width: node.clientWidth, height: one.height});
}));

// Summary --------------------------------------------------------------------------------------------------
byId("title").textContent = data.title;
document.title = data.title;
byId("subtitle").textContent = data.subtitle;
data.facts.forEach(([name, value]) => pair(byId("facts"), name, value));
data.warnings.forEach((text) => byId("warnings").append(make("li", text)));
table(byId("parts"), ["part", "seen", "median error %", "90th percentile %", "median score %", `wrong ≥ ${WRONG} %`, "repaired", "before → after %"],
  data.part_summaries.map((one) => [words(one.part), one.count, percent(one.median, 2), percent(one.high, 2), percent(one.score, 0),
    one.wrong ?? "–", one.refined || "–", one.refined ? `${percent(one.before, 2)} → ${percent(one.after, 2)}` : "–"]));

// Histograms -----------------------------------------------------------------------------------------------
data.histograms.forEach((one, k) => {
  const card = put(make("div", null, "card"), make("h3", `${words(one.part)}: ${one.count}`));
  byId("histograms").append(card);
  if (!one.count) { card.append(make("p", "not seen", "note")); return; }
  const plot = card.appendChild(make("div"));
  const middles = one.counts.map((_, place) => (place + 0.5) * one.width);
  chart({height: 130, legend: {show: false}, cursor: {show: false}, scales: {x: {time: false, range: [0, one.width * one.counts.length]}, y: {range: (_, low, high) => [0, Math.max(high, 1) * 1.05]}},
    axes: [axis({size: 26}), axis({size: 38})],
    series: [{}, {stroke: COLOURS[k], fill: COLOURS[k] + "99", paths: uPlot.paths.bars({size: [0.95]}), points: {show: false}}]}, [middles, one.counts], plot);
});

// Close-ups ------------------------------------------------------------------------------------------------
byId("close_up_note").textContent = data.close_up_note;
const figures = data.close_ups.map((one) => {
  const figure = make("figure", null, `card panels${one.panels.length}`), image = make("img");
  image.decoding = "async"; image.alt = `${one.title}: ${one.panels.join(", ")}`; image.width = one.size[0]; image.height = one.size[1]; image.src = one.image;
  image.style.height = "auto";
  figure.append(put(make("div", null, "heads"), ...one.panels.map((name) => make("span", name))), image,
    put(make("figcaption"), make("div", one.title), make("div", one.what, "what")));
  figure.tabIndex = 0;
  const follow = () => one.label !== null && choose(one.label, false);
  figure.addEventListener("click", follow);
  figure.addEventListener("keydown", (event) => { if (event.key === "Enter") follow(); });
  byId("close_ups").append(figure);
  return figure;
});
let figureAt = -1;
const showFigure = (step) => {
  if (!figures.length) return;
  figures[figureAt]?.classList.remove("on");
  figureAt = Math.min(Math.max(figureAt + step, 0), figures.length - 1);
  figures[figureAt].classList.add("on");
  figures[figureAt].focus({preventScroll: true});
  figures[figureAt].scrollIntoView({block: "center"});
};

// Tracks ---------------------------------------------------------------------------------------------------
const byTrack = new Map();
for (let i = 0; i < N; i++) {
  const key = `${L.source[i]} ${L.track[i]}`;
  if (!byTrack.has(key)) byTrack.set(key, []);
  byTrack.get(key).push(i);
}
const worstWrong = (i) => {
  let most = null, at = null;
  for (const part of PARTS) { const now = wrong(part, i); if (now !== null && (most === null || now > most)) { most = now; at = part; } }
  return [most, at];
};
const tracks = [...byTrack.values()].filter((rows) => rows.length > 1);
tracks.forEach((rows) => rows.sort((a, b) => L.frame[a] - L.frame[b]));
const tellsOf = new Map(tracks.map((rows) => [rows, rows.filter((i) => (worstWrong(i)[0] ?? 0) >= WRONG || data.failed.includes(L.statuses[L.status[i]])).length]));
tracks.sort((a, b) => tellsOf.get(b) - tellsOf.get(a) || b.length - a.length);
byId("track_note").textContent = tracks.length ? `${tracks.length} people in more than one frame, those with the most wrong or failed labels first. Choose one to see it large.` : "Nobody is in more than one frame.";
const times = (rows) => rows.map((i) => L.time[i] === null ? L.frame[i] : L.time[i] / 100);
const strip = (rows) => {
  const node = make("div", null, "strip");
  let first = 0;
  for (let at = 1; at <= rows.length; at++) if (at === rows.length || L.status[rows[at]] !== L.status[rows[first]]) {
    const name = L.statuses[L.status[rows[first]]], part = node.appendChild(make("i"));
    part.style.flexGrow = at - first; part.style.background = STATUS_COLOURS[name] || "#d64545"; part.title = `${name}: ${at - first}`;
    first = at;
  }
  return node;
};
const legend = (rows) => {
  const node = make("p", null, "note");
  L.statuses.forEach((name, number) => {
    const count = rows.filter((i) => L.status[i] === number).length, mark = make("i", null, "mark");
    mark.style.background = STATUS_COLOURS[name] || "#d64545";
    if (count) node.append(mark, ` ${name} ${count}  `);
  });
  return node;
};
const spark = (node, rows, values, colour, top) => chart({height: 34, legend: {show: false}, cursor: {show: false}, axes: [{show: false}, {show: false}], padding: [2, 0, 2, 0],
  scales: {x: {time: false}, y: {range: (_, low, high) => [0, Math.max(high ?? 0, top)]}}, series: [{}, {stroke: colour, width: 1.3, points: {show: false}, spanGaps: false}]}, [times(rows), values], node);
let large = null;
const showTrack = (rows, button) => {
  document.querySelectorAll(".track.on").forEach((node) => node.classList.remove("on"));
  button.classList.add("on");
  const node = byId("timeline");
  if (large) { large.forEach((one) => { charts.splice(charts.indexOf(one), 1); one.destroy(); }); }
  node.replaceChildren(make("h3", `${source(rows[0])}, person ${L.track[rows[0]]}`), strip(rows), legend(rows));
  const size = {height: 190, cursor: {sync: {key: "track"}}, scales: {x: {time: false}, y: {range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.05]}}};
  large = [["error, % of the box", error], ["score, %", score], ["wrong, %", wrong]].map(([title, read]) => {
    const shown = PARTS.filter((part) => rows.some((i) => read(part, i) !== null));
    if (!shown.length) return null;
    const card = node.appendChild(put(make("div", null, "card"), make("h3", title))), plot = card.appendChild(make("div"));
    const made = chart({...size, axes: [axis({size: 28}), axis({size: 42})],
      series: [{label: L.time[rows[0]] === null ? "frame" : "seconds"}, ...shown.map((part) => ({label: words(part), stroke: COLOURS[PARTS.indexOf(part)], width: 1.4, points: {show: rows.length < 3}, value: (_, value) => percent(value)}))]},
      [times(rows), ...shown.map((part) => rows.map((i) => read(part, i)))], plot);
    made.over.addEventListener("click", () => { if (made.cursor.idx !== null) choose(rows[made.cursor.idx], false); });
    return made;
  }).filter(Boolean);
};
let shownTracks = 0;
const moreTracks = () => {
  const some = tracks.slice(shownTracks, shownTracks + FEW_TRACKS);
  if (!shownTracks && some.length) byId("tracks").append(put(make("div", null, "track head"), make("span", "person"), make("span", "frames"), make("span", "body error"), make("span", "most probably wrong hand or foot")));
  some.forEach((rows) => {
    const button = make("button", null, "track"); button.type = "button";
    const cells = [make("span", null, "spark"), make("span", null, "spark")];
    button.append(put(make("span", null, "name"), make("span", `${source(rows[0])}, person ${L.track[rows[0]]}`), strip(rows)),
      make("span", `${rows.length}${tellsOf.get(rows) ? `, ${tellsOf.get(rows)} bad` : ""}`, "frames"), ...cells);
    byId("tracks").append(button);
    spark(cells[0], rows, rows.map((i) => error(PARTS[0], i)), COLOURS[0], 3);
    spark(cells[1], rows, rows.map((i) => worstWrong(i)[0]), COLOURS[3], 100);
    button.addEventListener("click", () => showTrack(rows, button));
  });
  shownTracks += some.length;
  byId("more_tracks").hidden = shownTracks >= tracks.length;
};
byId("more_tracks").addEventListener("click", moreTracks);
moreTracks();

// Labels: a list of which only what is in view is made -----------------------------------------------------
const narrow = matchMedia("(max-width: 480px)");
// The end of a name tells more than its beginning.
const shortened = (text, most) => text.length <= most ? text : `${text.slice(0, 6)}…${text.slice(7 - most)}`;
const list = byId("list"), rowsMade = new Map();
let order = [], chosen = -1, sortBy = "wrong", isDown = true;
const options = (id, pairs) => pairs.forEach(([value, text]) => { const one = make("option", text); one.value = value; byId(id).append(one); });
options("filter_status", [["", "any"], ["failed", "failed"], ...L.statuses.map((name) => [name, name])]);
const REVIEWS = {
  "somebody looked": (i) => said(i) !== "", "nobody looked": (i) => said(i) === "", accepted: (i) => L.reviews[L.review[i]] === "accepted", rejected: (i) => L.reviews[L.review[i]] === "rejected",
  "a part called wrong": (i, parts) => parts.some((part) => told(part, i) === "wrong"), "a part called right": (i, parts) => parts.some((part) => told(part, i) === "right"), "corrected by hand": isByHand,
};
options("filter_review", [["", "any"], ...Object.keys(REVIEWS).map((name) => [name, name])]);
options("filter_part", [["", "any"], ["hand", "hands"], ["foot", "feet"], ...PARTS.map((name) => [name, words(name)])]);
options("filter_outcome", [["", "any"], ...L.outcomes.filter(Boolean).map((name) => [name, words(name)])]);
const maximum = (read, parts, i) => parts.reduce((most, part) => { const now = read(part, i); return now === null ? most : Math.max(most ?? now, now); }, null);
const KEYS = {
  place: (i) => L.source[i] * 1e7 + L.frame[i], person: (i) => L.track[i], status: (i) => data.status_order.indexOf(L.statuses[L.status[i]]),
  wrong: (i) => worstWrong(i)[0], review: (i) => said(i) ? ["rejected", "accepted"].indexOf(L.reviews[L.review[i]]) * -100 + numTold(i, "wrong") * 10 + numTold(i, "right") + isByHand(i) : null, ...Object.fromEntries(PARTS.map((part) => [part, (i) => error(part, i)])),
};
const HEADS = [["place", "picture"], ["person", "person"], ["status", "status"], ...PARTS.map((part) => [part, part === "body" ? "body %" : part.replace("left_", "L ").replace("right_", "R ") + " %"]), ["wrong", "wrong"], ["review", "a person says"]];
HEADS.forEach(([key, name]) => {
  const button = make("button", name); button.type = "button"; button.dataset.key = key; button.dataset.name = name;
  button.addEventListener("click", () => { isDown = sortBy === key ? !isDown : !["place", "person"].includes(key); sortBy = key; apply(); });
  byId("list_head").append(button);
});
byId("list_head").append(make("span", "worst %"));
const apply = () => {
  const text = byId("filter_text").value.trim().toLowerCase(), status = byId("filter_status").value, review = byId("filter_review").value;
  const part = byId("filter_part").value, least = parseFloat(byId("filter_error").value), probable = parseFloat(byId("filter_wrong").value), outcome = byId("filter_outcome").value;
  const parts = part === "" ? PARTS : PARTS.filter((name) => name === part || name.endsWith("_" + part));
  const at = chosen;
  order = [];
  for (let i = 0; i < N; i++) {
    const name = L.statuses[L.status[i]];
    if (status && (status === "failed" ? !data.failed.includes(name) : name !== status)) continue;
    if (review && !REVIEWS[review](i, parts)) continue;
    if (text && !`${place(i)} person ${L.track[i]} ${L.categories[L.category[i]]} ${L.ids[i]}`.toLowerCase().includes(text)) continue;
    if (least > 0 && !(maximum(error, parts, i) >= least)) continue;
    if (probable > 0 && !(maximum(wrong, parts, i) >= probable)) continue;
    if (outcome && !parts.some((name) => L.outcomes[L.outcome_by_part[name][i]] === outcome)) continue;
    order.push(i);
  }
  const key = KEYS[sortBy], values = order.map(key), turn = isDown ? -1 : 1;
  const ranked = order.map((_, k) => k).sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    // What was not measured comes last whichever way.
    return x === y ? order[a] - order[b] : x === null ? 1 : y === null ? -1 : turn * (x - y);
  });
  order = ranked.map((k) => order[k]);
  chosen = order.includes(at) ? at : -1;
  byId("count").textContent = `${order.length} of ${N} labels` + (data.left_out ? `; ${data.left_out} more are in the numbers above only` : "");
  document.querySelectorAll("#list_head button").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.key === sortBy));
    button.textContent = button.dataset.name + (button.dataset.key === sortBy ? (isDown ? " ↓" : " ↑") : "");
  });
  byId("spacer").style.height = `${order.length * ROW}px`;
  rowsMade.forEach((node) => node.remove()); rowsMade.clear();
  list.scrollTop = 0;
  render();
};
const rowOf = (at) => {
  const i = order[at], row = make("div", null, "row"), status = L.statuses[L.status[i]], [most, where] = worstWrong(i);
  row.style.top = `${at * ROW}px`; row.setAttribute("role", "option");
  const cell = (text, className) => row.appendChild(make("span", text, className));
  // Where it is short of room the name gives way, and the time stays.
  put(cell("", "place"), make("span", shortened(source(i), narrow.matches ? 19 - when(i).length : 54), "file"), make("span", when(i), "when")).title = place(i);
  cell(L.track[i]); cell(status, data.failed.includes(status) ? "failed" : "");
  PARTS.forEach((part) => cell(percent(error(part, i)), wrong(part, i) >= WRONG ? "wrong" : ""));
  cell(most === null ? "–" : `${most.toFixed(0)} % ${words(where).replace("left", "L").replace("right", "R")}`, most >= WRONG ? "wrong" : "");
  cell(said(i) || "–").title = said(i); cell(percent(maximum(error, PARTS, i)));
  row.addEventListener("click", () => choose(i, true));
  if (i === chosen) { row.classList.add("on"); row.setAttribute("aria-selected", "true"); }
  return row;
};
const render = () => {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 6), last = Math.min(order.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 6);
  rowsMade.forEach((node, at) => { if (at < first || at >= last) { node.remove(); rowsMade.delete(at); } });
  for (let at = first; at < last; at++) if (!rowsMade.has(at)) { const node = rowOf(at); rowsMade.set(at, node); list.append(node); }
};
list.addEventListener("scroll", () => requestAnimationFrame(render));
addEventListener("resize", render);
const choose = (i, isFromList) => {
  chosen = i;
  let at = order.indexOf(i);
  if (at < 0 && !isFromList) { byId("filters").reset(); apply(); chosen = i; at = order.indexOf(i); }
  if (at >= 0) {
    if (at * ROW < list.scrollTop) list.scrollTop = at * ROW;
    if ((at + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * ROW - list.clientHeight;
  }
  rowsMade.forEach((node) => node.remove()); rowsMade.clear(); render();
  const detail = byId("detail"), parts = make("table");
  table(parts, ["part", "error %", "score %", "wrong %", "because", "repair", "a person says"], PARTS.map((part) => [words(part), percent(error(part, i), 2), percent(score(part, i), 0), percent(wrong(part, i)),
    words(L.reasons[L.reason_by_part[part][i]] || "–"), words(L.outcomes[L.outcome_by_part[part][i]] || "–"), told(part, i) || "–"]));
  const lines = [`status ${L.statuses[L.status[i]]}`, `version ${L.version[i]}`, `made by a ${isByHand(i) ? "person" : "machine"}`, ...(L.reviews[L.review[i]] === "none" ? [] : [L.reviews[L.review[i]]])];
  if (L.categories[L.category[i]]) lines.push(L.categories[L.category[i]]);
  if (L.placements[L.placed[i]]) lines.push(`placed by a person: ${words(L.placements[L.placed[i]])}`);
  if (L.qualities[L.quality[i]]) lines.push(`badly seen: ${words(L.qualities[L.quality[i]])}`);
  detail.replaceChildren(make("strong", `${place(i)}, person ${L.track[i]}, frame ${L.frame[i]}`), make("div", lines.join(", ")), make("div", `label ${L.ids[i]}…`, "note"), put(make("div", null, "scroll"), parts));
  if (!isFromList) list.scrollIntoView({block: "nearest"});
};
const step = (by) => {
  if (!order.length) return;
  const at = order.indexOf(chosen);
  choose(order[Math.min(Math.max(at < 0 ? 0 : at + by, 0), order.length - 1)], true);
  list.scrollIntoView({block: "nearest"});
};
byId("filters").addEventListener("input", apply);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(apply));
apply();

// Where it comes from --------------------------------------------------------------------------------------
data.origin.forEach(([name, value]) => byId("origin").append(make("dt", name), make("dd", value)));
data.run.forEach(([name, text]) => byId("run").append(put(make("details"), make("summary", name), make("pre", text))));

// Keys -----------------------------------------------------------------------------------------------------
const help = byId("help");
byId("theme").addEventListener("click", toggleTheme);
byId("help_button").addEventListener("click", () => help.showModal());
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (event.key === "Escape" && isTyping) { event.target.blur(); list.focus(); return; }
  if (isTyping || help.open) return;
  const acts = {j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1), n: () => showFigure(1), ArrowRight: () => showFigure(1), p: () => showFigure(-1), ArrowLeft: () => showFigure(-1),
    f: () => byId("filter_text").focus(), "/": () => byId("filter_text").focus(), t: toggleTheme, "?": () => help.showModal()};
  if (Object.hasOwn(acts, event.key)) { event.preventDefault(); acts[event.key](); }
});
document.documentElement.dataset.ready = "true";
})();
