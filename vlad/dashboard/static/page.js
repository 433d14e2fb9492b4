// The page: one WebSocket in, acts out. What is older than it seems is never shown as if it were new.
"use strict";

const OLD_MS = 1500;            // without a status for so long, what is shown is old
const STOP_TRIES_MS = 10000;    // a stop is sent again and again for so long
const PICTURE_OLD_MS = 1000;
const COLOURS = ["--a", "--b", "--c", "--d", "--e", "--f"];
const LEVELS = ["SAFE", "CAUTION", "WARNING", "DANGER", "EMERGENCY"];

const $ = (id) => document.getElementById(id);
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const number = (value, digits = 2) => (value == null ? "–" : value.toFixed(digits));
const timeOf = (date) => date.toLocaleTimeString([], { hour12: false });
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

function make(kind, text, ...classes) {
  const node = document.createElement(kind);
  if (text) node.textContent = text;
  node.classList.add(...classes.filter(Boolean));
  return node;
}

function marked(kind, text, ...classes) { // `vladctl reset` in a hint is something to type
  const node = make(kind, "", ...classes);
  (text || "").split("`").forEach((part, k) => node.append(k % 2 ? make("code", part) : part));
  return node;
}

const built = new Map();
function rebuild(id, key, children) { // only when it says something else than before
  const text = JSON.stringify(key);
  if (built.get(id) === text) return;
  built.set(id, text);
  $(id).replaceChildren(...children());
}

function span(seconds) {
  if (seconds == null) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

// the connection ----------------------------------------------------------------------------------------------

let socket = null;
let link = { up: false, message: "", hint: "" };
let heardMs = -Infinity;        // when the last status came
let heardAt = null;

function connect() {
  if (socket || document.hidden) return;
  const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream`);
  socket = mine;
  mine.onmessage = (message) => {
    const { stream, data } = JSON.parse(message.data);
    if (streams[stream]) streams[stream](data);
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    socket = null;
    link = { up: false, message: "", hint: "" };
    checkAge();
    setTimeout(connect, 500 + 500 * Math.random());
  };
}

document.addEventListener("visibilitychange", () => { // nobody looks: cost the robot nothing
  if (!document.hidden) { connect(); return; }
  const mine = socket;
  socket = null;
  if (mine) mine.close();
  heardMs = -Infinity;
  checkAge();
});

function checkAge() {
  const old = !link.up || performance.now() - heardMs > OLD_MS;
  $("shown").classList.toggle("old", old);
  $("lost").hidden = !old;
  for (const id of ["mode", "level"]) $(id).hidden = old;
  if (!old) return;
  put($("lost-what"), socket && link.message ? "The daemon does not answer" : "No connection to the robot");
  put($("lost-why"), link.message ? `${link.message}. ${link.hint}` : "This page cannot stop it now: use its own e-stop.");
  put($("lost-since"), heardAt ? `What is shown is from ${timeOf(heardAt)}.` : "");
}
setInterval(checkAge, 250);

const answers = new Map();
const streams = {
  link(data) { link = data; checkAge(); },
  status(data) {
    heardMs = performance.now();
    heardAt = new Date();
    if (socket && socket.readyState === WebSocket.OPEN) socket.send('{"seen":true}');
    showStatus(data);
    checkAge();
  },
  history(data) { history_.names = data.names; history_.rows = data.rows; history_.seconds = data.seconds; drawPlots(); },
  row(data) {
    history_.rows.push(data);
    while (history_.rows.length > history_.seconds) history_.rows.shift();
    drawPlots();
  },
  events(data) { events = data; showEvents(); },
  event(data) { events.push(data); events = events.slice(-100); showEvents(); },
  answer(data) { const told = answers.get(data.id); if (told) told(data); },
};

// acts --------------------------------------------------------------------------------------------------------

let lastId = 0;
const token = () => sessionStorage.getItem("token") || "";

function say(text, bad) {
  put($("said"), text);
  $("said").classList.toggle("bad", Boolean(bad));
}

function bySocket(name) {
  if (!socket || socket.readyState !== WebSocket.OPEN) return Promise.resolve(null);
  const id = ++lastId;
  socket.send(JSON.stringify({ act: name, id, token: token(), reason: "pressed on the page" }));
  const answer = new Promise((told) => answers.set(id, told));
  return Promise.race([answer, wait(name === "estop" ? 400 : 6000)]).finally(() => answers.delete(id));
}

async function byRequest(name) {
  try {
    const headers = token() ? { authorization: `Bearer ${token()}` } : {};
    const signal = AbortSignal.timeout(3000);
    return await (await fetch(`/act/${name}`, { method: "POST", headers, signal, cache: "no-store" })).json();
  } catch {
    return null; // no answer
  }
}

const act = async (name) => (await bySocket(name)) || (await byRequest(name));

let presses = 0;
async function stop() { // each press is sent, whatever became of the one before
  const mine = ++presses;
  const until = performance.now() + STOP_TRIES_MS;
  say("Stopping …");
  let answer = await act("estop");
  while (!(answer && (answer.ok || answer.error.code === "not_permitted")) && mine === presses && performance.now() < until) {
    say("STOP NOT DELIVERED, trying again. Use the robot's own e-stop.", true);
    await wait(300);
    answer = await act("estop");
  }
  if (mine !== presses) return;
  if (answer && answer.ok) { say("The daemon has taken the stop."); return; }
  say(`STOP NOT DELIVERED. Use the robot's own e-stop.\n${explained(answer)}`, true);
  if (answer && answer.error.code === "not_permitted") askForToken();
}

async function reset() {
  say("Reset …");
  const answer = await act("reset");
  if (answer && answer.ok) say("Reset: the robot is disarmed. Arming it is another act.");
  else if (answer && answer.refusals) {
    const rows = answer.refusals.map((row) => `${row.id} ${row.subject}: ${row.detail}. ${row.hint}`);
    say(`Reset refused:\n${rows.join("\n")}`);
  } else say(explained(answer) || "No answer to the reset.");
  if (answer && answer.error && answer.error.code === "not_permitted") askForToken();
}

const explained = (answer) => (answer && answer.error ? `${answer.error.message}: ${answer.error.hint}` : "");

function askForToken() {
  $("token-row").hidden = false;
  $("token").focus();
}

function useToken() {
  sessionStorage.setItem("token", $("token").value.trim());
  $("token").value = "";
  $("token-row").hidden = true;
  say("The token is kept until this tab is closed. Press again.");
}

let pressedMs = -Infinity;
function pressed() { // the finger going down counts, and a click, as keys and other tools make it
  if (performance.now() - pressedMs > 300) stop();
  pressedMs = performance.now();
}
$("stop").addEventListener("pointerdown", pressed);
$("stop").addEventListener("click", pressed);
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !event.repeat) stop(); });
$("reset").addEventListener("click", reset);
$("token-ok").addEventListener("click", useToken);
$("token").addEventListener("keydown", (event) => { if (event.key === "Enter") useToken(); });

