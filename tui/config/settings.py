"""What a person prefers: one TOML file, read with messages and never in the way of a run.

Whatever is wrong with the file is said with its line and the nearest known name, and the default stands in. Nothing
secret has a setting here, and a value that belongs to no setting, or where somebody may have put a secret, is never
repeated in a message.
"""

from __future__ import annotations

import getpass
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.budget.gpus import DEFAULT_PRICES, PRICED_ON, prices_of

Value = str | float | bool | None
DEFAULT, FILE, ENVIRONMENT, COMMAND_LINE = "default", "file", "environment", "command line"
FIRST_THEMES = ("cai-dark", "cai-light", "cai-safe")  # tui.app.themes has them; Textual's own are allowed as well
REVIEWERS = ("person", "model", "chain", "policy")
EFFORTS = ("none", "minimal", "low", "medium", "high")
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the file. `read` takes what TOML, the environment or a person gave, or raises ValueError.

    The error's text completes "wanted ...". `choices` are the values that can be stepped through. A wrong value that is
    not `repeated` may hold a secret, and no message has it.
    """

    name: str
    about: str
    default: Value
    read: Callable[[object], Value]
    choices: tuple[Value, ...] = ()
    environment: str = ""
    option: str = ""
    repeated: bool = True


def _one_of(*choices: str) -> Callable[[object], Value]:
    def read(given: object) -> Value:
        if given in choices:
            return str(given)
        near = nearest(str(given), choices) if isinstance(given, str) else ""
        raise ValueError(f"one of {', '.join(choices)}{near}")

    return read


def _text(given: object) -> Value:
    if isinstance(given, str) and given.isprintable() and given == given.strip():
        return given
    raise ValueError("a line of text")


def _named(what: str) -> Callable[[object], Value]:
    def read(given: object) -> Value:
        if isinstance(given, str) and given and _text(given):
            return given
        raise ValueError(what)

    return read


_theme, _model = _named("the name of a theme"), _named("the name of a model")


def _path(given: object) -> Value:
    if isinstance(given, str) and "\x00" not in given and given.isprintable():
        return given
    raise ValueError("a path")


def _server(given: object) -> Value:
    """An address as the `openai` package takes it. A name or a password in it would end up in logs."""
    if given == "":
        return ""
    try:
        found = urlsplit(given) if isinstance(given, str) and given.isprintable() else None
        if found and found.scheme in ("http", "https") and found.hostname and not (found.username or found.password):
            return str(given)
    except ValueError:
        pass
    raise ValueError("http or https and a host, such as http://127.0.0.1:8000/v1, without a name or a password")


def _key_file(given: object) -> Value:
    if isinstance(given, str) and not re.search(r"(?:^|/)(?:sk-|hf_|eyJ)", given) and _path(given) is not None:
        return given
    raise ValueError("the path of a file that holds the key; the key itself has no setting")


def _number(given: object) -> float:
    """What is a number or reads as one, else NaN."""
    try:
        return float(given) if isinstance(given, (int, float, str)) and not isinstance(given, bool) else math.nan
    except ValueError:
        return math.nan


def _wait(given: object) -> Value:
    if 1 <= (seconds := _number(given)) <= 3600:
        return seconds
    raise ValueError("a number of seconds from 1 to 3600")


def _price(given: object) -> Value:
    if given == "":
        return None
    if 0 <= (price := _number(given)) <= 10_000:
        return price
    raise ValueError("a number of dollars an hour, such as 2.49")


def _gpu_prices(given: object) -> Value:
    if not isinstance(given, str) or not given.isprintable():
        raise ValueError("a line of text")
    prices_of(given)
    return given.strip()


def _switch(given: object) -> Value:
    if isinstance(given, bool):
        return given
    known = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
    if isinstance(given, str) and given.lower() in known:
        return known[given.lower()]
    raise ValueError("true or false")


SETTINGS = (
    Setting("theme", "Colours; any theme of Textual's works too", FIRST_THEMES[0], _theme, FIRST_THEMES, "CAI_THEME"),
    Setting("model", "Base model of a new run; empty is the embedded one", "", _text, (), "CAI_MODEL", "--model"),
    Setting("store", "The DuckDB file; empty is cai.duckdb in this folder", "", _path, (), "CAI_STORE", "--store"),
    Setting("price_per_gpu_hour", "US dollars, for what a run costs; empty where it is unknown", None, _price, (),
            "CAI_PRICE_PER_GPU_HOUR"),
    Setting("gpu_prices", f"US dollars an hour by kind of GPU, for cai plan; those of {PRICED_ON} are to be checked",
            DEFAULT_PRICES, _gpu_prices, (), "CAI_GPU_PRICES"),
    Setting("price_per_gib_month", "US dollars, for the volume that the store lies on; empty where it is unknown", None,
            _price, (), "CAI_PRICE_PER_GIB_MONTH"),
    Setting("offer_tmux", "Over SSH, move into tmux so that a lost connection costs nothing", "ask",
            _one_of("ask", "always", "never"), ("ask", "always", "never")),
    Setting("animation", "auto is none over SSH", "auto", _one_of("auto", "full", "basic", "none"),
            ("auto", "full", "basic", "none")),
    Setting("bell", "Ring when a run waits for a person, or ended while nobody was at the keys", True, _switch,
            (True, False)),
    Setting("tell_command", "Command that is run then, too, with {run} and {outcome} in it; empty is none", "", _text,
            (), "CAI_TELL_COMMAND", repeated=False),
    Setting("tell_address_file", "File of mode 0600 with an address to post that to: ntfy, a Slack webhook", "",
            _path, (), "CAI_TELL_ADDRESS_FILE", repeated=False),
    Setting("reader", "Name that labels carry which you give; empty is your login name", "", _text, (), "CAI_READER"),
    Setting("reviewer", "Who answers reviews; chain is the model, then a person where it gave no answer or said No",
            REVIEWERS[0], _one_of(*REVIEWERS), REVIEWERS, "CAI_REVIEWER"),
    Setting("reviewer_model", "The model that is asked for reviews", "gpt-5", _model, (), "CAI_REVIEWER_MODEL"),
    Setting("reviewer_effort", "How long the reviewer's model may think; none is not to say so", "high",
            _one_of(*EFFORTS), EFFORTS, "CAI_REVIEWER_EFFORT"),
    Setting("reviewer_url", "Server of the reviewer's model, up to /v1; empty is OpenAI's", "", _server, (),
            "CAI_REVIEWER_URL", repeated=False),
    Setting("reviewer_api", "What that server speaks: the Responses API, or chat completions as most others do",
            "responses", _one_of("responses", "chat"), ("responses", "chat"), "CAI_REVIEWER_API"),
    Setting("reviewer_timeout_s", "Seconds for one try to get a review", 600.0, _wait, (), "CAI_REVIEWER_TIMEOUT_S"),
    Setting("reviewer_key_file", "File of mode 0600 with the server's key, where $OPENAI_API_KEY is not set", "",
            _key_file, (), "CAI_REVIEWER_KEY_FILE", repeated=False),
    Setting("reviewer_confirms", "With the chain, ask a person even where the model said Yes", False, _switch,
            (False, True), "CAI_REVIEWER_CONFIRMS"),
)  # fmt: skip
KEYMAP = "keymap"
_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Config:
    """What is in force, where each value comes from (`origins`), and what was wrong (`problems`)."""

    path: Path
    theme: str = FIRST_THEMES[0]
    model: str = ""
    store: str = ""
    reader: str = ""
    price_per_gpu_hour: float | None = None
    gpu_prices: str = DEFAULT_PRICES
    price_per_gib_month: float | None = None
    offer_tmux: str = "ask"
    animation: str = "auto"
    bell: bool = True
    tell_command: str = ""
    tell_address_file: str = ""
    reviewer: str = REVIEWERS[0]
    reviewer_model: str = "gpt-5"
    reviewer_effort: str = "high"
    reviewer_url: str = ""
    reviewer_api: str = "responses"
    reviewer_timeout_s: float = 600.0
    reviewer_key_file: str = ""
    reviewer_confirms: bool = False
    keymap: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def reads_as(self) -> str:
        """The name of the person who labels, which is the login name where none is set."""
        return self.reader or login_name()

    def value(self, name: str) -> Value:
        found: Value = getattr(self, name)
        return found

    def origin(self, name: str) -> str:
        return self.origins.get(name, DEFAULT)


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """$CAI_CONFIG, else config.toml in the user's configuration folder."""
    environ = os.environ if environ is None else environ
    if named := environ.get("CAI_CONFIG"):
        return Path(named).expanduser().absolute()
    from platformdirs import user_config_path

    return user_config_path("cai") / "config.toml"


