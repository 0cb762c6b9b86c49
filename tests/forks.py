"""Processes that have imported already: a server imports the libraries once and forks for every program, kernel and notebook that a test starts.

A start of `xitcal` or of a kernel imports for five seconds, and most tests compute for one. What is forked has its own memory, environment,
folder, input, output and exit code, and enters by the same function as a process that is started. The server ends with the process that
started it. A second server has imported only what reads nothing about the hub: what is forked from it imports the rest, for a hub of its own.

As a program: `forks.py serve ADDRESS PART` serves, `forks.py ask PART KIND ...` is a program, script, kernel or notebook that lives in a forked
process and is killed with this one, and `forks.py notebook PATH` runs a notebook without a server."""
import atexit
import json
import os
import runpy
import select
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

ADDRESS = "XITCAL_TESTS_FORKS" # variable that names the servers' sockets, less their parts
ASK = [sys.executable, "-IS", __file__, "ask"]
KERNEL = dict(argv=[*ASK, "whole", "kernel", "-f", "{connection_file}"], display_name="Python 3", language="python")
# what the rooms and the pages import where they need it
LIBRARIES = ("ipykernel.kernelapp", "IPython.display", "matplotlib_inline", "matplotlib.pyplot", "seaborn", "nbconvert", "sklearn.linear_model",
             "statsmodels.api", "faiss", "scipy.stats", "netcal.binning", "pydantic", "nbdev.test")
# of what xitcal imports, what reads nothing about the hub: not huggingface_hub, nor what imports it
WITHOUT_HUB = ("torch", "torch.utils.data", "torch._dynamo", "pandas", "pyarrow.parquet", "pyarrow.dataset", "scipy.special", "scipy.stats", "scipy.optimize",
               "sklearn.metrics", "faiss", "matplotlib.pyplot", "seaborn", "typer", "joblib", "psutil", "dill", "httpx")


# ---- the side that asks

def ask(part: str, kind: str, args: list[str], env: dict[str, str], cwd: str, files: tuple[int, int, int] = (0, 1, 2)) -> int:
    "Exit code of a program, script, kernel or notebook in a process that a server forks, with its input and output in three open files"
    end, address = time.monotonic() + 60, f"{os.environ[ADDRESS]}-{part}"
    while not os.path.exists(address) and time.monotonic() < end: time.sleep(.05) # the server has just been started
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        request = json.dumps(dict(kind=kind, args=args, env=env, cwd=cwd)).encode() + b"\n"
        socket.send_fds(line, [request[:1]], files)
        line.sendall(request[1:])
        answer = line.recv(32)
    if not answer: raise RuntimeError(f"The server that forks for the tests ended before {kind} {args}")
    return int(answer)


def kernel_folder(folder: Path) -> Path:
    "A folder for JUPYTER_PATH whose kernel `python3` is forked"
    place = folder / "kernels" / "python3"
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps(KERNEL))
    return folder


# ---- the side that forks

def load(part: str = "whole") -> None:
    "Import every module of xitcal and the libraries that its functions import, or only the libraries that read nothing about the hub"
    import gc
    from importlib import import_module
    from pkgutil import walk_packages
    if part == "half": names = WITHOUT_HUB
    else:
        import xitcal
        names = [*(m.name for m in walk_packages(xitcal.__path__, "xitcal.")), *LIBRARIES]
    for name in names: import_module(name)
    early = {"huggingface_hub", "datasets", "transformers", "xitcal"} & sys.modules.keys()
    assert part == "whole" or not early, f"imported too early: {early}"
    gc.freeze() # pages of memory stay shared


def program(args) -> None:
    sys.argv = [str(Path(sys.executable).with_name("xitcal")), *args]
    from xitcal.cli import main
    sys.exit(main())


def script(args) -> None:
    sys.argv = args
    runpy.run_path(args[0], run_name="__main__")


def code(args) -> None:
    "As `python -c`"
    exec(compile(args[0], "<string>", "exec"), dict(__name__="__main__"))


def kernel(args) -> None:
    os.environ["JPY_PARENT_PID"] = str(os.getppid()) # whose end ends a kernel
    sys.argv = ["ipykernel_launcher", *args]
    from ipykernel.kernelapp import launch_new_instance
    launch_new_instance()


def notebook(args) -> None:
    "As `nbdev_test` runs it"
    from nbdev.config import get_config
    from nbdev.test import test_nb
    settings = get_config()
    passed, _ = test_nb(Path(args[0]), skip_flags=settings.tst_flags.split(), force_flags=[], basepath=settings.config_path)
    sys.exit(not passed)


def add_paths(now: str, before: str) -> None:
    "What Python does at its start for folders of PYTHONPATH, with those that are new"
    for folder in reversed([f for f in now.split(os.pathsep) if f and f not in before.split(os.pathsep)]):
        sys.path.insert(0, folder)
        if (own := Path(folder) / "sitecustomize.py").exists(): runpy.run_path(str(own))


def finish(task) -> None:
    "Do it and end as Python does, but without taking apart all that was imported, which copies its memory first"
    code = 0
    try: task()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str): print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown() # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr): stream.flush()
    os._exit(code)


def become(request: dict, files: list[int]):
    "In the forked process: its input, output, folder and environment; the function to go on with"
    for number, opened in enumerate(files): os.dup2(opened, number)
    for opened in files: os.close(opened)
    before = os.environ.get("PYTHONPATH", "")
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    add_paths(os.environ.get("PYTHONPATH", ""), before)
    return lambda: dict(program=program, script=script, code=code, kernel=kernel, notebook=notebook)[request["kind"]](request["args"])


def keep(line: socket.socket):
    "Fork for one request, answer with the exit code, and end the process when nobody waits for it any more; in the process, what it shall do"
    first, files, *_ = socket.recv_fds(line, 1, 3)
    with line.makefile("rb") as rest: request = json.loads(first + rest.readline())
    lives, alive = os.pipe()
    process = os.fork()
    if not process:
        os.close(lives)
        line.close()
        return become(request, files)
    os.close(alive) # now only the process holds it
    if line in select.select([line, lives], [], [])[0]: os.kill(process, 9)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try: line.sendall(str(code).encode())
    except OSError: pass
    os._exit(0)


def serve(address: str, part: str):
    "Fork for each request until standard input is closed; in a forked process, what it shall do"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address + ".new")
        listener.listen(64)
        os.rename(address + ".new", address) # it is there once it answers
        loaded = False
        while 0 not in select.select([listener, 0], [], [])[0]:
            line, _ = listener.accept()
            if not loaded: load(part)
            loaded = True
            if not os.fork():
                listener.close()
                return keep(line)
            line.close()
            try:
                while os.waitpid(-1, os.WNOHANG)[0]: pass
            except ChildProcessError: pass
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "notebook": notebook(sys.argv[2:])
    if sys.argv[1] == "ask": sys.exit(ask(*sys.argv[2:4], sys.argv[4:], dict(os.environ), os.getcwd()))
    finish(serve(*sys.argv[2:]))