// the status --------------------------------------------------------------------------------------------------

// What nobody reads ten times a second: one of them with each status, so that a press of STOP waits for one.
const IN_TURN = [
  (status) => showCameras(status.signals),
  (status) => showPlan(status.motion),
  (status) => showPolicy(status),
  (status) => showSignals(status.signals),
  (status) => showMaintenance(status),
];
let turn = 0;

function showStatus(status) {
  document.title = `${status.robot.name}: ${status.mode}`;
  put($("robot"), status.robot.name + (status.robot.simulated ? " (simulated)" : ""));
  put($("mode"), status.mode.toUpperCase());
  put($("level"), status.level);
  $("level").className = `pill ${status.level}`;
  put($("task"), status.task ? `Task: ${status.task}` : "No task");
  $("estop").hidden = !status.estop.latched;
  put($("estop-reason"), `${status.estop.reason || ""}. Mend what it was pressed for, then reset.`);
  const known = new Set(status.faults.map((row) => `${row.id} ${row.subject}`));
  showFaults("faults", status.faults);
  showFaults("refusals", status.refusals.filter((row) => !known.has(`${row.id} ${row.subject}`)));
  showMotion(status);
  const due = turn ? [IN_TURN[turn % IN_TURN.length]] : IN_TURN;
  turn += 1;
  for (const show of due) show(status);
}