def load(given: Mapping[str, Value | None] | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """What is in force: `given` on the command line, else the environment, else the file, else the default."""
    environ = os.environ if environ is None else environ
    path = config_path(environ)
    told, keymap, problems = _read_file(path)
    origins = dict.fromkeys(told, FILE)
    for setting in SETTINGS:
        if setting.environment and (text := environ.get(setting.environment)):
            try:
                told[setting.name] = setting.read(text)
                origins[setting.name] = ENVIRONMENT
            except ValueError as error:
                told_as = _quoted(text) if setting.repeated else "wrong"
                problems.append(f"${setting.environment} is {told_as}, wanted {error}; it is left out")
    for name, value in (given or {}).items():
        if value is not None:
            told[name], origins[name] = value, COMMAND_LINE
    values: dict[str, Any] = {**told}
    return Config(path, keymap=keymap, origins=origins, problems=tuple(problems), **values)


def login_name() -> str:
    """Who is logged in; "person" where the machine has no name for them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "person"


def check(name: str, given: object) -> Value:
    """The value of a setting as it will be used. Raises ValueError, whose text says what is wanted."""
    return _BY_NAME[name].read(given)


def nearest(name: str, known: Iterable[str]) -> str:
    """ "; the nearest is 'x'", or nothing where none is near."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; the nearest is {found[0]!r}" if found else ""


def _read_file(path: Path) -> tuple[dict[str, Value], dict[str, str], list[str]]:
    """Settings, keymap and what is wrong with either; a file that is not there is no mistake."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return {}, {}, []
    except OSError as error:
        return {}, {}, [f"{path} cannot be read ({error.strerror or error}); the defaults are used"]
    except UnicodeDecodeError:
        return {}, {}, [f"{path} is not text in UTF-8; the defaults are used"]
    import tomllib

    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return {}, {}, [f"{path} is not TOML: {_one_line(str(error))}; the defaults are used"]
    told: dict[str, Value] = {}
    keymap: dict[str, str] = {}
    problems: list[str] = []
    for name, value in found.items():
        at = f"{path}, line {line_of(text, name)}"
        if name == KEYMAP:
            problems += _read_keymap(path, text, value, keymap)
        elif (setting := _BY_NAME.get(name)) is None:
            near = nearest(name, [*_BY_NAME, KEYMAP])
            problems.append(f"{at}: there is no setting {_quoted(name)}{near}; it is left out")
        else:
            try:
                told[name] = setting.read(value)
            except ValueError as error:
                told_as, stands = _quoted(value) if setting.repeated else "wrong", shown(setting.default)
                problems.append(f"{at}: {name} is {told_as}, wanted {error}; the default, {stands}, is used")
    return told, keymap, problems


def _read_keymap(path: Path, text: str, value: object, keymap: dict[str, str]) -> list[str]:
    """Fill `keymap` with what is well formed; which bindings there are is known to the screen only."""
    if not isinstance(value, dict):
        at = f"{path}, line {line_of(text, KEYMAP)}"
        return [f'{at}: keymap is a table: write [keymap] and under it "run.pause" = "p"; it is left out']
    problems = []
    for name, keys in _flat(value):
        at = f"{path}, line {line_of(text, name, KEYMAP)}"
        if isinstance(keys, str) and keys.strip():
            keymap[name] = keys
        else:
            problems.append(f'{at}: keymap {name} wants keys as text, such as "p" or "ctrl+p,f5"; it is left out')
    return problems


def _flat(table: Mapping[str, Any], before: str = "") -> list[tuple[str, object]]:
    """(dotted name, value): a binding's id has dots, which TOML reads as tables where it is not quoted."""
    found: list[tuple[str, object]] = []
    for name, value in table.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, dict) else [(before + name, value)]
    return found


def line_of(text: str, name: str, table: str = "") -> int:
    """The line, from 1, where a key is set; 1 where it is written in a way that is not looked for."""
    bare = re.escape(name)
    wanted = re.compile(rf"""\s*(?:"{bare}"|'{bare}'|{bare})\s*=""")
    header = re.compile(rf"""\s*\[\s*(?:"{bare}"|'{bare}'|{bare})\s*[].]""")
    within = ""
    for number, line in enumerate(text.splitlines(), 1):
        if opened := re.match(r"\s*\[+\s*([^]]*?)\s*]", line):
            if not table and header.match(line):
                return number
            within = opened[1].strip("\"'")
        elif within == table and wanted.match(line):
            return number
    return 1


def shown(value: Value) -> str:
    """A value as a person reads it."""
    if value is None or value == "":
        return "(empty)"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
