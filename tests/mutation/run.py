"""Break a line, run the nearest tests, see whether one fails; many times over.

    python -m tests.mutation.run --count 150 --seed 1 --results mutants.jsonl

It works on a copy of the tree. Each mutant is a line of JSON, written when it is decided, so a run
that was stopped goes on. ``--only FILE:LINE`` takes mutants of one place, ``--retry`` those that
are alive in the results, after tests were added. The heavy libraries are imported once; each mutant
has a forked process.
"""

import argparse
import importlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.nearest import TestMap

ROOT = Path(__file__).parents[2]
PACKAGES = ("k3dn", "synth", "pipelines", "tune")
NEAREST, FURTHER = 2, 8
HEAVY = ("ray", "s3", "browser", "demo", "slow")
CPU_S, WALL_S = 200, 1500
"""What the tests of a mutant may take; one that takes more hangs."""
LOG = "pytest.log"
_TIMES = itertools.count(1_000_000_000)
_PRELOADED = (
    "torch", "torch.export", "numpy", "scipy.ndimage", "cv2", "pyarrow", "pyarrow.parquet",
    "pandas", "pydantic", "fsspec", "typer", "rich.console", "yaml", "hypothesis", "pytest",
    "safetensors.torch", "skimage", "PIL.Image", "tifffile", "imagecodecs", "simplejpeg",
)  # fmt: skip


def main() -> None:
    """Draw mutants, try each, print what is alive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--only", help="FILE or FILE:LINE")
    parser.add_argument("--changes", type=Path, help="mutants of your own: [[FILE, OLD, NEW], ...]")
    parser.add_argument("--tests", nargs="+", help="these test files, not the nearest ones")
    parser.add_argument("--list", action="store_true", help="print the mutants, try none")
    parser.add_argument("--rounds", type=int, default=3, help="1: the nearest tests alone")
    parser.add_argument("--retry", action="store_true", help="try the survivors again")
    options = parser.parse_args()
    drawn = _drawn(options)
    if options.list:
        for mutant in drawn:
            print(
                f"{mutant.module}:{mutant.line} {mutant.kind}\n  {mutant.before}\n  {mutant.after}"
            )
        return
    results = _read(options.results)
    for name in _PRELOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="k3dn-mutants-") as folder:
        copy = Path(folder, "tree")
        _copy_tree(copy)
        tests = TestMap(copy, PACKAGES)
        for number, mutant in enumerate(drawn, 1):
            known = results.get(mutant.key)
            if known and not (options.retry and known["status"] == "alive"):
                continue
            results[mutant.key] = _tried(mutant, copy, tests, options)
            with options.results.open("a") as file:
                file.write(json.dumps(results[mutant.key]) + "\n")
            _say(number, len(drawn), results[mutant.key])
    _summarise([results[mutant.key] for mutant in drawn])


def _drawn(options: argparse.Namespace) -> list[Mutant]:
    """Mutants drawn evenly over the lines that have some: one a line."""
    if options.changes:
        return [_change(*row) for row in json.loads(options.changes.read_text())]
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            module = str(file.relative_to(ROOT))
            for mutant in mutants_of(module, file.read_text()):
                by_line.setdefault((module, mutant.line), []).append(mutant)
    if options.only:
        module, _, line = options.only.partition(":")
        places = [p for p in by_line if p[0] == module and line in ("", str(p[1]))]
        return [mutant for place in places for mutant in by_line[place] if mutant.is_valid()]
    chance = random.Random(options.seed)
    places = sorted(by_line)
    chance.shuffle(places)
    chosen = (chance.choice(by_line[place]) for place in places)
    return list(itertools.islice(filter(Mutant.is_valid, chosen), options.count))


def _change(module: str, old: str, new: str) -> Mutant:
    text = (ROOT / module).read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{module} must hold {old!r} once, it does {text.count(old)} times")
    start = len(text[: text.index(old)].encode())
    return Mutant(
        module=module,
        line=text[: text.index(old)].count("\n") + 1,
        kind="given",
        text=text,
        start=start,
        stop=start + len(old.encode()),
        new=new,
    )


def _tried(
    mutant: Mutant, copy: Path, tests: TestMap, options: argparse.Namespace
) -> dict[str, object]:
    near = options.tests or tests.nearest(Path(mutant.module))
    light = ["-m", f"not ({' or '.join(HEAVY)})"]
    rounds = [(light, near[:NEAREST]), (light, near[NEAREST : NEAREST + FURTHER])]
    rounds.append((["-m", "ray"], near[:NEAREST]))
    file = copy / mutant.module
    original = file.read_text()
    started_s, status, tried = time.monotonic(), "alive", []
    _write(file, mutant.source)
    try:
        for chosen, files in rounds[: options.rounds]:
            if not files:
                continue
            tried += files
            status = _run(copy, [*chosen, *files])
            if status != "alive":
                break
    finally:
        _write(file, original)
    return {
        "key": mutant.key,
        "kind": mutant.kind,
        "before": mutant.before,
        "after": mutant.after,
        "status": status if tried else "no test",
        "tests": tried,
        "seconds": round(time.monotonic() - started_s, 1),
    }


def _write(file: Path, text: str) -> None:
    """Write a module with a time of its own: compiled files go by second and size alone."""
    file.write_text(text)
    then = next(_TIMES)
    os.utime(file, (then, then))


def _run(copy: Path, arguments: list[str]) -> str:
    """Run test files in a child; return killed (and by which test), hung or alive."""
    import pytest

    child = os.fork()
    if child == 0:
        _in_child(copy, arguments)
    deadline_s = time.monotonic() + WALL_S
    while time.monotonic() < deadline_s:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end_group(child)
            code = os.waitstatus_to_exitcode(status)
            if code in (0, 5):
                return "alive"
            if code == pytest.ExitCode.USAGE_ERROR:
                raise RuntimeError(f"pytest refused: {' '.join(arguments)}")
            if code < 0 and code != -signal.SIGXCPU:
                raise RuntimeError(f"the tests of a mutant ended by signal {-code}")
            return "hung" if code < 0 else f"killed by {_failed(copy / LOG)}"
        time.sleep(0.05)
    _end_group(child)
    os.waitpid(child, 0)
    return "hung"


def _failed(log: Path) -> str:
    """The first test that failed, or else the last line."""
    lines = log.read_text(errors="replace").splitlines() or [""]
    named = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return (named or lines[-1:])[0][:160]


def _end_group(child: int) -> None:
    """End what the tests of one mutant left running."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        return


