"""Break a line, run the tests that reach it, see whether one fails; many times over.

    python -m tests.mutation.run --count 130 --seed 14

Everything lies in one folder, `build/mutation` unless `--folder` says otherwise: a copy of the
tree, in which the lines are broken, and the results, a line of JSON for each mutant, written when
it is decided, so that a run which was stopped goes on. Edits elsewhere change neither the draw nor
a result. `--retry` tries again those that were alive, after tests were added; `--only FILE:LINE`
takes the mutants of one place.

A mutant costs its tests alone: the libraries are imported once, each mutant has a forked process.
`--reach` first runs the light tests once and notes which functions each of them calls. Then a
mutant meets the tests that call its function, those of the nearest files first; then what else is
in the two nearest files, as what other processes run is not seen; and where it is still alive, what
starts Ray in these (`--light` leaves that out). A test that fails on the unchanged tree kills
nothing: it is left out.
"""

import argparse
import contextlib
import importlib
import importlib.util
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.nearest import TestMap
from tests.mutation.reach import PACKAGES, Reach

ROOT = Path(__file__).parents[2]
NEAREST, FURTHER = 2, 8
REACHED_S = 40
"""Of the tests that reach a function, those that take no more processor time than this in all."""
LIGHT = ["-m", "not (ray or s3 or browser or demo)"]
NOT_SLOW = ["-m", "not (ray or s3 or browser or demo or slow)"]
"""Of tests that are not known to call the function."""
HEAVY = ["-m", "ray"]
CPU_S, WALL_S = 300, 1500
"""What the tests of one round may take at most; what takes more hangs."""
LEAST_CPU_S, OVER = 30, 3
"""Where it is known what they take without a mutant: so many times that, and so much more."""
MEMORY_BYTES = 8 << 30
ALIVE = ("alive", "no test")
_NEVER_RAN = 70
"""Exit code of a child whose tests did not run; 1, of tests that failed, kills a mutant."""
_TIMES = itertools.count(1_000_000_000)
_PRELOADED = (
    "torch", "torch.export", "torch._dynamo", "numpy", "scipy.ndimage", "scipy.stats", "cv2",
    "pyarrow.parquet", "pandas", "pydantic", "fsspec", "typer", "rich.console", "yaml",
    "hypothesis.extra.numpy", "pytest", "safetensors.torch", "skimage", "PIL.Image", "tifffile",
    "imagecodecs", "simplejpeg", "h5py", "boto3", "albumentations", "mlflow", "mlflow.pyfunc",
    "ray", "ray.data", "ray.train", "ray.tune",
)  # fmt: skip


def main() -> None:
    """Draw mutants, try each, print what is alive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutation")
    parser.add_argument("--only", help="FILE or FILE:LINE")
    parser.add_argument("--changes", type=Path, help="mutants of your own: [[FILE, OLD, NEW], ...]")
    parser.add_argument("--tests", nargs="+", help="these test files, whole")
    parser.add_argument("--list", action="store_true", help="print the mutants, try none")
    parser.add_argument("--light", action="store_true", help="no tests that start Ray")
    parser.add_argument("--reach", action="store_true", help="first note what each test reaches")
    parser.add_argument("--retry", action="store_true", help="try the survivors again")
    options = parser.parse_args()
    drawn = _drawn(options)
    if options.list:
        for mutant in drawn:
            print(f"{mutant.module}:{mutant.line} {mutant.kind}")
            print(f"  {mutant.before}\n  {mutant.after}")
        return
    bench = Bench(options.folder, options.tests, options.light)
    if options.reach:
        bench.note_reach()
    _prepare()
    for number, mutant in enumerate(drawn, 1):
        known = bench.results.get(mutant.key)
        if not known or (options.retry and known["status"] in ALIVE):
            _say(number, len(drawn), mutant, bench.tried(mutant))
    _summarise([bench.results[mutant.key] for mutant in drawn])


def _prepare() -> None:
    """Import what the tests need and what no mutant changes."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    from pipelines.environment import prepare_environment

    prepare_environment()
    for name in _PRELOADED:
        importlib.import_module(name)


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
    ranked = [
        min((mutant.rank(options.seed), mutant.start, mutant) for mutant in line)
        for line in by_line.values()
    ]
    chosen = (mutant for _, _, mutant in sorted(ranked, key=lambda row: row[0]))
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