function showFaults(id, rows) {
  $(`${id}-card`).hidden = !rows.length;
  const key = rows.map((row) => [row.id, row.subject, row.detail, span(row.since_s)]);
  rebuild(id, key, () => rows.map((row) => {
    const node = make("div", "", "fault", row.level);
    node.append(make("b", row.level), make("b", `${row.id} ${row.subject}`));
    node.append(make("small", row.since_s > 0 ? `${row.reaction}, for ${span(row.since_s)}` : ""));
    node.append(make("p", row.detail), marked("p", row.hint, "hint"));
    return node;
  }));
}

function showMotion(status) {
  const { motion, commands } = status;
  put($("command"), `${commands.mode || "nothing"} is commanded, ${commands.listeners} motor driver${commands.listeners === 1 ? "" : "s"}`);
  rebuild("axes", [motion.names, motion.lower], () => motion.names.map((name) => {
    const row = make("div", "", "axis");
    row.append(make("span", name), make("span", "", "track"), make("span"));
    row.children[1].append(make("i"));
    return row;
  }));
  const rows = $("axes").children;
  motion.names.forEach((name, k) => showAxis(rows[k], motion, k));
}

function showAxis(row, motion, k) {
  const [, track, text] = row.children;
  const bar = track.firstChild.style;
  const most = motion.velocity_limits[k];
  const speed = motion.velocity ? motion.velocity[k] : null;
  const place = motion.position && motion.lower[k] != null ? motion.position[k] : null;
  let used = speed == null ? 0 : Math.abs(speed) / most;
  track.classList.toggle("point", place != null);
  if (place != null) {
    const part = (place - motion.lower[k]) / (motion.upper[k] - motion.lower[k]);
    bar.left = `${100 * Math.min(1, Math.max(0, part))}%`;
    bar.width = "";
    used = Math.max(used, Math.abs(2 * part - 1));
    put(text, `${number(place)}, ${number(speed)}/s`);
  } else {
    const part = speed == null ? 0 : Math.max(-1, Math.min(1, speed / most));
    bar.left = `${50 + 50 * Math.min(0, part)}%`;
    bar.width = `${50 * Math.abs(part)}%`;
    put(text, `${number(speed)} of ${number(most)}`);
  }
  track.classList.toggle("near", used > 0.9 && used <= 1);
  track.classList.toggle("over", used > 1);
}

function showPlan(motion) {
  const chunk = motion.chunk;
  const old = !chunk || chunk.due_s[chunk.due_s.length - 1] < -1;
  put($("plan-of"), old ? "The policy has no plan." : "What the policy wants next, each axis as a part of its limits");
  rebuild("plan-names", old ? [] : chunk.names, () => (old || chunk.names.length > 6 ? [] : chunk.names.map((name, k) => {
    const node = make("span");
    node.append(make("i", "", `c${k}`), name);
    return node;
  })));
  const lines = old ? [] : chunk.names.map((name, k) => {
    const axis = motion.names.indexOf(name);
    const absolute = chunk.kind === "joint_position" && motion.lower[axis] != null;
    const scale = (value) => (absolute
      ? (2 * (value - motion.lower[axis])) / (motion.upper[axis] - motion.lower[axis]) - 1
      : value / (motion.velocity_limits[axis] || 1));
    return { points: chunk.rows.map((row, n) => [chunk.due_s[n], row[k] == null ? null : scale(row[k])]), colour: COLOURS[k % 6] };
  });
  const last = old ? 1 : Math.max(0.2, chunk.due_s[chunk.due_s.length - 1]);
  draw($("plan"), { lines, from: Math.min(-0.2, old ? 0 : chunk.due_s[0]), to: last, low: -1.15, high: 1.15,
    across: [[-1, "limit"], [0, "0"], [1, "limit"]], down: [[0, "now"], [last, `${last.toFixed(1)} s`]] });
}

function showPolicy(status) {
  const { policy, tick, computer } = status;
  const rows = [
    ["policy", policy.bundle ? `${policy.bundle} ${policy.version || ""}, ${policy.state}${(policy.waits_for || []).length ? `, waits for ${policy.waits_for.join(", ")}` : ""}` : policy.error || "none: the robot only holds"],
    ["inference", `${number(policy.rate_hz, 1)}/s, p50 ${number(policy.latency_p50_ms, 1)} ms, p99 ${number(policy.latency_p99_ms, 1)} ms`],
    ["observation to command", `p50 ${number(policy.age_p50_ms, 1)} ms, p99 ${number(policy.age_p99_ms, 1)} ms`],
    ["safety tick", `late p50 ${number(tick.late_p50_ms)} ms, p99 ${number(tick.late_p99_ms)} ms; ${tick.missed} of ${tick.count} missed`],
    ["guard", status.guard.state || "not heard"],
    ["black box", status.record.problem || status.record.state],
    ["disk", computer.disk == null ? "–" : `${Math.round(100 * computer.disk)} % used`],
    ["up", span(status.uptime_s)],
  ];
  if (policy.error && policy.bundle) rows.push(["error", policy.error]);
  rebuild("policy", rows, () => rows.flatMap(([name, text]) => [make("dt", name), make("dd", String(text))]));
}

