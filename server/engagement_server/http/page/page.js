// The status page: asks for the state of the server every few seconds and shows it.
//
// Whatever the server says may come from a stranger, so it becomes text and nothing else: no markup, no address, no
// name of a class is made of it. It may also be incomplete: what is missing or makes no sense is shown as a dash.

const ASK_MS = 5_000;
const RETRY_MS = 2_000;
const ANSWER_MS = 4_000;
const WINDOW_MS = 600_000;
const NONE = "–";
const SVG = "http://www.w3.org/2000/svg";

// ---- Values of proto JSON: what makes no sense is null.

const list = (value) => (Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : []);
const words = (value) => (typeof value === "string" ? value : "");

function number(value) {
  if (typeof value !== "number" && (typeof value !== "string" || value === "")) return null;
  return Math.abs(Number(value)) <= 2 ** 63 ? Number(value) : null;
}

function seconds(value) {
  return /^-?\d{1,12}(\.\d+)?s$/.test(value) ? Number.parseFloat(value) : null;
}

function moment(value) {
  const milliseconds = Date.parse(words(value));
  return Number.isNaN(milliseconds) ? null : milliseconds;
}

function perSecond(count, sample) {
  const length = seconds(sample.duration);
  return number(count) === null || !length ? null : number(count) / length;
}

// ---- Words for values.

const counts = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const figure = (value) => (Math.abs(value) >= 100 ? counts.format(value) : figures.format(value));
const orNone = (value, format) => (value === null || value === undefined ? NONE : format(value));
const countOf = (value) => orNone(number(value), (count) => counts.format(count));
const share = (part) => ({ text: part > 0 && part < 0.001 ? "< 0.1 %" : `${tenths.format(100 * part)} %`, bar: part });
const several = (count, noun) => `${counts.format(count)} ${noun}${count === 1 ? "" : "s"}`;
const named = (names, key) => (Object.hasOwn(names, key) ? names[key] : words(key));

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10)));
  return `${figure(value / 1024 ** power)} ${units[power]}`;
}