def _in_child(copy: Path, chosen: list[str]) -> None:
    import pytest

    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:] = [str(copy), *(p for p in sys.path if p not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", *PACKAGES)]:
        del sys.modules[name]
    importlib.invalidate_caches()
    output = os.open(copy / LOG, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    arguments = [
        "-x",
        "-q",
        "--timeout=0",
        "-p",
        "no:cacheprovider",
        "--durations=0",
        "--no-header",
    ]
    code = 1
    try:
        code = int(pytest.main([*arguments, *chosen, f"--basetemp={copy.parent / 'tmp'}"]))
        import k3dn

        if not str(k3dn.__file__).startswith(str(copy)):
            code = 99
    finally:
        sys.stdout.flush()
        os._exit(code)


def _copy_tree(copy: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)


def _read(results: Path) -> dict[str, dict[str, object]]:
    if not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    return {row["key"]: row for row in rows}


def _say(number: int, count: int, result: dict[str, object]) -> None:
    print(f"{number}/{count} {result['seconds']:>6} s  {result['key']}", flush=True)
    print(f"    {result['status']}", flush=True)


def _summarise(results: Iterable[dict[str, object]]) -> None:
    rows = list(results)
    alive = [row for row in rows if row["status"] in ("alive", "no test")]
    print(
        f"\n{len(rows)} mutants, {len(alive)} alive ({100 * len(alive) / max(1, len(rows)):.1f}%)"
    )
    for row in alive:
        print(f"  {row['key']}\n    was {row['before']}")


if __name__ == "__main__":
    main()
