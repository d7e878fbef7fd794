"""What happened in a run as lines of text: how each kind of event reads."""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.errors import LOCKED
from engine.core.figures import count, format_seconds, mebibytes
from store.outcomes import FAILED, PASSED
from tui.words.wording import STATES, names, phase_title


def gate_told(gate: str, result: str, told: str, failed: object) -> tuple[str, str]:
    """Level and line of a gate that was decided; `told` says how many checks passed, older events say nothing of it."""
    if result == FAILED:
        return "warning", f"Gate {gate} FAILED: {names(failed)}" + (f"; {told}" if told else "")
    level = "info" if result == PASSED else "warning"
    return level, f"Gate {gate} {result}" + (f": {told}" if told else "")


def describe(kind: str, payload: Mapping[str, object]) -> tuple[str, str]:
    """Level (info, warning, error) and one line of text for an event. Figures that stream by read as ("", "")."""
    get = payload.get
    match kind:
        case "RunStarted":
            how = "resumed" if get("resumed") else "started"
            return "info", f"Run {how}: spec {get('spec')}, model {get('model')}, seed {get('seed')}"
        case "ModelLoading":
            return "info", f"Loading model {get('model')}"
        case "ModelLoaded":
            return "info", f"Model loaded in {format_seconds(get('elapsed_s'))} · {str(get('fingerprint'))[:12]}"
        case "PhaseStarted":
            return "info", f"{phase_title(str(get('phase')))} started, {count(get('planned'))} planned"
        case "PhaseFinished":
            accepted = "" if get("accepted") is None else f", {count(get('accepted'))} accepted"
            return "info", f"{phase_title(str(get('phase')))} finished: {count(get('done'))} done{accepted}"
        case "GuardChecked":
            if get("passed"):
                return "info", "Contamination guard passed"
            return "error", f"Contamination guard FAILED: {names(get('failed_checks'))}"
        case "CriticAudited":
            auc = "AUC undefined" if get("auc") is None else f"AUC {get('auc'):.2f}"
            power = "may filter" if get("may_filter") else "may not filter: margins stay unaudited"
            return "info", f"Critic {get('critic')} of {get('subject_kind')}s, {get('part')} items: {auc}, {power}"
        case "GateDecided":
            return gate_told(str(get("gate")), str(get("result") or ("passed" if get("passed") else "failed")),
                             str(get("told") or ""), get("failed_checks"))  # fmt: skip
        case "QuestionAsked":
            return "warning", f"Question: {get('question')}"
        case "QuestionAnswered":
            return "info", f"Answered: {get('answer')}{_through(payload)}"
        case "Noted":
            return str(get("level") or "info"), str(get("text"))
        case "RunPaused":
            return "info", f"Paused{_through(payload)}"
        case "RunResumed":
            return "info", f"Resumed{_through(payload)}"
        case "StopAsked":  # whoever asks at the run's own screen sees that it stops
            return "info", f"Stopping at the next commit{_through(payload)}" if get("through") else ""
        case "RunFinished":
            state, reason = str(get("state")), str(get("reason"))
            if reason.startswith(LOCKED):
                return "warning", f"{reason[0].upper()}{reason[1:]}"
            level = "info" if state in ("done", "stopped") else "error" if state == "failed" else "warning"
            word = STATES.get(state, ("", state, ""))[1]
            return level, f"Run {word}: {reason}"
        case "TrainingStarted" | "TrainingFinished" | "CheckpointSaved":
            return _describe_training(kind, payload)
        case "PhaseProgressed" | "ThroughputMeasured" | "GpusMeasured" | "MarginMeasured" | "ForecastUpdated":
            return "", ""
        case "TrainingStepped":
            return "", ""
    return "info", kind


def _through(payload: Mapping[str, object]) -> str:
    """Who asked for it, where that was not the screen of the run's own process."""
    return f" ({payload['through']})" if payload.get("through") else ""


def _describe_training(kind: str, payload: Mapping[str, object]) -> tuple[str, str]:
    get = payload.get
    if kind == "CheckpointSaved":
        n_bytes = get("n_bytes")
        size = f" ({mebibytes(n_bytes)})" if isinstance(n_bytes, int) else ""
        return "info", f"Checkpoint of step {count(get('step'))} saved{size}"
    name = f"{str(get('method')).upper()} training {get('training_id')}"
    if kind == "TrainingStarted":
        where = f"on {get('device')}, {count(get('examples'))} examples"
        done, planned = count(get("done_steps")), count(get("planned_steps"))
        how = f"goes on from step {done} of {planned}" if get("done_steps") else f"begins: {planned} steps"
        return "info", f"{name} {how} {where}"
    state, reason = str(get("state")), str(get("reason") or "")
    level = {"done": "info", "stopped": "info"}.get(state, "error")
    return level, f"{name} {STATES.get(state, ('', state, ''))[1]}{f': {reason}' if reason else ''}"