function time(value) {
  if (value > 0 && value < 0.001) return `${figure(value * 1e6)} µs`;
  if (value > 0 && value < 1) return `${figure(value * 1e3)} ms`;
  if (value < 60) return `${figure(value)} s`;
  const units = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
  const first = Math.min(2, units.findIndex(([, length]) => value >= length));
  const [[large, largeLength], [small, smallLength]] = units.slice(first);
  const rest = Math.floor((value % largeLength) / smallLength);
  return `${counts.format(Math.floor(value / largeLength))} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

const clock = (milliseconds) => `${new Date(milliseconds).toISOString().slice(11, 19)} UTC`;
const date = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 16).replace("T", " ");

function distance(milliseconds, now) {
  const whole = Math.round((milliseconds - now) / 1000);
  if (whole === 0) return "now";
  return whole < 0 ? `${time(-whole)} ago` : `in ${time(whole)}`;
}

// ---- Nodes of the document.

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Leaves what is right alone: a selection stays, and a screen reader is told changes only.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// ---- Tables. A cell is text, or { text, note, kind, bar, when }.

class Table {
  constructor(id, { caption, columns, empty, first = 10 }) {
    this.columns = columns;
    this.first = first;
    this.rows = [];
    this.order = null;
    this.isWhole = false;
    this.shown = new WeakMap();
    this.heads = columns.map((column, index) => this.head(column, index));
    this.body = element("tbody");
    const table = element("table", {}, element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    this.scroller = element("div", { class: "scroller", role: "region", "aria-label": caption }, table);
    this.empty = element("p", { class: "empty" }, empty);
    this.more = element("button", { type: "button", class: "more" });
    this.more.addEventListener("click", () => { this.isWhole = !this.isWhole; this.render(); });
    byId(id).append(this.scroller, this.empty, this.more);
    new ResizeObserver(() => this.noteWidth()).observe(this.scroller);
  }

  head(column, index) {
    const attributes = { scope: "col", class: column.isNumber ? "number" : "" };
    if (!column.key) return element("th", attributes, column.title);
    const button = element("button", { type: "button", class: "sort" }, column.title);
    button.addEventListener("click", () => this.sort(index));
    return element("th", { ...attributes, "aria-sort": "none" }, button);
  }

  sort(index) {
    const first = this.columns[index].isNumber ? -1 : 1;
    this.order = { index, sign: this.order?.index === index ? -this.order.sign : first };
    this.heads.forEach((head, each) => {
      if (!this.columns[each].key) return;
      head.setAttribute("aria-sort", each !== index ? "none" : this.order.sign > 0 ? "ascending" : "descending");
    });
    this.render();
  }

  show(rows) {
    this.rows = rows;
    this.render();
  }

  render() {
    const rows = [...this.rows];
    if (this.order) {
      const { key } = this.columns[this.order.index];
      rows.sort((one, other) => this.order.sign * compare(key(one), key(other)));
    }
    const shown = this.isWhole ? rows : rows.slice(0, this.first);
    while (this.body.rows.length > shown.length) this.body.lastChild.remove();
    shown.forEach((row, index) => this.fill(this.body.rows[index] ?? this.add(), row));
    this.scroller.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    this.more.hidden = rows.length <= this.first;
    this.more.setAttribute("aria-expanded", String(this.isWhole));
    say(this.more, this.isWhole ? `Show the first ${this.first} only` : `Show all ${rows.length}`);
    this.noteWidth();
  }

  add() {
    const cells = this.columns.map((column, index) => {
      const attributes = { class: column.isNumber ? "number" : "" };
      return index === 0 ? element("th", { ...attributes, scope: "row" }) : element("td", attributes);
    });
    return this.body.appendChild(element("tr", {}, ...cells));
  }

  fill(line, row) {
    this.columns.forEach((column, index) => {
      const cell = line.cells[index];
      const content = column.cell(row);
      const signature = JSON.stringify(content);
      if (this.shown.get(cell) === signature) return;
      this.shown.set(cell, signature);
      cell.replaceChildren(...nodesOf(typeof content === "string" ? { text: content } : content));
    });
  }

  // What scrolls must be reachable by keyboard, and what does not must be no stop.
  noteWidth() {
    if (this.scroller.scrollWidth > this.scroller.clientWidth) this.scroller.tabIndex = 0;
    else this.scroller.removeAttribute("tabindex");
  }
}

function compare(one, other) {
  if (typeof one === "string" && typeof other === "string") return one.localeCompare(other, "en");
  return (one ?? Number.NEGATIVE_INFINITY) - (other ?? Number.NEGATIVE_INFINITY);
}

function nodesOf({ text, note, kind, bar, when }) {
  const content = text || NONE;
  const tag = when === undefined ? (kind === "code" && text ? "code" : "span") : "time";
  const main = element(tag, { class: kind ?? "" }, content);
  if (when !== undefined) {
    main.dateTime = new Date(when).toISOString();
    main.title = `${date(when)} UTC`;
  }
  const nodes = [main];
  if (note) nodes.push(element("span", { class: "note" }, note));
  if (bar !== undefined) {
    const filled = drawing("rect", { width: String(100 * Math.min(1, Math.max(0, bar))), height: "6" });
    nodes.push(drawing("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none",
      "aria-hidden": "true" }, filled));
  }
  return nodes;
}

const code = (text) => ({ text, kind: "code" });
const past = (value, now) => (value === null ? NONE : { text: distance(value, now), when: value });
const day = (value, now) => (value === null ? NONE : { text: date(value), note: distance(value, now), when: value });

// ---- Charts of the last ten minutes. A series without `of` and `look` is a figure only.

const HEIGHT = 140;
const MARGIN = { top: 10, right: 4, bottom: 22, left: 68 };

class Chart {
  constructor({ title, unit, series, least = 0 }) {
    this.title = title;
    this.least = least;
    this.unit = unit;
    this.series = series;
    this.samples = [];
    this.values = series.map(() => element("dd"));
    const names = series.map(({ name, look }, index) =>
      element("div", {}, element("dt", {}, ...(look ? [swatch(look)] : []), name), this.values[index]));
    this.image = drawing("svg", { class: "plot", role: "img", height: String(HEIGHT) });
    this.card = element("section", { class: "card chart", "aria-label": title },
      element("h3", {}, title), element("dl", { class: "values" }, ...names), this.image);
    new ResizeObserver(() => this.draw()).observe(this.card);
  }

  show(samples, stats) {
    this.samples = samples;
    this.drawn = this.series.map(({ of }) => (of ? samples.map((sample) => of(sample, stats)) : []));
    this.series.forEach(({ now }, index) => {
      const value = now ? now(stats, samples.at(-1)) : (this.drawn[index].at(-1) ?? null);
      const format = this.series[index].format ?? this.unit;
      say(this.values[index], orNone(value, format));
    });
    this.draw();
  }

  draw() {
    const width = this.image.clientWidth;
    if (!this.drawn || width === 0) return;
    const highest = Math.max(0, ...this.drawn.flat().filter((value) => value !== null));
    const top = ceiling(Math.max(highest, this.least), this.unit === bytes);
    const bottom = HEIGHT - MARGIN.bottom;
    const end = moment(this.samples.at(-1)?.endTime) ?? 0;
    const x = (at) => MARGIN.left + (1 - (end - at) / WINDOW_MS) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => bottom - (value / top) * (bottom - MARGIN.top);
    this.image.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.image.setAttribute("aria-label", this.alternative(highest));
    const times = this.samples.map(({ endTime }) => moment(endTime));
    const lines = this.series.flatMap(({ look }, index) =>
      (look ? [drawing("path", { class: `line ${look}`, d: path(times, this.drawn[index], x, y) })] : [])).reverse();
    this.image.replaceChildren(...this.axes(width, top, y), ...lines);
  }

  axes(width, top, y) {
    const grid = [0, top / 2, top].flatMap((value) => [
      drawing("line", { class: value ? "grid" : "grid base", x1: MARGIN.left, x2: width - MARGIN.right,
        y1: y(value), y2: y(value) }),
      drawing("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, value ? this.unit(value) : "0"),
    ]);
    const label = (at, anchor, text) => drawing("text", { x: at, y: HEIGHT - 4, "text-anchor": anchor }, text);
    return [...grid, label(MARGIN.left, "start", "10 min ago"), label(width - MARGIN.right, "end", "now")];
  }

  alternative(highest) {
    const now = this.series.map(({ name }, index) => `${name} ${this.values[index].textContent}`).join(", ");
    return `${this.title} of the last ten minutes. Now: ${now}. Highest: ${this.unit(highest)}.`;
  }
}

function swatch(look) {
  const line = drawing("path", { class: `line ${look}`, d: "M1 4H23" });
  return drawing("svg", { class: "swatch", viewBox: "0 0 24 8", "aria-hidden": "true" }, line);
}

// The next round number, so that the labels are short.
function ceiling(value, isBinary) {
  if (value <= 0) return 1;
  const [base, steps] = isBinary ? [2, [1, 1.25, 1.5, 2]] : [10, [1, 2, 4, 6, 10]];
  const power = base ** Math.floor(Math.log(value) / Math.log(base) + 1e-9);
  return power * (steps.find((step) => step * power >= value * 0.9999) ?? base);
}

// Values that are missing leave a gap, and a value between two gaps is a dot.
function path(times, values, x, y) {
  let isOpen = false;
  return values.map((value, index) => {
    const isShown = value !== null && times[index] !== null;
    const step = isShown ? `${isOpen ? "L" : "M"}${x(times[index]).toFixed(1)} ${y(value).toFixed(1)}` : "";
    const isDot = isShown && !isOpen && (values[index + 1] ?? null) === null;
    isOpen = isShown;
    return isDot ? `${step}h0` : step;
  }).join("");
}

// ---- What is shown of the server.

// A rate of a few seconds is no more exact than this.
const rates = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const rate = (value) => `${value < 0.1 || value >= 100 ? figure(value) : rates.format(value)} /s`;
// The last bucket has no end.
const callTime = (value) => (value < 30 ? time(value) : `≥ ${time(value)}`);
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const events = (value) => `${compact.format(value)} ${value === 1 ? "event" : "events"}`;

const charts = [
  new Chart({ title: "Events", unit: rate, series: [
    { name: "Accepted", look: "first", of: (sample) => perSecond(sample.acceptedEvents, sample) },
    { name: "Duplicate", look: "second", of: (sample) => perSecond(sample.duplicateEvents, sample) },
    { name: "Suppressed", look: "third", of: (sample) => perSecond(sample.suppressedEvents, sample) },
    { name: "Rejected", look: "failed", of: (sample) => perSecond(sample.rejectedEvents, sample) },
  ] }),
  new Chart({ title: "Calls", unit: rate, series: [
    { name: "Ended", look: "first", of: (sample) => perSecond(sample.calls, sample) },
    { name: "Failed", look: "failed", of: (sample) => perSecond(sample.failedCalls, sample) },
  ] }),
  new Chart({ title: "Time of calls", unit: time, series: [
    { name: "Median", look: "first", format: callTime, of: (sample) => seconds(sample.medianCallTime) },
    { name: "p99", look: "second", format: callTime, of: (sample) => seconds(sample.p99CallTime) },
  ] }),
  new Chart({ title: "Commits", unit: rate, series: [
    { name: "Ended", look: "first", of: (sample) => perSecond(sample.commits, sample) },
    { name: "p99 of their time", format: time, now: (_, sample) => seconds(sample?.p99CommitTime) },
  ] }),
  new Chart({ title: "Memory", unit: bytes, series: [
    { name: "In use", look: "first", of: (sample) => number(sample.memoryBytes), now: (stats) => number(stats.memoryBytes) },
    { name: "Limit", look: "limit", of: (_, stats) => number(stats.memoryLimitBytes) },
  ] }),
  new Chart({ title: "Subscriptions", unit: events, least: 2, series: [
    { name: "Most behind", look: "first", of: (sample) => number(sample.maxLagEvents) },
    { name: "Open", format: counts.format, now: (stats) => number(stats.openSubscriptions) },
    { name: "Open uploads", format: counts.format, now: (stats) => number(stats.openUploads) },
  ] }),
];

const reasonOf = (value) => words(value).replace(/^ERROR_REASON_/, "");

const rules = new Table("rules", {
  caption: "Rejected events by account, source, field and rule",
  empty: "No event was rejected in the present and the last hour.",
  columns: [
    { title: "Account", key: (row) => words(row.accountId), cell: (row) => words(row.accountId) },
    { title: "Source", key: (row) => words(row.source),
      cell: (row) => (row.other === true ? { text: "others", kind: "aside" } : words(row.source)) },
    { title: "Field", key: (row) => words(row.field), cell: (row) => code(words(row.field)) },
    { title: "Rule", key: (row) => words(row.rule) || reasonOf(row.reason),
      cell: (row) => code(words(row.rule) || reasonOf(row.reason)) },
    { title: "Events", isNumber: true, key: (row) => number(row.events), cell: (row) => countOf(row.events) },
    { title: "Last", isNumber: true, key: (row) => moment(row.lastRejectTime),
      cell: (row) => past(moment(row.lastRejectTime), row.now) },
    { title: "Shape", cell: (row) => code(words(row.valueShape)) },
    { title: "Problem", cell: (row) => ({ text: words(row.description), kind: "long" }) },
  ],
});

const failures = new Table("failures", {
  caption: "Failed calls by reason",
  empty: "No call has failed.",
  columns: [
    { title: "Reason", key: (row) => words(row.reason), cell: (row) => code(words(row.reason)) },
    { title: "Calls", isNumber: true, key: (row) => number(row.calls), cell: (row) => countOf(row.calls) },
    { title: "Share", cell: (row) => share(row.share) },
  ],
});

const subscriptions = new Table("subscriptions", {
  caption: "Subscriptions that are furthest behind",
  first: 5,
  empty: "No subscription is open.",
  columns: [
    { title: "Account", key: (row) => words(row.accountId), cell: (row) => words(row.accountId) },
    { title: "Behind by", isNumber: true, key: (row) => number(row.lagEvents),
      cell: (row) => orNone(number(row.lagEvents), (lag) => several(lag, "event")) },
    { title: "Oldest of them", isNumber: true, key: (row) => seconds(row.lag),
      cell: (row) => orNone(seconds(row.lag) || null, time) },
    { title: "Opened", isNumber: true, key: (row) => moment(row.startTime),
      cell: (row) => past(moment(row.startTime), row.now) },
  ],
});

const FILES = { database: "Database", wal: "Write-ahead log", reserve: "Reserve for a full disk" };

const store = new Table("store", {
  caption: "Files of the store, and the free space on their disk",
  empty: "No file is known.",
  columns: [
    { title: "Part of the disk", cell: (row) => row.name },
    { title: "Size", isNumber: true, cell: (row) => orNone(row.size, bytes) },
    { title: "Share", cell: (row) => share(row.share) },
  ],
});

const HOLDS = {
  REASON_CLOCK_AHEAD: "clock ahead of the last commit",
  REASON_CLOCK_BEHIND: "clock behind the last commit",
  REASON_CLOCKS_DISAGREE: "clocks of nodes disagree",
  REASON_LARGE_REMOVAL: "large removal, waits for a release",
};

function expiryOf({ expiryHold: hold, expiredEvents, now }) {
  if (hold === null || typeof hold !== "object") {
    return { text: "Goes on", note: orNone(number(expiredEvents), (count) => `${several(count, "event")} removed`) };
  }
  const since = orNone(moment(hold.holdTime), (held) => `since ${distance(held, now)}`.replace("since in", "in"));
  const due = `${countOf(hold.dueEvents)} of ${several(number(hold.storedEvents) ?? 0, "event")} due`;
  return { text: `Held: ${named(HOLDS, hold.reason)}`, note: `${since}, ${due}`, kind: "bad long" };
}

function partitionOf(row) {
  if (words(row.damage)) return { text: "Damaged", note: words(row.damage), kind: "bad" };
  return row.current === false ? { text: "Behind its log", kind: "bad" } : { text: "Current" };
}

const partitions = new Table("partitions", {
  caption: "Partitions that this node carries",
  empty: "This node carries no partition.",
  columns: [
    { title: "Number", key: (row) => number(row.number), cell: (row) => countOf(row.number) },
    { title: "State", cell: partitionOf },
    { title: "Events", isNumber: true, key: (row) => number(row.storedEvents), cell: (row) => countOf(row.storedEvents) },
    { title: "Oldest event, UTC", key: (row) => moment(row.oldestReceiveTime),
      cell: (row) => day(moment(row.oldestReceiveTime), row.now) },
    { title: "Next expiry, UTC", key: (row) => moment(row.nextExpiryTime),
      cell: (row) => day(moment(row.nextExpiryTime), row.now) },
    { title: "Expiry", cell: expiryOf },
    { title: "Erasures", isNumber: true, key: (row) => number(row.pendingErasures),
      cell: (row) => orNone(number(row.pendingErasures), (pending) => `${counts.format(pending)} pending`) },
    { title: "Behind the log", isNumber: true, key: (row) => number(row.logLagMessages),
      cell: (row) => ({ text: orNone(number(row.logLagMessages), (lag) => several(lag, "message")),
        note: seconds(row.viewAge) === null ? "" : `view ${time(seconds(row.viewAge))} old` }) },
  ],
});

const nodes = new Table("nodes", {
  caption: "Nodes of the replicated log",
  empty: "None.",
  columns: [
    { title: "Node", key: (row) => words(row.nodeId), cell: (row) => code(words(row.nodeId)) },
    { title: "Role", cell: (row) => (row.self === true ? "This node" : "Other node") },
    { title: "Last commit", isNumber: true, key: (row) => moment(row.lastCommitTime),
      cell: (row) => past(moment(row.lastCommitTime), row.now) },
  ],
});

// ---- The state, which comes first.

const ICONS = {
  waiting: "M5 12h.01M12 12h.01M19 12h.01",
  ready: "M5 12.5l4.5 4.5L19 7.5",
  problem: "M12 5v9M12 18.5h.01",
  down: "M6 6l12 12M18 6L6 18",
};

function showState(state, text, detail, announcement) {
  byId("state").dataset.state = state;
  byId("state-icon").setAttribute("d", ICONS[state]);
  say(byId("state-text"), text);
  say(byId("state-detail"), detail);
  say(byId("announcement"), announcement ?? text);
  document.title = `${text} · Engagement Attributes`;
}

const isBroken = (check) => words(check.problem) !== "";

function showChecks(checks) {
  const broken = checks.filter(isBroken);
  const isStopped = broken.some((check) => check.required === true);
  const names = broken.map((check) => words(check.name)).join(", ");
  if (isStopped) {
    showState("down", "Not ready", "The node takes no calls.", `Not ready: ${names}`);
  } else if (broken.length > 0) {
    const text = `Ready, with ${several(broken.length, "problem")}`;
    showState("problem", text, "The node takes calls.", `${text}: ${names}`);
  } else {
    showState("ready", "Ready", "The node takes calls, and every check is ok.");
  }
  const rank = (check) => (isBroken(check) ? (check.required === true ? 0 : 1) : 2);
  const items = [...checks].sort((one, other) => rank(one) - rank(other)).map((check) => {
    const state = ["down", "problem", "ready"][rank(check)];
    const result = isBroken(check) ? words(check.problem) : "ok";
    const effect = isBroken(check) && check.required !== true ? " (calls go on)" : "";
    const icon = drawing("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, drawing("path", { d: ICONS[state] }));
    return element("li", { "data-state": state }, icon, element("b", {}, words(check.name)), ` ${result}${effect}`);
  });
  const list = byId("checks");
  const isSame = items.length === list.children.length &&
    items.every((item, index) => item.isEqualNode(list.children[index]));
  if (!isSame) list.replaceChildren(...items);
}

// ---- One answer.

let rejected = [];

function showRules() {
  const wanted = byId("rules-filter").value.trim().toLowerCase();
  const texts = (row) => [row.accountId, row.source, row.field, row.rule, reasonOf(row.reason)].map(words);
  const found = rejected.filter((row) => texts(row).some((text) => text.toLowerCase().includes(wanted)));
  say(rules.empty, wanted ? "No rule has this in its account, source, field or name."
    : "No event was rejected in the present and the last hour.");
  say(byId("rules-count"), wanted ? `${found.length} of ${several(rejected.length, "rule")}` : "");
  rules.show(found);
}

function showStore(stats) {
  const parts = list(stats.files).map((file) =>
    ({ name: named(FILES, file.kind), size: number(file.bytes) }));
  parts.push({ name: "Free on the disk", size: number(stats.diskFreeBytes) });
  const whole = parts.reduce((sum, { size }) => sum + (size ?? 0), 0) || 1;
  store.show(parts.map((part) => ({ ...part, share: (part.size ?? 0) / whole })));
}

function show(stats) {
  const now = moment(stats.sampleTime) ?? Date.now();
  const dated = (rows) => list(rows).map((row) => ({ ...row, now }));
  const started = moment(stats.startTime);
  say(byId("version"), words(stats.version) || NONE);
  say(byId("uptime"), orNone(started, (start) => time(Math.max(0, Math.round((now - start) / 1000)))));
  say(byId("sampled"), orNone(moment(stats.sampleTime), clock));
  showChecks(list(stats.checks));
  const samples = list(stats.samples);
  charts.forEach((chart) => chart.show(samples, stats));
  rejected = dated(stats.rejectedRules);
  const total = number(stats.rejectedEvents) ?? 0;
  say(byId("rules-summary"), `${several(total, "event")} rejected in the present and the last hour.`);
  byId("rules-incomplete").hidden = stats.rejectedRulesIncomplete !== true;
  byId("rules-filter-row").hidden = rejected.length === 0;
  showRules();
  const failed = list(stats.failedCalls);
  const all = failed.reduce((sum, { calls }) => sum + (number(calls) ?? 0), 0) || 1;
  failures.show(failed.map((row) => ({ ...row, share: (number(row.calls) ?? 0) / all })));
  const open = number(stats.openSubscriptions) ?? 0;
  const slowest = dated(stats.subscriptions);
  say(byId("subscriptions-summary"), open > slowest.length ? `The slowest ${slowest.length} of ${counts.format(open)}.`
    : `${several(open, "subscription")} open.`);
  subscriptions.show(slowest);
  showStore(stats);
  partitions.show(dated(stats.partitions));
  nodes.show(dated(stats.nodes));
  byId("nodes-section").hidden = list(stats.nodes).length === 0;
}

// ---- Asking again and again, while somebody looks.

let answered = null;
let next = 0;
let isAsking = false;

// Kept as long as the tab, and sent nowhere but here.
const TOKEN = "engagement-token";

class StrangerError extends Error {}

async function answer() {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch("stats.json", { cache: "no-store", headers, signal: AbortSignal.timeout(ANSWER_MS) });
  byId("token-form").hidden = response.status !== 401;
  if (response.status === 401) {
    sessionStorage.removeItem(TOKEN);
    throw new StrangerError(token ? "This token is not accepted, or its grant lacks the scope operate."
      : "This server asks who wants to see it: enter a token whose grant has the scope operate.");
  }
  if (!response.ok) throw new Error(`The server answers with status ${response.status}: ${await response.text()}`);
  const stats = await response.json();
  if (stats === null || typeof stats !== "object") throw new Error("The server answers something that is no state.");
  return stats;
}

function showSilence(error) {
  if (error instanceof StrangerError) {
    byId("sampled-sections").hidden = true;
    showState("down", "Who is asking?", error.message);
    return;
  }
  // What the browser says about a connection differs from browser to browser.
  const isAnswer = error.constructor === Error;
  const cause = isAnswer ? error.message.slice(0, 200).trim() : "The server does not answer.";
  const missing = isAnswer ? "No sample" : "No answer";
  const retry = `The page asks again every ${time(RETRY_MS / 1000)}.`;
  if (answered === null) {
    showState("down", missing, `${cause} There was none so far. ${retry}`);
    return;
  }
  const age = Math.round((Date.now() - answered) / 1000);
  const detail = `${cause} All below is of ${clock(answered)}, ${distance(-age * 1000, 0)}. ${retry}`;
  showState("down", `${missing} since ${clock(answered)}`, detail);
}

async function ask() {
  if (isAsking || document.hidden) return;
  isAsking = true;
  clearTimeout(next);
  const stats = await answer().catch(showSilence);
  next = setTimeout(ask, stats ? ASK_MS : RETRY_MS);
  isAsking = false;
  if (!stats) return;
  answered = Date.now();
  byId("sampled-sections").hidden = false;
  show(stats);
}

byId("charts").append(...charts.map((chart) => chart.card));
byId("rules-filter").addEventListener("input", showRules);
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, byId("token").value.trim());
  byId("token").value = "";
  ask();
});
document.addEventListener("visibilitychange", ask);
showState("waiting", byId("state-text").textContent, byId("state-detail").textContent, "");
ask();
