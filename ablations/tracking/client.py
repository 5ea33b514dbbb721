"""The W&B client as this project uses it: whether to go online, and errors in one line."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from ablations.config.schema import SystemConfig
from ablations.errors import ProjectNotFoundError, TrackerError
from ablations.machine import env_vars
from ablations.text.escape import redact_credentials

# Messages of the client when the server does not answer, answers too late, or with HTTP 5xx.
_UNREACHABLE = re.compile(
    r"giving up after|timed out|did not respond in time|deadline exceeded|connection refused"
    r"|no such host|HTTP 5\d\d|connection reset|EOF",
    flags=re.IGNORECASE,
)

# Seconds that a run waits for W&B at its start and at its end; weights may take longer to upload.
INIT_SECONDS, FINISH_SECONDS, WEIGHTS_SECONDS = 30, 30, 600
EXIT_SECONDS = 20  # that the exit of an interrupted process may take
HOME_VARIABLES = ["XDG_CACHE_HOME", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"]  # the client writes there
_LOGGERS = {"ablations": "INFO", "py.warnings": "WARNING"}  # loggers shown in W&B's log of a run


MODES = ["online", "offline", "disabled"]
_OLD_MODES = {"dryrun": "offline", "run": "online"}  # W&B's earlier names
# Set by `wandb agent` for the run that the process trains.
AGENT_VARIABLES = ["WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_SERVICE"]
# All variables that give a run its identity. Batch systems and shells export some of them, but a
# study has many runs, each with its own id, name, group and start time.
_IDENTITY = (
    "RESUME RESUME_FROM FORK_FROM NAME RUN_NAME RUN_GROUP JOB_TYPE RUN_JOB_TYPE TAGS RUN_TAGS "
    "CONFIG_PATHS LAUNCH LAUNCH_CONFIG_PATH"
)
_INTERNAL = (
    "FILES_DIR LABEL PRIMARY RUNQUEUE_ITEM_ID START_TIME SYNC_DIR_SUFFIX UPDATE_FINISH_STATE"
)
IDENTITY_VARIABLES = AGENT_VARIABLES + [f"WANDB_{name}" for name in _IDENTITY.split()]
IDENTITY_VARIABLES += [f"WANDB_{mark}{name}" for mark in ("_", "X_") for name in _INTERNAL.split()]


def agent_run_id() -> str | None:
    """The id of the run that `wandb agent` started this process for."""
    return env_vars.get("WANDB_RUN_ID") if env_vars.get("WANDB_SWEEP_ID") else None


def hidden_variables() -> dict[str, None]:
    """The variables to hide from the client: identities that are not meant for this run."""
    return dict.fromkeys(
        name for name in IDENTITY_VARIABLES if not (agent_run_id() and name in AGENT_VARIABLES)
    )


def user_tags() -> list[str]:
    """The tags for all runs, from WANDB_TAGS (separated by commas)."""
    named = (tag.strip() for tag in (env_vars.get("WANDB_TAGS") or "").split(","))
    return [tag[:64] for tag in named if tag]  # W&B takes 64 letters


def mode() -> str:
    """online, offline or disabled: WANDB_MODE, or else online if there is an API key.

    Raises:
        TrackerError: The mode is unknown, or it is online and there is no API key.
    """
    asked = env_vars.get("WANDB_MODE") or ("online" if agent_run_id() else None)
    asked = _OLD_MODES.get(asked or "", asked)
    if asked is not None and asked not in MODES:
        raise TrackerError(f"WANDB_MODE {asked!r} is none of {', '.join(MODES)}")
    if asked in ("offline", "disabled"):
        return asked
    if asked is None and not _key_may_exist():
        return "offline"  # saves the second that importing the client takes
    import wandb

    with_account = logged_in()
    if asked is None:
        chosen = str(wandb.setup().settings.mode)  # `wandb offline` sets it for a folder
        return chosen if chosen != "online" or with_account else "offline"
    if not with_account:
        raise TrackerError(
            "W&B online needs an API key: `wandb login`, or set WANDB_API_KEY, or continue with "
            "WANDB_MODE=offline"
        )
    return "online"


def _key_may_exist() -> bool:
    """Whether there is a variable or a file that the client could read an API key from."""
    netrc = [env_vars.get("NETRC"), "~/.netrc", "~/_netrc"]
    return bool(
        env_vars.get("WANDB_API_KEY")
        or env_vars.get("WANDB_IDENTITY_TOKEN_FILE")
        or any(os.path.isfile(os.path.expanduser(path)) for path in netrc if path)
    )


def logged_in() -> bool:
    """Whether the client has an API key; never asks for one.

    Raises:
        TrackerError: The key is malformed.
    """
    import wandb

    _ensure_home()
    with client_errors():
        with env_vars.set_environ(hidden_variables()):
            wandb.setup(settings=wandb.Settings(silent=True))  # it prints no messages
        return bool(wandb.login(prompt=False, verify=False))


def _ensure_home() -> None:
    """Give the client folders of its own if the user has no writable home.

    Without one it prints a long message and keeps a cache in the working directory.
    """
    home = os.path.expanduser("~")
    if os.access(home, os.W_OK | os.X_OK):
        os.environ.setdefault("HOME", home)
    elif not all(map(env_vars.get, HOME_VARIABLES)):
        scratch = tempfile.mkdtemp(prefix="ablations-wandb-")
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        for name in HOME_VARIABLES:
            os.environ[name] = env_vars.get(name) or scratch


@contextlib.contextmanager
def client_errors(read: str = "") -> Iterator[None]:
    """Turn errors of the client, of whatever class, into a TrackerError of one line.

    Args:
        read: The project or sweep that the block reads.

    Raises:
        ProjectNotFoundError: W&B does not have it.
    """
    try:
        yield
    except Exception as error:
        if read and "Could not find" in str(error):
            raise ProjectNotFoundError(
                f"W&B has no {read}, or this account may not see it"
            ) from error
        raise TrackerError(describe_error(error)) from error


def api() -> Any:
    """A new ``wandb.Api``: one that was used before may answer from its cache.

    Raises:
        TrackerError: There is no API key, or the server does not answer as W&B does.
    """
    import wandb

    if not logged_in():
        raise TrackerError("W&B needs an API key: `wandb login`, or set WANDB_API_KEY")
    with client_errors():
        return wandb.Api(timeout=20)


def init(mode: str, finish_seconds: float = FINISH_SECONDS, **options: Any) -> Any:
    """``wandb.init`` that prints nothing and waits for a limited time.

    Args:
        mode: online, offline or disabled.
        finish_seconds: How long ``finish`` waits for W&B before it raises TimeoutError.
        options: The options of ``wandb.init``.

    Raises:
        TrackerError: W&B refuses or does not answer (see ``is_unreachable``).
    """
    import wandb

    settings: dict[str, Any] = {"init_timeout": INIT_SECONDS, "finish_timeout": finish_seconds}
    for name in [name for name in settings if env_vars.get(f"WANDB_{name.upper()}")]:
        del settings[name]
    if not agent_run_id() and not options.get("id"):
        # The client may remember the id of an earlier run of this process.
        options["id"] = secrets.token_hex(4)
    _ensure_home()
    try:
        with env_vars.set_environ(hidden_variables()), _utf8_arguments():
            return wandb.init(
                mode=mode,  # type: ignore[arg-type]
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    capture_loggers=_LOGGERS,
                    disable_git=True,  # the record has the commit; a diff may hold secrets
                    x_save_requirements=False,  # the record has the versions that matter
                    finish_timeout_raises=True,
                    sagemaker_disable=True,  # it gives all runs of a job the same id
                    **settings,
                ),
                **options,
            )
    except wandb.Error as error:
        raise TrackerError(describe_error(error)) from error


def limit_exit(code: int) -> None:
    """End this process with ``code`` where its exit takes longer than EXIT_SECONDS.

    At exit the client waits for its service, in rare cases for ten minutes: if the service writes
    to a connection that the client has just closed. By then the run is in W&B.
    """

    def watch() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        timer = threading.Timer(EXIT_SECONDS, os._exit, [code])
        timer.daemon = True
        timer.start()

    atexit.register(watch)  # runs before the client's own handler, which was registered earlier


@contextlib.contextmanager
def _utf8_arguments() -> Iterator[None]:
    """Escape arguments that are not UTF-8, such as a folder's name: W&B stores the command line."""
    given = sys.argv
    sys.argv = [word.encode("utf-8", "backslashreplace").decode() for word in given]
    try:
        yield
    finally:
        sys.argv = given


