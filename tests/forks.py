"""Processes that have imported already: a server imports the libraries once and forks for every program, kernel and notebook that a test starts.

A start of `xitcal` or of a kernel imports for five seconds, and most tests compute for one. What is forked has its own memory, environment,
folder, output and exit code, and enters by the same function as a process that is started. The server ends with the process that started it.

As a program: `forks.py ADDRESS` serves, `forks.py kernel ...` is a kernel for Jupyter that lives in a forked process, and `forks.py notebook PATH`
runs a notebook without a server."""
import json
import os
import select
import socket
import sys
import time
from pathlib import Path

ADDRESS = "XITCAL_TESTS_FORKS" # variable that names the server's socket
KERNEL = dict(argv=[sys.executable, "-IS", __file__, "kernel", "-f", "{connection_file}"], display_name="Python 3", language="python")
# what the rooms and the pages import where they need it
LIBRARIES = ("ipykernel.kernelapp", "IPython.display", "matplotlib_inline", "matplotlib.pyplot", "seaborn", "nbconvert", "sklearn.linear_model",
             "statsmodels.api", "faiss", "scipy.stats", "netcal.binning", "pydantic", "nbdev.test")


# ---- the side that asks

def ask(kind: str, args: list[str], env: dict[str, str], cwd: str, outputs: tuple[int, int] = (1, 2)) -> int:
    "Exit code of a program or kernel in a forked process, whose output goes to two open files"
    end = time.monotonic() + 60
    while not os.path.exists(os.environ[ADDRESS]) and time.monotonic() < end: time.sleep(.05) # the server has just been started
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ[ADDRESS])
        request = json.dumps(dict(kind=kind, args=args, env=env, cwd=cwd)).encode() + b"\n"
        socket.send_fds(line, [request[:1]], outputs)
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

def load() -> None:
    "Import every module of xitcal and the libraries that its functions import"
    from importlib import import_module
    from pkgutil import walk_packages

    import xitcal
    for name in [*(m.name for m in walk_packages(xitcal.__path__, "xitcal.")), *LIBRARIES]: import_module(name)
    import gc
    gc.freeze() # pages of memory stay shared


def program(args) -> None:
    sys.argv = [str(Path(sys.executable).with_name("xitcal")), *args]
    from xitcal.cli import main
    sys.exit(main())


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


def become(request: dict, outputs: list[int]):
    "In the forked process: its output, folder and environment; the function to go on with"
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, opened in zip((1, 2), outputs): os.dup2(opened, number)
    for opened in outputs: os.close(opened)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    return lambda: dict(program=program, kernel=kernel, notebook=notebook)[request["kind"]](request["args"])


def keep(line: socket.socket):
    "Fork for one request, answer with the exit code, and end the process when nobody waits for it any more; in the process, what it shall do"
    first, outputs, *_ = socket.recv_fds(line, 1, 2)
    with line.makefile("rb") as rest: request = json.loads(first + rest.readline())
    lives, alive = os.pipe()
    process = os.fork()
    if not process:
        os.close(lives)
        line.close()
        return become(request, outputs)
    os.close(alive) # now only the process holds it
    if line in select.select([line, lives], [], [])[0]: os.kill(process, 9)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try: line.sendall(str(code).encode())
    except OSError: pass
    os._exit(0)


def serve(address: str):
    "Fork for each request until standard input is closed; in a forked process, what it shall do"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address + ".new")
        listener.listen(64)
        os.rename(address + ".new", address) # it is there once it answers
        while 0 not in select.select([listener, 0], [], [])[0]:
            line, _ = listener.accept()
            if "xitcal" not in sys.modules: load()
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
    if sys.argv[1] == "kernel": sys.exit(ask("kernel", sys.argv[2:], dict(os.environ), os.getcwd()))
    task = serve(sys.argv[1])
    task()
