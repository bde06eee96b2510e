"""Python with torch loaded already: what a page calls ``registry``, ``python`` or ``torchrun`` is a fork of it.

A page of twenty commands would else spend a minute on imports. The programs that are put into the ``PATH`` of a page
hand their arguments, folder, environment and open files to this process, and end as the fork ends.
"""

from __future__ import annotations

import array
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any

CLIENT = r"""#!{python} -IS
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.connect({address!r})
asked = dict(program={program!r}, arguments=sys.argv[1:], folder=os.getcwd(), environment=dict(os.environ))
server.sendmsg([b"-"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
server.sendall(json.dumps(asked).encode() + b"\n")
answers = server.makefile()
pid = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(pid, number))
sys.exit(int(answers.readline() or 1))
"""


def programs(folder: Path, address: str) -> None:
    """Write the programs of a page's ``PATH``; ``PYTHON_EXEC`` tells torchrun what the ranks are."""
    folder.mkdir(parents=True, exist_ok=True)
    for program in ("registry", "python", "torchrun"):
        path = folder / program
        path.write_text(CLIENT.format(python=sys.executable, address=address, program=program))
        path.chmod(0o755)


def serve(address: str) -> None:
    """Answer until the socket's file is gone."""
    import torch

    import registry.cli.app
    import registry.registry  # noqa: F401

    assert torch.get_num_threads() > 0
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(address)
        listening.listen(16)
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, messages, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(3 * 4))
    files = array.array("i", messages[0][2])
    asked: dict[str, Any] = json.loads(connection.makefile().readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        _become(asked)
    connection.sendall(f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
    os._exit(0)


def _become(asked: dict[str, Any]) -> None:
    """Be the program that was asked for, to its end."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    if threads := os.environ.get("OMP_NUM_THREADS"):  # which torch reads when it is imported
        import torch

        torch.set_num_threads(int(threads))
    words: list[str] = asked["arguments"]
    if words[:1] == ["-u"]:  # of torchrun
        del words[0]
    code: object = 0
    own = str(Path(__file__).parent)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", own)]
    if asked["program"] == "python" and any(Path().glob("registry.py")):
        # What hides a module that is loaded here already, only another interpreter finds.
        os.execv(sys.executable, [sys.executable, *words])
    try:
        if asked["program"] == "registry":
            from registry.cli import main

            sys.argv = ["registry", *words]
            main()
        elif asked["program"] == "torchrun":
            from torch.distributed.run import main as torchrun

            sys.argv = ["torchrun", *words]
            torchrun()
        elif words[:1] == ["-m"]:
            sys.path.insert(0, asked["folder"])
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[:1] == ["-c"]:
            sys.path.insert(0, asked["folder"])
            sys.argv = ["-c", *words[2:]]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.path.insert(0, str(Path(words[0]).resolve().parent))
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    _end(code)


def _end(code: object) -> None:
    import atexit
    import threading

    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    serve(sys.argv[1])
