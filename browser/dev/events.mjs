// Server-sent events of a run: steps, status, health, restarts.

const POLL_MS = 500;
const COMMENT_MS = 15_000;

/** Answers with the events of `run` after `Last-Event-ID`, or from now on. */
export function follow(run, request, response, headers) {
  response.writeHead(200, { ...headers, "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  response.write(": follow\n\n");
  const last = /^(\d+):(-?\d+)$/.exec(request.headers["last-event-id"] ?? "");
  run.poll();
  const newest = () => run.steps.at(-1) ?? -1;
  let [generation, step] = last ? [Number(last[1]), Number(last[2])] : [run.generation, newest()];
  let [health, status] = [run.health.length, ""];
  const send = (event, data) => {
    response.write(`event: ${event}\nid: ${run.generation}:${step}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const look = () => {
    run.poll();
    if (run.generation !== generation) {
      generation = run.generation;
      step = newest();
      health = 0;
      send("restart", { generation });
    }
    for (const one of run.steps) {
      if (one <= step) continue;
      step = one;
      send("step", { step, generation });
    }
    for (; health < run.health.length; health++) send("health", run.health[health]);
    const now = JSON.stringify({ ...run.status, state: run.life });
    if (now !== status) send("status", JSON.parse(now));
    status = now;
  };
  const poll = setInterval(look, POLL_MS);
  const comment = setInterval(() => response.write(": still here\n\n"), COMMENT_MS);
  request.on("close", () => {
    clearInterval(poll);
    clearInterval(comment);
  });
  look();
}