function showSignals(signals) {
  const rows = Object.entries(signals).map(([topic, row]) => [
    topic, row.age_s == null ? "never" : span(row.age_s), `${number(row.rate_hz, 1)} Hz`,
    Object.values(row.bad || {}).reduce((sum, count) => sum + count, 0), row.required, row.frozen, row.source,
  ]);
  rebuild("signals", rows, () => {
    const head = make("tr");
    for (const name of ["signal", "age", "rate", "bad"]) head.append(make("th", name));
    return [head, ...rows.map(([topic, age, rate, bad, required, frozen, source]) => {
      const line = make("tr", "", age === "never" && required ? "DANGER" : "");
      const more = [source !== topic && source ? `from ${source}` : "", frozen ? "frozen" : ""].filter(Boolean).join(", ");
      line.append(make("td", topic + (more ? ` (${more})` : "")), make("td", age), make("td", rate));
      line.append(make("td", bad ? String(bad) : "", bad ? "WARNING" : ""));
      return line;
    })];
  });
}

const VERDICTS = { ok: "SAFE", warning: "WARNING", failed: "DANGER" };
const WORST_FIRST = ["failed", "warning"];

// Those that did not end well come first, with what became of them in a word: colour alone is not for everybody.
function upkeep(tasks) {
  const rank = (task) => (WORST_FIRST.indexOf(task.verdict) + WORST_FIRST.length + 1) % (WORST_FIRST.length + 1);
  return Object.entries(tasks || {}).sort(([, one], [, other]) => rank(one) - rank(other)).map(([name, task]) => {
    const bad = WORST_FIRST.includes(task.verdict) ? task.verdict : "";
    const said = bad + (task.failures > 1 ? ` ${task.failures} times in a row` : "");
    return [name, task.verdict, said, task.summary, task.due_wall_ns];
  });
}

function showMaintenance(status) {
  const health = status.health || {};
  const alerts = health.alerts || [];
  const { running, ordered, problem, tasks } = status.maintenance || {};
  const rows = upkeep(tasks);
  const waiting = (ordered || []).join(", ");
  const now = running ? `${running.name}: ${Math.round(100 * running.progress)} % ${running.text || ""}` : "";
  rebuild("maintenance", [health.score, alerts.map((alert) => [alert.id, alert.text]), rows, now, waiting, problem], () => [
    make("p", health.score == null ? "Health: not measured yet" : `Health ${Math.round(100 * health.score)} %`, health.level),
    ...alerts.map((alert) => {
      const node = make("div", "", "fault", alert.level);
      node.append(make("b", alert.component), make("p", alert.text), marked("p", alert.action, "hint"));
      return node;
    }),
    ...(alerts.length ? [] : [make("p", "No alert.", "quiet")]),
    ...(problem ? [make("p", problem, "DANGER")] : []),
    ...(now ? [make("p", `Running: ${now}`)] : []),
    ...(waiting ? [make("p", `Waiting: ${waiting}`)] : []),
    ...rows.map(([name, verdict, said, summary, due]) => {
      const node = make("p", "", "task");
      node.append(make("b", `${name} ${said}`.trim() + " ", VERDICTS[verdict]), summary || "has not run yet");
      if (due) node.append(make("small", ` next ${new Date(due / 1e6).toLocaleString([], { hour12: false, dateStyle: "short", timeStyle: "short" })}`));
      return node;
    }),
  ]);
}

let events = [];
const clock = (event) => timeOf(new Date(event.wall_ns / 1e6));
function showEvents() {
  rebuild("events", events.map((event) => event.id), () => events.slice().reverse().map((event) => {
    const line = make("li", "", event.level);
    line.append(make("span", clock(event)), make("span", event.kind), make("span", event.text));
    return line;
  }));
}

