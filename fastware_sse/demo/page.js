import { Plot } from "/plot.js";

const ROWS = 100;            // events that the list keeps
const RETRY = 3_000;         // milliseconds until we try again where EventSource has given up
const page = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const byId = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en");

for (const origin of document.querySelectorAll(".origin")) origin.textContent = location.origin;

// ---- the clock: the server's is the same machine's, so only the browser's two have to agree ----

let ahead = 0;

function now() {
  const precise = performance.timeOrigin + performance.now();  // finer than Date.now(), but does not follow corrections
  const difference = Date.now() - precise;
  if (Math.abs(difference - ahead) > 2) ahead = difference;
  return precise + ahead;
}

// ---- the list of events ----

const list = byId("events");
let waiting = [];  // rows that the next frame shows, the newest last
let paused = false;
let missed = 0;

function clock(time) {
  const date = new Date(time);
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function show(type, text, delay) {
  const filter = document.querySelector(`.chip input[value="${type}"]`);
  if (filter !== null && !filter.checked) return;
  if (paused) {
    missed += 1;
    return;
  }
  waiting.push({ type, text, delay, time: now() });
  if (waiting.length > ROWS) waiting.shift();
}

function row({ type, text, delay, time }) {
  const item = document.createElement("li");
  const parts = [["time", clock(time)], ["b", type], ["code", text], ["span", delay === undefined ? "" : `${delay.toFixed(1)} ms`]];
  item.dataset.type = type;
  for (const [tag, content] of parts) {
    const element = document.createElement(tag);
    element.textContent = content;
    item.append(element);
  }
  return item;
}

function showWaiting() {
  if (paused) byId("pause").textContent = missed ? `Resume (${numbers.format(missed)} missed)` : "Resume";
  if (waiting.length === 0) return;
  byId("empty").hidden = true;
  // Whoever reads further down is not moved away.
  const height = list.scrollHeight;
  list.prepend(...waiting.reverse().map(row));
  if (list.scrollTop > 0) list.scrollTop += list.scrollHeight - height;
  waiting = [];
  while (list.children.length > ROWS) list.lastChild.remove();
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  missed = 0;
  byId("pause").setAttribute("aria-pressed", paused);
  byId("pause").textContent = paused ? "Resume" : "Pause";
});

for (const filter of document.querySelectorAll(".chip input")) {
  filter.addEventListener("change", () => {
    if (filter.checked) return;
    for (const item of list.querySelectorAll(`[data-type="${filter.value}"]`)) item.remove();
    byId("empty").hidden = list.children.length > 0;
  });
}

// ---- the plots ----

const plots = {
  clients: new Plot(byId("plot-clients"), "--clients", 4),
  deliveries: new Plot(byId("plot-deliveries"), "--deliveries", 10),
  delay: new Plot(byId("plot-delay"), "--delay", 2),
};
let delays = [];  // one list for each stats event of the last second, the newest last and still growing
let pulses = [];  // the stats events of the last second on this connection, the newest last

function forget() {
  delays = [[]];
  pulses = [];
}

function median(values) {
  return values.sort((one, other) => one - other)[values.length >> 1];
}

function measure({ sent }) {
  const delay = Math.max(0, now() - sent * 1000);
  delays.at(-1).push(delay);
  return delay;
}

function onStats(stats) {
  const time = stats.sent * 1000;
  const browsers = stats.clients - stats.synthetic;
  plots.clients.add({ time, low: 0, value: stats.clients, high: stats.clients });
  byId("clients").textContent = numbers.format(stats.clients);
  byId("clients-detail").textContent =
    `${browsers} ${browsers === 1 ? "browser" : "browsers"}, ${numbers.format(stats.synthetic)} synthetic`;

  const [first] = pulses;
  if (first !== undefined && stats.delivered >= first.delivered && stats.sent > first.sent) {
    const value = (stats.delivered - first.delivered) / (stats.sent - first.sent);
    plots.deliveries.add({ time, low: 0, value, high: value });
    byId("deliveries").textContent = numbers.format(Math.round(value));
    byId("deliveries-detail").textContent = `${numbers.format(stats.delivered)} since the server started`;
  }
  pulses = [...pulses.slice(-3), stats];

  const newest = delays.at(-1);
  plots.delay.add({ time, low: Math.min(...newest), value: median(newest), high: Math.max(...newest) });
  byId("delay").textContent = median(delays.flat()).toFixed(1);
  byId("delay-detail").textContent = `from broadcast() to this page; ${plots.delay.high().toFixed(1)} ms at worst`;
  delays = [...delays.slice(-3), []];
  followLoad(stats);
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
let drawn = 0;

function frame(at) {
  requestAnimationFrame(frame);
  if (at - drawn < (still.matches ? 250 : 30)) return;
  drawn = at;
  showWaiting();
  for (const plot of Object.values(plots)) plot.draw(now(), still.matches ? 1 : 0.2);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const plot of Object.values(plots)) plot.restyle();
});