class Bench:
    """A copy of the tree in which lines are broken, and what came of it.

    folder: holds all of it; tests: these test files, whole, and no others; light: none that
    start Ray.
    """

    def __init__(self, folder: Path, tests: list[str] | None, light: bool) -> None:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._tree, self._log = folder, folder / "tree", folder / "pytest.log"
        self._given, self._light = tests, light
        self._stored = folder / "results.jsonl"
        self.results = _read(self._stored)
        self._sound: set[str] = set()
        self._left_out: list[str] = []
        _copy_tree(self._tree)
        self._tests = TestMap(self._tree, PACKAGES)
        noted = folder / "reach.jsonl"
        self._reach = Reach(noted, self._collected()) if noted.exists() else None

    def _collected(self) -> set[str]:
        """The names of the light tests as they are now: some that were noted may be gone."""
        listed = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "--collect-only",
                "-p",
                "no:cacheprovider",
                *LIGHT,
            ],
            cwd=self._tree,
            env={**os.environ, "PYTHONPATH": str(self._tree)},
            capture_output=True,
            text=True,
            check=True,
        )
        return {line for line in listed.stdout.splitlines() if "::" in line}

    def note_reach(self) -> None:
        """Run the light tests once and keep which functions each of them calls."""
        noted = self._folder / "reach.jsonl"
        noted.unlink(missing_ok=True)
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *("-p", "tests.mutation.reach", f"--basetemp={self._folder / 'tmp'}", *LIGHT),
            ],
            cwd=self._tree,
            env={**os.environ, "PYTHONPATH": str(self._tree), "K3DN_REACH": str(noted)},
            check=False,  # a test that fails has called what it called
        )
        self._reach = Reach(noted, self._collected())

    def tried(self, mutant: Mutant) -> dict[str, object]:
        """Break the line, run the tests round by round until one fails, store what came of it."""
        file = self._tree / mutant.module
        original = file.read_text()
        started_s, status, tried = time.monotonic(), "no test", []
        for chosen, cpu_s in self._rounds(mutant):
            tried.append(" ".join(chosen)[:400])
            status = "unsound"
            while status == "unsound":
                _write(file, mutant.source)
                try:
                    status = self._run([*chosen, *self._left_out], cpu_s)
                finally:
                    _write(file, original)
                if self._fails_anyway(status):
                    status = "unsound"
            if status != "alive":
                break
        result = {
            "key": mutant.key,
            "line": mutant.line,
            "kind": mutant.kind,
            "status": status[:160],
            "rounds": tried,
            "seconds": round(time.monotonic() - started_s, 1),
        }
        self.results[mutant.key] = result
        with self._stored.open("a") as stored:
            stored.write(json.dumps(result) + "\n")
        return result

    def _rounds(self, mutant: Mutant) -> Iterator[tuple[list[str], int]]:
        """Arguments of pytest for each round, and the processor time that it may take."""
        if self._given:
            yield self._given, CPU_S
            return
        near = self._tests.nearest(Path(mutant.module))
        reached = self._reached(mutant, near)
        further = [] if reached else near[NEAREST : NEAREST + FURTHER]
        for tests in (reached, near[:NEAREST], further):
            if tests:
                again = [] if tests is reached else [f"--deselect={test}" for test in reached]
                light = LIGHT if tests is reached else NOT_SLOW
                yield [*light, *tests, *again], self._most_s(tests)
        if near and not self._light:
            yield [*HEAVY, *near[:NEAREST]], CPU_S

    def _most_s(self, tests: list[str]) -> int:
        """The processor time after which tests, by name or file, hang."""
        known = [self._reach.cost_s(test) for test in tests] if self._reach else [None]
        costs = [cost for cost in known if cost is not None]
        if len(costs) < len(known):
            return CPU_S
        return min(CPU_S, round(LEAST_CPU_S + OVER * sum(costs)))

    def _reached(self, mutant: Mutant, near: list[str]) -> list[str]:
        """The tests that call the mutant's function: by file, nearest first, quick ones first."""
        if self._reach is None:
            return []
        cost = self._reach.tests(mutant.module, mutant.line, mutant.text)
        place = {file: number for number, file in enumerate(near)}
        chosen: dict[str, list[str]] = {}
        spent_s = 0.0
        for test in sorted(cost, key=lambda test: (cost[test] > 1, place.get(_file(test), 999))):
            if not chosen or spent_s + cost[test] < REACHED_S:
                chosen.setdefault(_file(test), []).append(test)
                spent_s += cost[test]
        files = sorted(chosen, key=lambda file: place.get(file, 999))
        return [test for file in files for test in sorted(chosen[file], key=lambda t: cost[t])]

    def _fails_anyway(self, status: str) -> bool:
        """Whether the test that failed fails on the unchanged tree, too: then it is left out."""
        failed = re.match(r"killed by (?:FAILED|ERROR) (\S+?\.py::.*?)(?: - |$)", status)
        if failed is None or failed[1] in self._sound:
            return False
        if self._run([failed[1]], CPU_S) == "alive":
            self._sound.add(failed[1])
            return False
        print(f"    left out: {failed[1]} fails without a mutant", flush=True)
        self._left_out.append(f"--deselect={failed[1]}")
        return True

    def _run(self, arguments: list[str], cpu_s: int) -> str:
        """Run tests in a child; return killed (and by which test), hung or alive."""
        import pytest

        child = os.fork()
        if child == 0:
            self._in_child(arguments, cpu_s)
        deadline_s = time.monotonic() + WALL_S
        while time.monotonic() < deadline_s:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                _end_group(child)
                code = os.waitstatus_to_exitcode(status)
                if code == pytest.ExitCode.USAGE_ERROR and _is_not_collected(self._log):
                    return f"killed by {_failed(self._log)}"
                if code in (0, 5):
                    return "alive"
                if code in (_NEVER_RAN, pytest.ExitCode.USAGE_ERROR, -signal.SIGKILL):
                    raise RuntimeError(f"pytest ended with {code}: {' '.join(arguments)}")
                if code == -signal.SIGXCPU:
                    return "hung"
                return f"killed by {_failed(self._log)}"
            time.sleep(0.05)
        _end_group(child)
        os.waitpid(child, 0)
        return "hung"

    def _in_child(self, chosen: list[str], cpu_s: int) -> None:
        """Run pytest and end this process, whatever happens."""
        import pytest

        code = _NEVER_RAN
        try:
            os.setpgid(0, 0)
            # The signal that says so comes at the soft limit; at the hard one it is SIGKILL.
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
            output = os.open(self._log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(self._tree)
            os.environ["PYTHONPATH"] = str(self._tree)
            sys.path[:] = [str(self._tree), *(p for p in sys.path if p not in ("", str(ROOT)))]
            for name in list(sys.modules):
                if name.split(".")[0] in ("tests", *PACKAGES):
                    del sys.modules[name]
            importlib.invalidate_caches()
            options = ["-x", "-q", "--timeout=0", "-p", "no:cacheprovider", "--durations=0"]
            base = f"--basetemp={self._folder / 'tmp'}"
            code = int(pytest.main([*options, *chosen, base]))
            own = importlib.util.find_spec("k3dn")
            if own is None or not str(own.origin).startswith(str(self._tree)):
                code = _NEVER_RAN
        finally:
            sys.stdout.flush()
            os._exit(code)


def _file(test: str) -> str:
    return test.partition("::")[0]


def _write(file: Path, text: str) -> None:
    """Write a module with a time of its own: compiled files go by second and size alone."""
    file.write_text(text)
    then = next(_TIMES)
    os.utime(file, (then, then))


def _failed(log: Path) -> str:
    """The first test that failed, or else the last line."""
    lines = log.read_text(errors="replace").splitlines() or [""]
    named = [line for line in lines if line.startswith(("FAILED tests/", "ERROR tests/"))]
    return (named or lines[-1:])[0]


def _is_not_collected(log: Path) -> bool:
    """Whether a test file could not be imported, and its tests, asked for by name, be found."""
    return "ERROR collecting" in log.read_text(errors="replace")


def _end_group(child: int) -> None:
    """End what the tests of one mutant left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _copy_tree(copy: Path) -> None:
    """Make ``copy`` the tree as it is now; what did not change keeps its compiled file."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    names = {name for name in listed.stdout.decode().splitlines() if (ROOT / name).is_file()}
    for old in copy.rglob("*.py"):
        if str(old.relative_to(copy)) not in names:
            old.unlink()
    for name in names:
        target, data = copy / name, (ROOT / name).read_bytes()
        if not target.exists() or target.read_bytes() != data:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)


def _read(results: Path) -> dict[str, dict[str, object]]:
    if not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    return {row["key"]: row for row in rows}


def _say(number: int, count: int, mutant: Mutant, result: dict[str, object]) -> None:
    print(f"{number}/{count} {result['seconds']:>6} s  {mutant.module}:{mutant.line}", flush=True)
    print(f"    {mutant.before}\n    {mutant.after}\n    {result['status']}", flush=True)


def _summarise(results: Iterable[dict[str, object]]) -> None:
    rows = list(results)
    alive = [row for row in rows if row["status"] in ALIVE]
    print(f"\n{len(rows)} mutants, {len(alive)} alive ({len(alive) / max(1, len(rows)):.1%})")
    for row in alive:
        print(f"  {row['key']}")


if __name__ == "__main__":
    main()
