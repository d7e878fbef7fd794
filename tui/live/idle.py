"""Why a GPU that is paid for stands idle while a model is asked or trained: the phase, and the setting that helps.

Only what events tell is looked at, so that nothing is guessed: where no cause is seen, nothing is proposed.
"""

from __future__ import annotations

from engine.core.figures import cents
from engine.core.nvidia import GpuLoad
from store.names import TRAINED
from tui.live.state import RunState
from tui.words.wording import phase_title

BOUND = 0.5  # the mean share busy over a minute below which something is said
UNUSED = 0.1  # a GPU that is less busy has nothing to do
WAITED_S = 60.0  # from which a wait is told with what it costs
_WAVED = ("instruction_judgements", "responses", "response_judgements")
_PROCESSES = (8, 4, 2)  # that a shipped configuration of accelerate starts


def waited(state: RunState, price_per_hour: float | None) -> str:
    """How long a person has been waited for and what that cost; nothing below a minute."""
    seconds = state.gauges.waited_s
    if seconds is None or seconds < WAITED_S or not state.active:
        return ""
    minutes = int(seconds // 60)
    long = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    return f"since {long}" + ("" if price_per_hour is None else f": {cents(price_per_hour * seconds / 3600)}")


def advice(state: RunState) -> str:
    """What an idle GPU waits for; nothing where it is busy, was not measured for a minute, or no setting helps."""
    busy = state.gauges.busy
    if busy is None or busy >= BOUND or state.state != "running":
        return ""
    phase, gpus = state.gauges.starved_in, state.gauges.gpus
    many = "GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"
    why = _why(state, phase, gpus)
    return f"{many} {100 * busy:.0f} % busy in {phase_title(phase)}: {why}" if why else ""


def _why(state: RunState, phase: str, gpus: tuple[GpuLoad, ...]) -> str:
    gauges = state.gauges
    unused = sum(one.busy is not None and one.busy < UNUSED for one in gpus)
    some_unused = 0 < unused < len(gpus)
    if phase in TRAINED:
        fits = next((size for size in _PROCESSES if size <= len(gpus)), 1)
        return f"{unused} unused: --accelerate ddp_{fits}" if some_unused else ""
    if state.model.startswith(("http://", "https://")):
        return "servers answer, not this pod"
    at_once, left = gauges.at_once, _left(state, phase)
    if at_once is not None and phase == "instructions" and gauges.round is not None and gauges.round < at_once:
        return f"instructions.round {gauges.round}, {at_once} fit"
    if at_once is not None and left is not None and left < at_once:
        return f"{left} left of a wave: larger --pilot"
    if at_once is not None and gauges.asked:
        return f"{at_once} at once by your --batch-size"
    return f"{unused} unused: CAI_PARALLEL={len(gpus)}x1" if some_unused else ""


def _left(state: RunState, phase: str) -> int | None:
    """What a phase has yet to do of its wave; None where it has none, or is not at work.

    Of phases that are side by side it is the most that one has left, since what one has done the next has yet to do.
    """
    lefts = []
    for name in phase.split("+"):
        known = state.phases.get(name) if name in _WAVED else None
        if known is None or known.state != "running":
            return None
        lefts.append(known.planned - known.done)
    return max(lefts)
