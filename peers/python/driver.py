"""BullMQ for Python as a peer: the orders and answers of peers/node/driver.mjs.

    python3 driver.py PORT     Redis listens on 127.0.0.1:PORT
"""
import asyncio
import json
import os
import sys
import threading

from bullmq import FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker

EVENTS = ["added", "waiting", "delayed", "active", "completed", "failed", "retries-exhausted", "stalled", "progress",
          "removed", "duplicated", "deduplicated", "drained", "cleaned", "paused", "resumed", "waiting-children"]
FIELDS = ["id", "name", "data", "opts", "progress", "returnvalue", "failedReason", "attemptsMade", "attemptsStarted",
          "stalledCounter", "delay", "priority", "timestamp", "processedOn", "processedBy", "finishedOn", "parentKey",
          "repeatJobKey", "deduplicationId"]
PATIENCE = 30
CLOSING = 5


class Peer:
    def __init__(self, port):
        self.connection = {"connection": f"redis://127.0.0.1:{port}"}
        self.queues, self.workers, self.listeners, self.gates = {}, {}, {}, {}
        self.producer = None

    def queue(self, name):
        if name not in self.queues:
            self.queues[name] = Queue(name, self.connection)
        return self.queues[name]

    def gate(self, name):
        return self.gates.setdefault(name, asyncio.Event())

    def processor(self, queue):
        async def process(job, _token):
            does = job.data if isinstance(job.data, dict) else {}
            attempt = job.attemptsMade + 1
            for line in does.get("lines", []):
                await job.log(line)
            for value in does.get("progress", []):
                await job.updateProgress(value)
            if does.get("hang"):
                await self.gate(queue).wait()
            if "slow" in does:
                await asyncio.sleep(does["slow"] / 1000)
            if "gone" in does:
                raise UnrecoverableError(does["gone"])
            if does.get("fail", 0) >= attempt:
                raise Exception(does.get("why", f"boom {attempt}"))
            if does.get("children"):
                return await job.getChildrenValues()
            return does.get("value")
        return process

    async def flow(self, flow):
        self.producer = self.producer or FlowProducer(self.connection)

        def ids(node):
            return [node["job"].id, *(id for child in node.get("children") or [] for id in ids(child))]
        return ids(await self.producer.add(flow))

    async def work(self, queue, options, **order):
        self.workers[order["as"]] = (queue, Worker(queue, self.processor(queue), {**self.connection, "name": order["as"], **options}))

    async def stop(self, **order):
        _, worker = self.workers.pop(order["as"])
        await closed(worker.close())

    async def listen(self, queue):
        events = QueueEvents(queue, {**self.connection, "lastEventId": "0"})
        listener = {"events": events, "heard": [], "more": asyncio.Event()}
        self.listeners[queue] = listener
        for event in EVENTS:
            def hear(*told, event=event):
                listener["heard"].append([event, told[0] if told and event != "drained" else {}])
                listener["more"].set()
            events.on(event, hear)

    async def heard(self, queue, event, count):
        listener = self.listeners[queue]
        try:
            async with asyncio.timeout(PATIENCE):
                while sum(heard == event for heard, _ in listener["heard"]) < count:
                    await listener["more"].wait()
                    listener["more"].clear()
        except TimeoutError:
            raise Exception(f"heard only {listener['heard']}") from None
        return listener["heard"]

    async def release(self, queue):
        self.gate(queue).set()

    async def forget(self, queue):
        self.gate(queue).set()
        for name in [name for name, (of, _) in self.workers.items() if of == queue]:
            await self.stop(**{"as": name})
        if queue in self.listeners:
            await closed(self.listeners.pop(queue)["events"].close())
        if queue in self.queues:
            await closed(self.queues.pop(queue).close())
        self.gates.pop(queue, None)

    async def obey(self, op, order):
        if op in ("flow", "work", "stop", "listen", "heard", "release", "forget"):
            return await getattr(self, op)(**order)
        queue, args = self.queue(order["queue"]), order.get("args", [])
        if op == "upsertJobScheduler":  # takes the template's parts one by one
            args = [*args[:2], *(args[2].get(part) for part in ("name", "data", "opts"))]
        if not op.startswith("job."):
            return await getattr(queue, op)(*args)
        job = await queue.getJob(order["id"])
        if job is None:
            raise Exception(f"no job {order['id']}")
        return await getattr(job, op[4:])(*args)


LEFT = set()


async def closed(closing):
    """Waits for a close, but not for ever: about one in a hundred does not come back, observed. No job runs any more then."""
    task = asyncio.ensure_future(closing)
    _, open_ = await asyncio.wait({task}, timeout=CLOSING)
    LEFT.update(open_)


def plain(value):
    """What JSON can say of an answer: jobs as their fields."""
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if type(value).__name__ == "Job":
        return {field: getattr(value, field, None) for field in FIELDS}
    if isinstance(value, set):
        return sorted(value)
    return value


async def answer(peer, line):
    order = json.loads(line)
    try:
        said = {"ok": plain(await peer.obey(order["op"], order["with"]))}
    except Exception as error:  # whatever it was, who asked is told
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"n": order["n"], **said}), flush=True)


async def main():
    peer, tasks, loop = Peer(int(sys.argv[1])), set(), asyncio.get_running_loop()

    def obey(line):
        task = asyncio.create_task(answer(peer, line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def read():
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(obey, line)
        # Whatever the loop does: a worker whose server is gone can keep it from ever looking up, observed.
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    await asyncio.Event().wait()


asyncio.run(main())
