"""The journal page: one file, no script, no network, readable on screen (light and dark) and on paper."""

from __future__ import annotations

from ws.reporting.journal.figures import Pictures
from ws.reporting.journal.html import Html, join, tag
from ws.reporting.journal.run_header import command_of, day_of, question_of
from ws.reporting.journal.sections import diary, filtered, headline, identity, loop, measures, samples, tiles, verdicts
from ws.reporting.journal.style import CSS
from ws.runs.reader import Run
from ws.runs.summary import gates_of, seconds_of

__all__ = ["page_of"]

# Nothing may run or load, whatever a sample holds: the second lock behind escaping
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page_of(run: Run) -> str:
    """The whole page as HTML, from stored files alone: the same run gives the same bytes."""
    title = f"{run.axis['name']} on {run.config.model}, {day_of(run)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        Html(f"<style>{CSS}</style>"),
    )
    body = tag("body", tag("main", _top(run, title), *_rounds(run), *_end(run)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _top(run: Run, title: str) -> Html:
    state = run.status.get("state", "unknown")
    facts = [f"began {run.status['started']}", f"{seconds_of(run):.0f} s of work", state]
    facts += [f"{name} {run.env[name]}" for name in ("branch", "commit", "fingerprint") if run.env.get(name)]
    gates = gates_of(run)
    failed = [tag("p", tag("strong", f"The run {state}: "), run.status["error"])] if run.status.get("error") else []
    return join(
        [
            tag("header", tag("h1", title), tag("p", question_of(run)), tag("p", " · ".join(facts), class_="dim"),
                tag("p", tag("code", command_of(run)))),
            *failed,
            tiles(gates),
            tag("section", tag("h2", "Headline"), headline(run)),
            tag("section", tag("h2", "Verdicts"), verdicts(gates)),
        ]
    )  # fmt: skip


def _rounds(run: Run) -> list[Html]:
    pictures = Pictures()
    parts = [tag("section", tag("h2", "The rounds"), loop(run, pictures))] if run.rounds > 1 else []
    for number in range(run.rounds):
        several = f"Round {number}: " if run.rounds > 1 else ""
        parts.append(tag("section", tag("h2", f"{several}what was measured"), measures(run, number, pictures)))
        if number != run.best:  # the delivered round's stand at the top
            parts.append(_other_verdicts(run, number))
        if run.has("completions.parquet", number):
            parts.append(tag("section", tag("h2", f"{several}what was filtered"), filtered(run, number)))
    return parts


def _other_verdicts(run: Run, number: int) -> Html:
    """The verdicts of a round that is not the delivered one, folded."""
    gates = run.gates(number)
    said = "; ".join(f"{g.gate} {g.outcome} ({g.colour})" for g in gates)
    return tag("details", tag("summary", f"Verdicts of round {number}: {said}"), verdicts(gates))


def _end(run: Run) -> list[Html]:
    every = [
        join([tag("h3", f"Round {number}"), samples(run, number)] if run.rounds > 1 else [samples(run, number)])
        for number in range(run.rounds)
    ]
    return [
        tag("section", tag("h2", "What they say: same prompt, same dice"), diary(run)),
        tag("section", tag("h2", "Every stored completion"), *every),
        tag("section", tag("h2", "Identity"), identity(run)),
    ]
