"""The experiment: steer, filter, heal, judge, and round again. Each stage is stored as it finishes and found again.

    run = ws.run(ws.RunConfig(...))     # the same call resumes an unfinished run and returns a finished one

One round: direction -> dose (the search on the select set, the knee) -> unsteered, steer, random (controls, the
knee and the data's doses on the report set) -> data (completions, scored) -> heal -> healed (report) -> plain (training
without barrier or filter) -> drift -> table -> judge. Everything in a table is against the pristine base, in every
round; adapters of earlier rounds are on underneath.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ws.errors import Cancelled, UserError
from ws.experiment.context import RunContext
from ws.experiment.estimate import first_estimate
from ws.experiment.findings import Finding
from ws.experiment.identity import identity_of, load_configured, sampling_said
from ws.experiment.inputs import axis_of
from ws.experiment.instruments import instrument_of, instrument_text
from ws.experiment.preflight import before_loading, refuse
from ws.experiment.preflight_model import check_readings, with_model
from ws.experiment.progress import Listener, say
from ws.experiment.rounds import Round
from ws.experiment.workers import WorkerPool
from ws.models.adapters.adapter import Adapter
from ws.models.lm import LM
from ws.runs.config import RunConfig
from ws.runs.ledger import append_result
from ws.runs.reader import Run
from ws.runs.summary import best_round, ledger_row, summarise
from ws.runs.writer import Outdated, RunFolder, finished_folder, open_for_writing

__all__ = ["run"]


def run(
    config: RunConfig,
    on_progress: Listener | None = None,
    *,
    out: str | Path = "out",
    new: bool = False,
    lm: LM | None = None,
    cancel: threading.Event | None = None,
    workers: int = 1,
) -> Run:
    """The whole experiment in one folder under `out`/runs; the same configuration resumes or returns it.

    new: start another all the same. on_progress gets a ws.experiment.progress.Event per step. lm: a model that is
    loaded already. cancel: set it to stop between steps. workers: processes that share the stages of a round, each
    with the model in memory; the numbers are the same. A script that asks for several starts behind `if __name__ ==
    "__main__"`. UserError: what `ws.experiment.preflight` refuses, before the model is loaded where it needs none and
    before anything is written; no coherent dose, starvation, a locked or foreign folder, a full disk: what
    is finished stays.
    """
    out = Path(out)
    _check_workers(workers)
    found = before_loading(config, out, *(() if lm is None else (lm.recipe, lm.name)))
    # a finished run is returned where nothing can be written; without any run there is none to return
    refuse([one for one in found if not one.writes or not (out / "runs").is_dir()])
    with _threads(config.threads):
        lm = lm or load_configured(config)
        axis = axis_of(config, lm.recipe, lm.name)
        found += with_model(lm, axis, config, out, workers)
        _look([one for one in found if not one.writes], on_progress)
        instrument = instrument_of(lm, axis, config, out)
        check_readings(lm, axis, config, instrument)
        identity = identity_of(lm, axis, config, instrument)
        stored = None if new else finished_folder(out, config, identity)
        if stored and _as_it_would_be(RunContext(lm, axis, config, identity, stored, on_progress, cancel)):
            return Run(stored.path)
        _look([one for one in found if one.writes], on_progress)
        facts = {"sampling_said": sampling_said(lm, config), "why_dtype": lm.why_dtype}
        with (
            open_for_writing(out, config, identity, facts, new=new, say=lambda told: say(on_progress, told)) as folder,
            _closing(folder),
            _worker_pool(1 if folder.finished else workers, config, folder) as pool,
        ):
            folder.keep("axis.json", axis.to_dict())  # so that the run can be read when its file has changed
            if not folder.finished and (told := first_estimate(config, workers)):
                say(on_progress, told)
            _fill(RunContext(lm, axis, config, identity, folder, on_progress, cancel), pool, out)
    return Run(folder.path)


def _look(findings: Sequence[Finding], on_progress: Listener | None) -> None:
    """What the pre-flight found: UserError where the run is refused, a line for each doubt."""
    refuse(findings)
    for found in findings:
        if found.state == "warn":
            say(on_progress, f"{found.check}: {found.said}")


def _check_workers(workers: int) -> None:
    if workers < 1:
        raise UserError(f"workers must be 1 or more (got {workers}).")


def _as_it_would_be(context: RunContext) -> bool:
    """Whether every stage of a finished run is there as its settings would leave it now; nothing is written."""
    try:
        _play_rounds(context, None)
    except Outdated:
        return False
    return True


def _worker_pool(
    workers: int, config: RunConfig, folder: RunFolder
) -> contextlib.AbstractContextManager[WorkerPool | None]:
    """The workers of a run; nobody for one, who is this process."""
    return contextlib.nullcontext() if workers == 1 else WorkerPool(workers, config, folder.path)


def _fill(context: RunContext, pool: WorkerPool | None, out: Path) -> None:
    """Every round, and what the run says in the end."""
    if not context.lm.has_chat:
        name = context.lm.name
        say(context.listen, f"{name} has no chat template: personas are written as plain text before the prompt.")
    if told := instrument_text(context.axis.name, Run(context.folder.path).trait):
        say(context.listen, told)
    _play_rounds(context, pool)
    done = Run(context.folder.path)
    summary = summarise(done)
    context.folder.keep("summary.json", summary)
    append_result(out, ledger_row(done, summary))
    context.folder.close("finished", best_round=best_round(summary))


def _play_rounds(context: RunContext, pool: WorkerPool | None) -> None:
    """Round after round until the last, until a healed model falls under the floor, or has no dose left."""
    floor = context.config.dose.coherence
    for number in range(context.config.rounds):
        round = Round(context, number)
        try:
            adapter, coherence = play_round(round, pool)
        except UserError as error:
            if number == 0 or not round.without_dose:
                raise
            say(context.listen, f"Stopped after round {number - 1}: {error}", number)
            return
        context.history.append(adapter)
        context.keys.append(context.folder.key(f"{number}/heal"))
        if coherence < floor and number + 1 < context.config.rounds:
            said = f"Stopped after round {number}: coherence {coherence:.2f} is under {floor:.2f}."
            say(context.listen, said, number)
            return


def play_round(round: Round, pool: WorkerPool | None = None) -> tuple[Adapter, float]:
    """All stages of a round: the adapter of the leading seed and its coherence. pool: processes that share the stages.

    UserError where no dose is coherent or too little is kept; what was measured until then is judged and stored.
    """
    try:
        _play_stages(round, pool)
    except UserError:
        if f"{round.number}/dose" in round.context.folder.status["stages"]:
            round.judge()
        raise
    round.judge()
    return round.read("adapter"), round.healed_coherence()


def _play_stages(round: Round, pool: WorkerPool | None) -> None:
    """The stages up to the table: one after the other, or among the workers."""
    if pool is not None:
        pool.play(round)
        return
    for method, *arguments in round.calls().values():
        getattr(round, method)(*arguments)


@contextlib.contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    """Set the process's CPU threads for the run, and put them back."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _closing(folder: RunFolder) -> Iterator[None]:
    """Record how the run ended; the record must not hide the reason (a full disk cannot be written to)."""
    try:
        yield
    except BaseException as error:
        state = "interrupted" if isinstance(error, KeyboardInterrupt | Cancelled) else "failed"
        with contextlib.suppress(UserError, OSError):
            folder.close(state, error=f"{type(error).__name__}: {error}")
        raise
