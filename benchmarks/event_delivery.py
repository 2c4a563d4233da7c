"""How soon an event is with those who listen: websockets and server-sent events, few and many.

    HEALTHCLOUD_HOME=… manage.py up                                   (in another terminal)
    python -m benchmarks.event_delivery $HEALTHCLOUD_HOME/local.json [--rate 100] [--seconds 10]

Each event is an `emit` of a run that is started over HTTP; its time counts from the moment at
which the request is sent, so that it contains request, run and commit, and again from the moment
at which the answer came, which is after the commit. Three parts: one websocket and one stream at
`--rate` events a second; `--sockets` websockets that each get one event a second; catching up
from a sequence number while events come. CPU of the web process is read from /proc.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.api_requests import Client, Platform

SLUG = "bench-emit-one"
TYPE = "custom.bench.delivery"
SOCKETS_A_KEY = 100  # as many as one key may hold open
ROLES = ("web", "worker", "scheduler", "cache", "database")


class Sender:
    """Starts runs that emit one event each, at a steady rate, from a few connections."""

    def __init__(self, platform: Platform, threads: int = 8) -> None:
        self.platform = platform
        self.pool = ThreadPoolExecutor(threads)
        self.local = threading.local()
        self.sent: dict[int, float] = {}
        self.answered: dict[int, float] = {}

    def send(self, number: int) -> None:
        """Emit one event, in a thread of the pool."""
        if not hasattr(self.local, "client"):
            self.local.client = Client(self.platform)
        body = {"workflow_id": SLUG, "input": {"n": number}, "wait": 10}
        self.sent[number] = time.perf_counter()
        answer = self.local.client.send("POST", "/v1/workflows/run", body)
        self.answered[number] = time.perf_counter()
        if b'"completed"' not in answer:
            raise SystemExit(f"a run did not complete: {answer[:500]!r}")

    async def run(self, numbers: range, rate: float) -> None:
        """Emit events in their time, whether or not earlier ones have been answered."""
        loop, began, calls = asyncio.get_running_loop(), time.perf_counter(), []
        for step, number in enumerate(numbers):
            await asyncio.sleep(max(0.0, began + step / rate - time.perf_counter()))
            calls.append(loop.run_in_executor(self.pool, self.send, number))
        await asyncio.gather(*calls)


@contextlib.asynccontextmanager
async def socket(platform: Platform, key: str, after: int | None = None) -> AsyncIterator[Any]:
    """Open a websocket that is subscribed to the benchmark's events."""
    address = f"ws://{platform.address.netloc}/v1/events/ws?type={TYPE}"
    if after is not None:
        address += f"&after={after}"
    headers = {
        "Authorization": f"Bearer {key}",
        "HealthCloud-Project": platform.headers["HealthCloud-Project"],
    }
    async with connect(
        address, additional_headers=headers, open_timeout=60, ping_interval=None, compression=None
    ) as opened:
        while json.loads(await opened.recv())["type"] != "subscribed":
            continue
        yield opened


async def listen(opened: ClientConnection, got: Callable[[dict[str, Any], float], None]) -> None:
    """Hand on each event with the time of its arrival."""
    async for text in opened:
        arrived = time.perf_counter()
        message = json.loads(text)
        if message["type"] == "event":
            got(message["event"], arrived)


