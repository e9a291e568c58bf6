"""One-line changes of a module, each of which some test should notice."""

import ast
import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_ARITHMETIC = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
}
_TWINS = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "minimum": "maximum",
    "maximum": "minimum",
    "floor": "ceil",
    "ceil": "floor",
    "rint": "floor",
    "sin": "cos",
    "cos": "sin",
}
_EITHER_WAY = (
    *("min", "max", "minimum", "maximum", "hypot", "isclose", "allclose", "array_equal"),
    *("addcmul_", "addcmul", "lcm", "gcd", "uniform"),
)
"""Calls whose first two arguments may change places: the result is the same, or has the same
distribution."""
_TELLING = ("say", "log", "warnings", "print")
"""What only tells a person something: its text is no behaviour to be held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """A module with one place changed."""

    module: str
    """Path of the module, relative to the root of the tree."""
    line: int
    kind: str
    text: str
    """The module as it is."""
    start: int
    stop: int
    new: str
    """What stands at the bytes ``start`` to ``stop`` in the mutant."""

    @property
    def source(self) -> str:
        """The whole module, changed."""
        whole = self.text.encode()
        return (whole[: self.start] + self.new.encode() + whole[self.stop :]).decode()

    @property
    def before(self) -> str:
        """The line as it is."""
        return self.text.splitlines()[self.line - 1].strip()

    @property
    def after(self) -> str:
        """The line as the mutant has it."""
        return self.source.splitlines()[self.line - 1].strip()

    @property
    def key(self) -> str:
        """A name for the change. It holds no line number, which moves with every edit above it."""
        lines = [line.strip() for line in self.text.splitlines()[: self.line]]
        again = lines.count(self.before)
        place = f" (time {again})" if again > 1 else ""
        return f"{self.module}: {self.before}{place}  ->  {self.after}"

    def rank(self, seed: int) -> str:
        """A number that orders mutants at random, whatever other mutants there are."""
        return hashlib.sha256(f"{seed} {self.key}".encode()).hexdigest()

    def is_valid(self) -> bool:
        """Whether the mutant is still Python."""
        try:
            ast.parse(self.source)
        except SyntaxError:
            return False
        return True


def mutants_of(module: str, text: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of its lines."""
    whole = text.encode()
    starts = [0]
    for line in whole.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = [
        Mutant(
            module=module,
            line=bisect_right(starts, start),
            kind=kind,
            text=text,
            start=start,
            stop=stop,
            new=new.decode(),
        )
        for start, stop, new, kind in _edits(ast.parse(text), whole, starts)
    ]
    return sorted(found, key=lambda mutant: mutant.start)


Edit = tuple[int, int, bytes, str]


def _edits(tree: ast.Module, whole: bytes, starts: list[int]) -> Iterator[Edit]:
    def at(line: int, column: int) -> int:
        return starts[line - 1] + column

    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)

    def between(left: ast.expr, right: ast.expr, old: str, new: str, kind: str) -> Iterator[Edit]:
        start, stop = span(left)[1], span(right)[0]
        word = rf"\b{old}\b" if old[0].isalpha() else re.escape(old)
        match = re.search(word.encode().replace(rb"\ ", rb"\s+"), whole[start:stop])
        if match:
            yield start + match.start(), start + match.end(), new.encode(), kind

    for node in _behaviour(tree):
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield from between(left, right, *_COMPARISONS[type(operator)], "comparison")
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
                yield from between(left, right, *_ARITHMETIC[type(operator)], "operator")
            case ast.BoolOp(op=operator, values=[left, right, *_]):
                words = ("and", "or") if isinstance(operator, ast.And) else ("or", "and")
                yield from between(left, right, *words, "and/or")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                start, stop = span(node)
                yield start, span(operand)[0], b"", "not dropped"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                start, stop = span(node)
                yield start, span(operand)[0], b"", "sign dropped"
            case ast.Constant(value=bool() as value):
                yield *span(node), str(not value).encode(), "constant"
            case ast.Constant(value=int() as value):
                yield *span(node), str(value + 1).encode(), "constant"
            case ast.Constant(value=float() as value):
                yield *span(node), repr(2 * value if value else 0.5).encode(), "constant"
            case ast.Call(func=ast.Name(id=name)) if name in _TWINS:
                start, stop = span(node.func)
                yield start, stop, _TWINS[name].encode(), "twin"
            case ast.Call(func=ast.Attribute(attr=name)) if name in _TWINS:
                _, stop = span(node.func)
                yield stop - len(name), stop, _TWINS[name].encode(), "twin"
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                if not isinstance(test, ast.Compare | ast.UnaryOp):
                    start, stop = span(test)
                    yield start, stop, b"(not (" + whole[start:stop] + b"))", "condition"
            case ast.Continue():
                yield *span(node), b"break", "loop"
            case ast.Break():
                yield *span(node), b"continue", "loop"
            case _:
                pass
        if isinstance(node, ast.Call) and _name_of(node.func) not in _EITHER_WAY:
            match node.args:
                case [first, second, *_] if not isinstance(first, ast.Starred) and not isinstance(
                    second, ast.Starred
                ):
                    (a, b), (c, d) = span(first), span(second)
                    if whole[a:b] != whole[c:d]:
                        swapped = whole[c:d] + whole[b:c] + whole[a:b]
                        yield a, d, swapped, "swapped arguments"
        dropped = (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
            isinstance(node, ast.AugAssign)
        )
        if isinstance(node, ast.Assign):
            dropped = all(isinstance(t, ast.Attribute | ast.Subscript) for t in node.targets)
        if dropped:
            start, stop = span(node)  # type: ignore[arg-type]
            yield start, stop, b"pass", "statement dropped"


def _behaviour(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that do something: no annotations, decorators, messages, imports."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _only_tells(child):
                yield from _behaviour(child)


def _name_of(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _only_tells(node: ast.AST) -> bool:
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.Expr(value=ast.Constant()) | ast.keyword(arg="strict"):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name in _TELLING
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in _TELLING
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False