// cameras -----------------------------------------------------------------------------------------------------

const watched = new Map();
const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.seen = entry.isIntersecting;
  if (entries.some((entry) => entry.isIntersecting && entry.target.matches("#plots section"))) drawPlots();
});

function showCameras(signals) {
  const topics = Object.keys(signals).filter((topic) => ["image", "compressed_image"].includes(signals[topic].type));
  $("cameras-card").hidden = !topics.length;
  rebuild("cameras", topics, () => topics.map((topic) => {
    const node = make("div", "", "camera", "none");
    node.append(make("canvas"), make("span", topic));
    node.seen = true;
    node.shownMs = -Infinity;
    watched.set(topic, node);
    inView.observe(node);
    watch(topic, node);
    return node;
  }));
}

async function watch(topic, node) {
  let seen = "0";
  while (watched.get(topic) === node) {
    if (document.hidden || !node.seen || !socket) { await wait(300); continue; }
    try {
      const answer = await fetch(`/picture/${encodeURIComponent(topic)}?after=${seen}`, { cache: "no-store", signal: AbortSignal.timeout(3000) });
      if (answer.status === 200) {
        const ageMs = 1000 * Number(answer.headers.get("x-age-s"));
        const picture = await createImageBitmap(await answer.blob());
        const canvas = node.firstChild;
        if (canvas.width !== picture.width || canvas.height !== picture.height) Object.assign(canvas, { width: picture.width, height: picture.height });
        canvas.getContext("2d").drawImage(picture, 0, 0);
        picture.close();
        seen = answer.headers.get("x-number");
        node.shownMs = performance.now() - ageMs;
        node.dataset.number = seen;
      } else await wait(answer.status === 204 ? 0 : 1000);
    } catch {
      await wait(1000);
    }
    await wait(50);
  }
}

setInterval(() => {
  for (const [topic, node] of watched) {
    const ageMs = performance.now() - node.shownMs;
    node.classList.toggle("none", ageMs > PICTURE_OLD_MS);
    put(node.lastChild, ageMs > PICTURE_OLD_MS ? `${topic}: no picture` : topic);
  }
}, 250);

// plots -------------------------------------------------------------------------------------------------------

const history_ = { names: [], rows: [], seconds: 600 };
const percent = (value) => `${Math.round(100 * value)} %`;
const PLOTS = [
  { title: "Latency", unit: "ms", names: { age_p99_ms: "observation to command p99", age_p50_ms: "p50", latency_p99_ms: "inference p99", latency_p50_ms: "p50" } },
  { title: "Safety tick, late by", unit: "ms", names: { late_p99_ms: "p99", late_p50_ms: "p50" } },
  { title: "Inferences a second", unit: "", names: { inferences_hz: "inferences" } },
  { title: "Messages a second", unit: "", names: { messages_hz: "messages" } },
  { title: "Processors and GPU", form: percent, high: 1, names: { cpu: "processors", gpu: "GPU" } },
  { title: "Memory in use", form: percent, high: 1, names: { memory: "computer", gpu_memory: "GPU" } },
  { title: "Memory of the daemon", unit: "MB", names: { daemon_mb: "daemon" } },
  { title: "Power", unit: "W", names: { robot_watts: "robot", watts: "computer" } },
  { title: "Temperature", unit: "°C", names: { celsius: "hottest" } },
];

for (const plot of PLOTS) {
  plot.card = make("section");
  plot.canvas = make("canvas", "", "plot");
  plot.canvas.dataset.plot = plot.title;
  plot.legend = make("p", "", "legend");
  plot.card.append(make("h2", `${plot.title}${plot.unit ? ` [${plot.unit}]` : ""}`), plot.canvas, plot.legend);
  $("plots").append(plot.card);
  inView.observe(plot.card);
}

let drawing = false;
let drawAgain = false;
async function drawPlots() { // one after the other: a press of STOP waits for one of them, not for all
  drawAgain = true;
  if (drawing) return;
  drawing = true;
  try {
    while (drawAgain) {
      drawAgain = false;
      drawLevels();
      for (const plot of PLOTS) { await wait(0); drawPlot(plot); }
    }
  } finally { drawing = false; }
}

