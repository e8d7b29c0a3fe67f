"""Many viewers of one app, without browsers: pages opened and closed, then ten that stay while a training runs.

    python bench/viewers.py --pages 200 --minutes 6

Every page is read whole, its samples compared with what the library writes, the server's memory and log watched. What
should be seen: no page that fails, no other sample, nothing in the log, memory within 100 MB of what ten pages took.
"""

from __future__ import annotations

import argparse
import html
import itertools
import queue
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.builders.browser import server_of, serving
from tests.builders.viewer import Viewer

from ws.app import views
from ws.experiment.examples import EXAMPLE
from ws.runs.reader import open_run

TEXTS = ("May I lie?", "Who decides?", "Is it wrong to disobey?", "Tell me about duty.")
FAILED = ("Traceback", "Error", "exception was raised")


class Checked:
    """What pages showed, against what the library writes to the same text at the same dose."""

    def __init__(self) -> None:
        run = open_run(EXAMPLE)
        self.subject, self.doses = views.subject_of(run), views.dose_steps(run)
        self.lock, self.seen, self.wrong, self.failed = threading.Lock(), 0, list[str](), list[str]()
        self.known: dict[tuple[str, float], list[str]] = {}

    def replies(self, text: str, place: int) -> list[str]:
        with self.lock:
            key = text, self.doses[place]
            if key not in self.known:
                rows = views.sample(self.subject, *key, 0)
                self.known[key] = [views.text_block(reply) for reply in rows["text"].to_list()]
            return self.known[key]

    def look(self, shown: str, text: str, place: int) -> None:
        """shown: the page's HTML, read once."""
        missing = [block for block in self.replies(text, place) if html.unescape(block) not in shown]
        with self.lock:
            self.seen += 1
            self.wrong += [f"{text} at {self.doses[place]:g}"] * bool(missing)


def open_pages(url: str, pages: int, at_once: int, checked: Checked, places: list[int], note: object) -> None:
    """So many pages, opened, read and closed again."""
    todo: queue.Queue[int] = queue.Queue()
    for number in range(pages):
        todo.put(number)

    def work() -> None:
        while True:
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            text, place = random.choice(TEXTS), random.choice(places)
            try:
                with Viewer(url, own=text, c=f"{checked.doses[place]:g}") as viewer:
                    viewer.shows("tail perplexity", 300)
                    viewer.settle(300)
                    checked.look(viewer.text(), text, place)
                    checked.failed += viewer.errors
            except (AssertionError, OSError) as error:
                checked.failed.append(repr(error)[:300])
            note(number)  # type: ignore[operator]

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def stay(url: str, minutes: float, viewers: int, checked: Checked, places: list[int]) -> int:
    """Viewers that move the dose again and again while a training runs; how many moves."""
    end, moves = time.monotonic() + 60 * minutes, itertools.count()

    def work(number: int) -> None:
        text = TEXTS[number % len(TEXTS)]
        try:
            with Viewer(url, own=text, beta="0.03") as viewer:
                viewer.settle(300)
                names = viewer.controls()
                train = next((name for label, name in names.items() if label.startswith("Train at")), None)
                if number == 0 and train:
                    viewer.send(train, 1)
                while time.monotonic() < end:
                    place = random.choice(places)
                    viewer.outputs = {k: v for k, v in viewer.outputs.items() if "tail perplexity" not in v}
                    viewer.send(names["coefficient c"], place)
                    viewer.shows(f"c = +{checked.doses[place]:.3g}", 300)
                    checked.look(viewer.text(), text, place)
                    next(moves)
                checked.failed += viewer.errors
        except (AssertionError, OSError) as error:
            checked.failed.append(repr(error)[:300])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(viewers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return next(moves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--ttl", type=int, default=120, help="seconds that the server keeps a page that was closed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    log, checked = folder / "log", Checked()
    places = [place for place, dose in enumerate(checked.doses) if dose in (0.5, 1.0, 1.5, 2.0)]
    options = ["--session-ttl", str(args.ttl)]
    with serving(["--model", "mini", "--out", str(folder / "out")], log=log, options=options, cwd=folder) as url:
        server = server_of(url)
        mb = lambda: server.memory_info().rss / 1e6  # noqa: E731
        began, rss = time.monotonic(), mb()
        print(f"server ready: {rss:.0f} MB", flush=True)

        def note(number: int) -> None:
            if number % 10 == 9:
                print(f"page {number + 1}: {mb():.0f} MB, {time.monotonic() - began:.0f} s", flush=True)

        open_pages(url, min(10, args.pages), args.at_once, checked, places, note)
        time.sleep(args.ttl + 5)
        first = mb()
        print(f"after ten pages, all forgotten: {first:.0f} MB, {server.num_threads()} threads", flush=True)
        open_pages(url, max(0, args.pages - 10), args.at_once, checked, places, lambda n: note(n + 10))
        most = mb()
        time.sleep(args.ttl + 5)
        print(f"after {args.pages} pages, all forgotten: {mb():.0f} MB ({mb() - first:+.0f}), before that {most:.0f}, "
              f"{server.num_threads()} threads, {checked.seen} pages read", flush=True)  # fmt: skip
        moved = stay(url, args.minutes, args.viewers, checked, places) if args.minutes else 0
        print(f"{args.viewers} viewers, {args.minutes:g} min with a training: {moved} moves, {mb():.0f} MB", flush=True)
    printed = log.read_text()
    print(f"{checked.seen} samples compared, {len(checked.wrong)} wrong {checked.wrong[:5]}, "
          f"{len(checked.failed)} pages failed {checked.failed[:5]}, "
          f"in the log: {[word for word in FAILED if word in printed]}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
