"""`cai mcp`: the store's runs for an agent."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tui.cli.frame import store_path, with_log
from tui.cli.parsing import Commands
from tui.host.terminal import Terminal


def add(commands: Commands) -> None:
    commands.add("mcp", serve, "serve the store's runs to an agent, over stdin and stdout", with_json=False)


def serve(args: argparse.Namespace, terminal: Terminal) -> int:
    """Serve until stdin ends. Stdout carries the protocol alone: whatever else is printed goes to the store's log.

    The store need not be there yet; it is opened for each call and closed again.
    """
    from tui.cli.mcp_server import server  # with the library of the protocol, which takes a second

    store = store_path(args)
    with_log(terminal, store, "cai mcp")
    made = server(store, args.config, Path.cwd())
    # The server takes descriptor 1 for itself, and what is written there meanwhile goes where 2 leads: to the log.
    os.dup2(terminal.stdout.fileno(), 1)
    made.run("stdio")
    return 0