function timeAxis() {
  const { rows, seconds } = history_;
  const newest = rows.length ? rows[rows.length - 1][0] : 0;
  return { from: newest - seconds, to: newest,
    down: [[newest - seconds, "10 min ago"], [newest - seconds / 2, "5 min"], [newest, "now"]] };
}

function drawPlot(plot) {
  const { names, rows } = history_;
  const form = plot.form || ((value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)));
  const lines = Object.keys(plot.names).map((name, k) => {
    const at = names.indexOf(name);
    return { name, points: rows.map((row) => [row[0], row[at]]), colour: COLOURS[k], class: `c${k}` };
  });
  const values = lines.flatMap((line) => line.points.map((point) => point[1])).filter((value) => value != null);
  const high = plot.high || nice(Math.max(...values, 0) * 1.1 || 1);
  const shown = lines.filter((line) => line.points.some((point) => point[1] != null));
  plot.card.hidden = rows.length > 5 && !shown.length;
  if (!plot.card.seen) return; // below the screen's edge: drawn when it is scrolled to
  plot.legend.replaceChildren(...shown.map((line) => {
    const node = make("span");
    const last = line.points[line.points.length - 1][1];
    node.append(make("i", "", line.class), `${plot.names[line.name]} `, make("b", last == null ? "–" : form(last)));
    return node;
  }));
  draw(plot.canvas, { ...timeAxis(), lines: shown, low: 0, high,
    across: [[0, form(0)], [high / 2, form(high / 2)], [high, form(high)]] });
}

function nice(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((factor) => factor * ten).find((step) => step >= value);
}

function canvasOf(canvas) {
  const box = canvas.getBoundingClientRect();
  const dots = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(box.width * dots), Math.round(box.height * dots)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.setTransform(dots, 0, 0, dots, 0, 0);
  pen.clearRect(0, 0, box.width, box.height);
  pen.font = "11px system-ui, sans-serif";
  return [pen, box.width, box.height];
}

function draw(canvas, { lines, from, to, low, high, across, down }) {
  const [pen, width, height] = canvasOf(canvas);
  if (!width) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  const [left, bottom, top] = [38, height - 16, 6];
  const x = (value) => left + ((width - left - 2) * (value - from)) / (to - from || 1);
  const y = (value) => bottom - ((bottom - top) * (value - low)) / (high - low || 1);
  pen.strokeStyle = colour("--line");
  pen.fillStyle = colour("--quiet");
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const [value, text] of across) {
    pen.beginPath(); pen.moveTo(left, y(value)); pen.lineTo(width, y(value)); pen.stroke();
    pen.fillText(text, left - 5, y(value));
  }
  labels(pen, x, down, left, width, height);
  for (const line of lines) {
    pen.strokeStyle = colour(line.colour);
    pen.lineWidth = 1.6;
    pen.beginPath();
    let open = false;
    for (const [at, value] of line.points) {
      if (value == null) { open = false; continue; }
      if (open) pen.lineTo(x(at), y(Math.min(high, Math.max(low, value))));
      else pen.moveTo(x(at), y(Math.min(high, Math.max(low, value))));
      open = true;
    }
    pen.stroke();
  }
  pen.lineWidth = 1;
}

function labels(pen, x, down, left, width, height) {
  pen.textBaseline = "alphabetic";
  for (const [at, text] of down) {
    const place = x(at);
    pen.textAlign = place > width - 40 ? "right" : place < left + 40 ? "left" : "center";
    pen.fillText(text, place, height - 3);
  }
}

function drawLevels() {
  const { from, to, down } = timeAxis();
  const [pen, width, height] = canvasOf($("levels"));
  const style = getComputedStyle(document.documentElement);
  const colours = ["--safe", "--caution", "--warning", "--danger", "--stop"].map((name) => style.getPropertyValue(name));
  const at = history_.names.indexOf("level");
  const step = width / history_.seconds;
  for (const row of history_.rows) {
    if (row[at] == null) continue;
    pen.fillStyle = colours[row[at]];
    pen.fillRect(((width - step) * (row[0] - from)) / (to - from), 0, step + 1, height - 18);
  }
  pen.fillStyle = style.getPropertyValue("--quiet");
  labels(pen, (value) => (width * (value - from)) / (to - from), down, 0, width, height);
}

window.addEventListener("resize", drawPlots);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPlots);
connect();