async def stream(platform: Platform, got: Callable[[dict[str, Any], float], None]) -> None:
    """Follow the server-sent events."""
    reader, writer = await asyncio.open_connection(platform.address.hostname, platform.address.port)
    lines = [f"GET /v1/events/stream?type={TYPE} HTTP/1.1", f"Host: {platform.address.netloc}"]
    lines += [f"{name}: {value}" for name, value in platform.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async for line in reader:
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if "payload" in event:
                got(event, time.perf_counter())


def share(values: Sequence[float], part: float) -> float:
    """Return the milliseconds that a share of the values does not exceed."""
    return 1000 * sorted(values)[min(len(values) - 1, int(len(values) * part))]


def told(name: str, sender: Sender, arrived: dict[int, float]) -> None:
    """Print how long events took."""
    whole = [arrived[n] - sender.sent[n] for n in arrived]
    after = [arrived[n] - sender.answered[n] for n in arrived]
    print(
        f"{name:34}{len(arrived):7} of {len(sender.sent)}"
        f"   request → event p50 {share(whole, 0.5):7.1f} ms, p99 {share(whole, 0.99):7.1f} ms"
        f"   answer → event p50 {share(after, 0.5):7.1f} ms, p99 {share(after, 0.99):7.1f} ms",
        flush=True,
    )


async def few(platform: Platform, options: argparse.Namespace) -> int:
    """Measure one websocket and one stream; return the last sequence number before."""
    sender, by_socket, by_stream, numbers = Sender(platform), {}, {}, set()

    def arrive(into: dict[int, float]) -> Callable[[dict[str, Any], float], None]:
        def note(event: dict[str, Any], arrived: float) -> None:
            into.setdefault(int(event["payload"]["n"]), arrived)
            numbers.add(event["sequence"])

        return note

    async with socket(platform, platform.headers["Authorization"].split()[1]) as opened:
        tasks = [
            asyncio.create_task(listen(opened, arrive(by_socket))),
            asyncio.create_task(stream(platform, arrive(by_stream))),
        ]
        await asyncio.sleep(1)
        before = {role: platform.cpu(role) for role in ROLES}
        count = int(options.rate * options.seconds)
        await sender.run(range(count), options.rate)
        await asyncio.sleep(1)
        used = {role: platform.cpu(role) - before[role] for role in ROLES}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    told(f"websocket, {options.rate:g} events/s", sender, by_socket)
    told(f"server-sent, {options.rate:g} events/s", sender, by_stream)
    parts = ", ".join(f"{role} {1000 * value / count:.2f}" for role, value in used.items())
    print(f"CPU ms an event, its run included: {parts}")
    return min(numbers) - 1


def keys(platform: Platform, count: int) -> list[str]:
    """Make keys, so that each holds no more websockets than it may."""
    client, made = Client(platform), []
    for number in range(count):
        body = {"name": f"bench {number}", "scopes": ["events:read"]}
        answer = json.loads(client.send("POST", "/v1/api-keys", body, expected=(201,)))
        made.append(answer["secret"])
    return made


async def many(platform: Platform, options: argparse.Namespace) -> None:
    """Measure an event a second to many websockets."""
    sender, delays = Sender(platform), []
    last: dict[int, float] = {}

    def note(event: dict[str, Any], arrived: float) -> None:
        number = int(event["payload"]["n"])
        delays.append(arrived - sender.sent[number])
        last[number] = max(last.get(number, 0.0), arrived - sender.sent[number])

    secrets = keys(platform, -(-options.sockets // SOCKETS_A_KEY))
    async with contextlib.AsyncExitStack() as stack:
        began, gate = time.perf_counter(), asyncio.Semaphore(16)

        async def enter(number: int) -> ClientConnection:
            async with gate:
                opening = socket(platform, secrets[number // SOCKETS_A_KEY])
                opened: ClientConnection = await stack.enter_async_context(opening)
                return opened

        opened = await asyncio.gather(*(enter(number) for number in range(options.sockets)))
        print(f"{options.sockets} websockets opened in {time.perf_counter() - began:.1f} s")
        rest = platform.cpu("web")
        await asyncio.sleep(5)
        rest = (platform.cpu("web") - rest) / 5
        tasks = [asyncio.create_task(listen(one, note)) for one in opened]
        before = platform.cpu("web")
        await sender.run(range(options.seconds), 1.0)
        await asyncio.sleep(2)
        used = platform.cpu("web") - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    expected = options.sockets * options.seconds
    print(
        f"{len(delays)} of {expected} arrived; request → event p50 {share(delays, 0.5):.1f} ms,"
        f" p99 {share(delays, 0.99):.1f} ms; all have it after (median of the events)"
        f" {1000 * statistics.median(last.values()):.1f} ms; web CPU"
        f" {1e6 * used / expected:.0f} µs a delivery; at rest {100 * rest:.1f} % of a core",
        flush=True,
    )


async def catch_up(platform: Platform, options: argparse.Namespace, after: int) -> None:
    """Measure how fast a late websocket has everything since a number, while more comes."""
    sender, seen = Sender(platform), []
    count = int(options.rate * options.seconds)
    writing = asyncio.create_task(sender.run(range(count), options.rate))
    await asyncio.sleep(1)
    began = time.perf_counter()
    async with socket(platform, platform.headers["Authorization"].split()[1], after) as opened:
        async for text in opened:
            message = json.loads(text)
            if message["type"] == "event":
                seen.append(message["event"]["sequence"])
                if len(seen) >= count:
                    break
    spent = time.perf_counter() - began
    await writing
    in_order = seen == sorted(set(seen))
    print(f"catching up {len(seen)} events under load: {spent:.2f} s, in order: {in_order}")


async def measure(platform: Platform, options: argparse.Namespace) -> None:
    """Measure all parts."""
    after = await few(platform, options)
    await catch_up(platform, options, after)
    if options.sockets:
        await many(platform, options)


def main() -> None:
    """Publish the workflow and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("local", type=Path)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--sockets", type=int, default=1000)
    options = parser.parse_args()
    platform = Platform(options.local)
    arguments = {"type": TYPE, "payload": {"n": "{{ input.n }}"}}
    step = {"id": "tell", "kind": "emit", "with": arguments}
    definition = {"slug": SLUG, "name": "Benchmark", "steps": [step]}
    client = Client(platform)
    client.send("POST", "/v1/workflows", definition, expected=(200, 201, 409))
    client.send("POST", f"/v1/workflows/{SLUG}/publish", {}, expected=(200, 201, 409))
    asyncio.run(measure(platform, options))


if __name__ == "__main__":
    main()