// ---- the connection ----

let opened = 0;
let lost = 0;

function state(name, text = name) {
  byId("state").dataset.state = name;
  byId("state").textContent = text;
  byId("cut").disabled = name !== "open";
}

function connect() {
  const source = new EventSource(`/events?page=${page}`);
  source.addEventListener("open", () => {
    opened += 1;
    byId("reconnects").textContent = numbers.format(opened - 1);
    if (opened > 1) show("connection", `back after ${((now() - lost) / 1000).toFixed(1)} s`);
    state("open");
  });
  source.addEventListener("error", () => {
    if (byId("state").dataset.state === "open") {
      lost = now();
      forget();
      show("connection", "lost; the browser tries again by itself");
    }
    if (source.readyState !== EventSource.CLOSED) {
      state("connecting", "reconnecting");
      return;
    }
    // After an answer other than a stream (a proxy's 502, say), EventSource gives up. So a new one has to try.
    if (lost === 0) lost = now();
    state("closed");
    setTimeout(() => { state("connecting", "reconnecting"); connect(); }, RETRY);
  });
  source.addEventListener("message", (event) => show("message", JSON.parse(event.data).text));
  source.addEventListener("status", (event) => show("status", event.data));
  source.addEventListener("load", (event) => show("load", event.data, measure(JSON.parse(event.data))));
  source.addEventListener("stats", (event) => {
    const stats = JSON.parse(event.data);
    show("stats", event.data, measure(stats));
    onStats(stats);
  });
}

// ---- the controls ----

async function request(method, path, body) {
  let problem = "the server does not answer";
  try {
    const response = await fetch(path, { method, body: body && JSON.stringify(body) });
    if (response.ok) return true;
    problem = `the server says ${response.status}`;
  } catch { /* not reached */ }
  byId("answer").textContent = `${method} ${path}: ${problem}`;
  byId("answer").classList.add("bad");
  return false;
}

function answer(text) {
  byId("answer").textContent = text;
  byId("answer").classList.remove("bad");
}

byId("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = byId("text").value;
  if (await request("POST", "/send", { text })) {
    if (byId("text").value === text) byId("text").value = "";
    answer("Sent to everybody.");
  }
});

byId("status").addEventListener("click", async () => {
  if (await request("GET", "/status")) answer("Status sent to everybody.");
});

byId("cut").addEventListener("click", () => request("POST", "/cut", { page }));

const sliders = [byId("load-clients"), byId("load-rate")];
let touched = -Infinity;
let asking = false;
let again = false;

function paint(slider) {
  byId(`${slider.id}-value`).textContent = slider.value;
  slider.style.setProperty("--fill", `${(slider.value / slider.max) * 100}%`);
}

// One request at a time; while it is under way, the slider's later positions become one more.
async function askForLoad() {
  touched = performance.now();
  again = asking;
  if (asking) return;
  asking = true;
  await request("POST", "/load", { clients: sliders[0].valueAsNumber, rate: sliders[1].valueAsNumber });
  asking = false;
  if (again) askForLoad();
}

// Another page may have moved its sliders. Ours follow, unless somebody holds them.
function followLoad({ synthetic, rate }) {
  if (asking || performance.now() - touched < 1_500) return;
  for (const [slider, value] of [[sliders[0], synthetic], [sliders[1], rate]]) {
    if (slider.valueAsNumber === value) continue;
    slider.value = value;
    paint(slider);
  }
}

for (const slider of sliders) {
  slider.addEventListener("input", () => {
    paint(slider);
    askForLoad();
  });
  paint(slider);
}

byId("calm").addEventListener("click", () => {
  for (const slider of sliders) {
    slider.value = 0;
    paint(slider);
  }
  askForLoad();
});

forget();
connect();
requestAnimationFrame(frame);
