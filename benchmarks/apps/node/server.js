// better-sse and its channel, on Node's own server: node server.js PORT. It answers what the Python apps answer: GET
// /events, and the harness's /status, /paced and /burst.
import { createServer } from "node:http";
import { performance } from "node:perf_hooks";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";

import { createChannel, createSession } from "better-sse";

const channel = createChannel();
const item = { action: "created", price: 1249.25, item: "espresso machine 2", by: "anna.meyer" };
let seq = 100_000;

// A number with all digits of a time in ns is more than a double holds, so the text is put together.
const now = () => `${Math.round((performance.timeOrigin + performance.now()) * 1000)}000`;

// The JSON text is made once for all, the event by better-sse for each.
function send(ts, size = 0) {
  const members = JSON.stringify(size ? { text: "x".repeat(size) } : item).slice(1);
  channel.broadcast(`{"seq":${seq++},"ts":${ts},${members}`, "update");
}

const actions = {
  async "/events"(asked, request, response) {
    channel.register(await createSession(request, response, { serializer: String }));
  },
  async "/status"(asked, request, response) {
    response.end(JSON.stringify({ pid: process.pid, clients: channel.sessionCount }));
  },
  async "/paced"({ events, rate, size }, request, response) {
    const start = performance.now();
    for (let index = 0; index < events; index++) {
      const early = start + (index / rate) * 1000 - performance.now();
      if (early > 0) await sleep(early);
      send(now(), size);
    }
    response.end("{}");
  },
  async "/burst"({ events, yields }, request, response) {
    const start = now();
    for (let index = 0; index < events; index++) {
      send(start);
      if (yields) await turn();
    }
    response.end("{}");
  },
};

function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const asked = Object.fromEntries([...searchParams].map(([name, value]) => [name, Number(value)]));
  actions[pathname](asked, request, response);
}

createServer(answer).listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
