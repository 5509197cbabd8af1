"""No module of the SDK looks at the world when it is imported: no environment, clock or network."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = '''
import datetime, importlib, json, os, pkgutil, socket, sys, time

import blindllama

def modules():
    found = pkgutil.walk_packages(blindllama.__path__, "blindllama.")
    return ["blindllama", *(module.name for module in found if not module.name.endswith("__main__"))]

names = modules()
for name in names:
    importlib.import_module(name)  # what they import may look at what it likes, once
for name in [name for name in sys.modules if name.partition(".")[0] == "blindllama"]:
    del sys.modules[name]

seen = []

HERE = (os.path.dirname(blindllama.__file__), "<string>")

def told(what, honest):
    """Tell of a look by our own code; pydantic, for one, asks the environment for its plugins."""
    def look(*arguments, **named):
        if sys._getframe(1).f_code.co_filename.startswith(HERE):
            seen.append(what)
        return honest(*arguments, **named)
    return look

class Environment(dict):
    __getitem__ = told("environment", dict.__getitem__)
    __contains__ = told("environment", dict.__contains__)
    __iter__ = told("environment", dict.__iter__)
    get = told("environment", dict.get)
    items = told("environment", dict.items)
    copy = told("environment", dict.copy)

class Clock(datetime.datetime):
    now = told("clock", datetime.datetime.now)
    utcnow = told("clock", datetime.datetime.utcnow)
    today = told("clock", datetime.datetime.today)

def audit(event, arguments):
    watched = {"socket.__new__", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"}
    if event in watched:
        seen.append(event)
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc")):
        seen.append(f"open {arguments[0]}")

os.environ = Environment(os.environ)
os.getenv = told("environment", os.getenv)
for clock in ("time", "time_ns", "monotonic", "perf_counter", "gmtime", "localtime"):
    setattr(time, clock, told("clock", getattr(time, clock)))
datetime.datetime = Clock
sys.addaudithook(audit)
if "POSITIVE" in sys.argv:  # a test that cannot fail proves nothing
    os.environ["PYTHONPATH"], time.time(), Clock.now(), socket.socket().close(), open(os.devnull).close()
else:
    for name in names:
        importlib.import_module(name)
print(json.dumps({"modules": names, "seen": seen}))
'''


def run(*arguments: str) -> tuple[list[str], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return found["modules"], found["seen"]


def test_no_module_looks_at_the_world() -> None:
    modules, seen = run()
    assert len(modules) > 50
    assert {"blindllama.session", "blindllama._cli.chat_command"} <= set(modules)
    assert seen == []


def test_a_look_at_the_world_would_be_seen() -> None:
    _, seen = run("POSITIVE")
    assert seen == ["environment", "clock", "clock", "socket.__new__", "open /dev/null"]
