"""Writes one Python function for each resource type that extracts all its search values."""

from collections.abc import Callable, Iterable
from typing import Any

from fhir.definitions import SearchParameter
from fhir.search.extractors import converters
from fhir.search.extractors.composites import combine
from fhir.search.extractors.conditions import holds
from fhir.search.extractors.paths import Access, Condition
from fhir.search.extractors.plan import Leaf, Node, plan
from fhir.search.extractors.values import Extracted, Token

Extractor = Callable[[dict[str, Any]], Extracted]

_LISTS = Extracted.__struct_fields__
_NAMES = {name: function for name, function in vars(converters).items() if callable(function)} | {
    "combine": combine,
    "holds": holds,
    "Extracted": Extracted,
    "Token": Token,
}


def compile_extractor(resource_type: str, parameters: Iterable[SearchParameter]) -> Extractor:
    """Compile the extractor of a type for the given parameters.

    Raises UnsupportedExpressionError for a parameter whose expression is not a search path.
    """
    writer = _Writer()
    source = writer.module(plan(resource_type, parameters))
    namespace: dict[str, Any] = _NAMES | writer.constants
    code = compile(source, f"<search extractor of {resource_type}>", "exec")
    exec(code, namespace)  # noqa: S102 -- our own source, generated from the definitions
    extractor: Extractor = namespace["extract"]
    return extractor


class _Writer:
    def __init__(self) -> None:
        self._parts: dict[Node, str] = {}
        self._functions: list[str] = []
        self._variables = 0
        self.constants: dict[str, Condition] = {}

    def module(self, root: Node) -> str:
        body = [
            "def extract(r):",
            *(f"    {name} = []" for name in _LISTS),
            *self.node(root, "r", 1),
            f"    return Extracted({', '.join(_LISTS)})",
        ]
        return "\n".join([*self._functions, *body, ""])

    def variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    def node(self, node: Node, value: str, depth: int) -> list[str]:
        lines: list[str] = []
        for condition, params in node.conditions.items():
            lines += [
                f"{'    ' * depth}tokens.append(Token({param!r}, None,"
                f" 'true' if {self.judged(condition, value)} else 'false'))"
                for param in params
            ]
        for leaf, params in node.leaves.items():
            lines += self.leaf(leaf, value, tuple(params), depth)
        for parts, params in node.composites.items():
            lines += self.composite(parts, value, tuple(params), depth)
        for access, below in node.below.items():
            inner, opening, deeper = self.access(access, value, depth)
            lines += opening
            lines += self.node(below, inner, deeper)
        return lines

    def leaf(self, leaf: Leaf, value: str, params: tuple[str, ...], depth: int) -> list[str]:
        indent = "    " * depth
        if leaf.converter == "token_plain":
            return [
                f"{indent}tokens.append(Token({param!r}, {leaf.system!r}, {value}))"
                for param in params
            ]
        return [f"{indent}{leaf.converter}({value}, {params!r}, {leaf.target})"]

    def access(self, access: Access, value: str, depth: int) -> tuple[str, list[str], int]:
        indent = "    " * depth
        inner = self.variable()
        match access.kind:
            case "key":
                lines = [
                    f"{indent}{inner} = {value}.get({access.name!r})",
                    f"{indent}if {inner} is not None:",
                ]
                return inner, lines, depth + 1
            case "each":
                lines = [
                    f"{indent}for {inner} in {value}.get({access.name!r}, ()):",
                    f"{indent}    if {inner} is None: continue",
                ]
                return inner, lines, depth + 1
            case "item":
                part = f"[{access.literal}:{int(access.literal) + 1}]"
                lines = [f"{indent}for {inner} in {value}.get({access.name!r}, ()){part}:"]
                return inner, lines, depth + 1
            case _:
                return value, [f"{indent}if {self.condition(access, value)}:"], depth + 1

    def condition(self, access: Access, value: str) -> str:
        match access.kind:
            case "equals":
                return f"{value}.get({access.name!r}) == {access.literal!r}"
            case "where" if access.test is not None:
                return self.judged(access.test, value)
            case "resolves":
                return f"refers_to({value}, {access.name!r}, r)"
            case _:
                return f"any(e.get('url') == {access.name!r} for e in {value}.get('extension', ()))"

    def judged(self, condition: Condition, value: str) -> str:
        name = f"CONDITION_{len(self.constants)}"
        self.constants[name] = condition
        return f"holds({name}, {value}, r)"

    def composite(
        self, parts: tuple[Node, ...], value: str, params: tuple[str, ...], depth: int
    ) -> list[str]:
        """The rarest component comes last in R4 (`code-value-…`), so it is looked for first."""
        indent = "    " * depth
        lines: list[str] = []
        found = [self.variable() for _ in parts]
        for part, variable in reversed(list(zip(parts, found, strict=True))):
            focus = "r" if part.from_root else value
            lines += [
                f"{indent}if {_present(part, focus)}:",
                f"{indent}    {variable} = {self.part(part)}({focus}, r)",
                f"{indent}    if {variable}:",
            ]
            indent += "        "
        lines.append(f"{indent}combine({params!r}, ({', '.join(found)},), composites)")
        return lines

    def part(self, node: Node) -> str:
        if node not in self._parts:
            name = f"part{len(self._parts)}"
            self._parts[node] = name
            targets = sorted(_targets(node))
            self._functions += [
                f"def {name}(v, r):",
                *(f"    {target} = []" for target in targets),
                *self.node(node, "v", 1),
                f"    return {' + '.join(targets)}",
            ]
        return self._parts[node]


def _present(node: Node, value: str) -> str:
    """A cheap test that is false where the component cannot have a value."""
    if node.leaves or not all(access.kind in {"key", "each"} for access in node.below):
        return "True"
    return " or ".join(f"{access.name!r} in {value}" for access in node.below)


def _targets(node: Node) -> set[str]:
    own = {leaf.target for leaf in node.leaves}
    return own.union(*(_targets(below) for below in node.below.values()))