def split_path(path: str) -> tuple[str | None, str]:
    """``entity/project`` or ``project``.

    Raises:
        TrackerError: Anything else.
    """
    parts = path.split("/")
    if len(parts) > 2 or not all(parts):
        raise TrackerError(f"{path!r} is no W&B project: give entity/project")
    return (parts[0] if len(parts) == 2 else None), parts[-1]


def entity_and_project(system: SystemConfig) -> tuple[str | None, str]:
    """Entity (None: the account's own) and project of new runs.

    The project is the config's, if it names one, or else WANDB_PROJECT.
    """
    default = SystemConfig().project
    project = system.project
    if project == default:
        project = env_vars.get("WANDB_PROJECT") or default
    return env_vars.get("WANDB_ENTITY"), project


def wandb_folder(results: Any) -> str:
    """The folder for the client's files: WANDB_DIR, or else the results folder."""
    return str(env_vars.expand_path(env_vars.get("WANDB_DIR") or results))


def is_unreachable(error: BaseException) -> bool:
    """Whether the network or the server caused an error, so that a retry may succeed."""
    return _UNREACHABLE.search(str(error)) is not None


def describe_error(error: BaseException) -> str:
    """An error of the client in one line, with what to do and without the API key."""
    import wandb

    message = redact(" ".join(str(error).split()))
    server = redact_credentials(env_vars.get("WANDB_BASE_URL") or "its server")
    if "invalid character" in message or "Expecting value" in message:
        return (
            f"W&B: {server} does not answer as W&B does ({message}): check WANDB_BASE_URL and the "
            "proxy in between"
        )
    if "not logged in" in message or "HTTP 401" in message or "API key" in message:
        return f"W&B refuses the API key ({message}): `wandb login --relogin`, or set WANDB_API_KEY"
    if is_unreachable(error):
        return f"W&B: {server} cannot be reached ({message.split(' while retrying')[0]})"
    if not message or not isinstance(error, (wandb.Error, ValueError)):
        message = f"{type(error).__name__}: {message}"
    return f"W&B: {message}"


def redact(text: str) -> str:
    """A text without the API key, from whichever source, and without passwords."""
    for key in _api_keys():
        text = text.replace(key, "***")
    return redact_credentials(text)


def _api_keys() -> list[str]:
    from requests.utils import get_netrc_auth

    keys = [os.environ.get("WANDB_API_KEY", "")]
    if stored := get_netrc_auth(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")):
        keys.append(stored[1])
    return [key for key in keys if len(key) > 4]


def sweep_parameters() -> dict[str, Any]:
    """The parameters set by the agent, which the client locks; empty without an agent.

    Raises:
        TrackerError: The agent's parameter file is not YAML.
    """
    import yaml

    path = env_vars.get("WANDB_SWEEP_PARAM_PATH")
    if not env_vars.get("WANDB_SWEEP_ID") or not path or not os.path.isfile(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            tree = yaml.safe_load(file) or {}
        return {
            name: item["value"]
            for name, item in tree.items()
            if isinstance(item, dict) and "value" in item
        }
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        message = " ".join(str(error).split())[:200]
        raise TrackerError(
            f"{path} (WANDB_SWEEP_PARAM_PATH) is not a sweep's YAML: {message}"
        ) from error
