"""The page of a printed program: lines of code with comments beside them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

PAGE = 99  # columns
_INDENT = 4


@dataclass
class Page:
    """Lines of a function, in sections; in each, the comments stand in columns beside the code."""

    lines: list[str] = field(default_factory=list)
    _block: list[tuple[str, str, str]] = field(default_factory=list)

    def head(self, text: str, at: str = " ") -> None:
        """Write a comment of its own, broken at ``at`` where it is too long."""
        line = ""
        for part in text.split(at):
            longer = f"{line}{at}{part}" if line else part
            if line and len(longer) > PAGE - _INDENT - 2:
                self._block.append(("", f"{line}{at}".rstrip(), ""))
                longer = part
            line = longer
        self._block.append(("", line, ""))

    def code(self, text: str, first: str = "", second: str = "") -> None:
        """Write a line of code and what stands beside it, in two columns."""
        self._block.append((text, first, second))

    def section(self, title: str) -> None:
        """Begin a section."""
        self.close()
        self.lines += [""] if self.lines else []
        self.lines.append(f"{' ' * _INDENT}# --- {title} ".ljust(PAGE, "-"))

    def close(self) -> None:
        """Lay out the section that is open."""
        column, width = self._columns()
        for code, first, second in self._block:
            if not code:
                self._line(f"# {first}")
            elif not (first or second):
                self._line(code)
            elif _fits(len(code), len(first), len(second), column, width):
                self._line(f"{code.ljust(column)}# {first.ljust(width) if second else first}{second}")
            else:
                self._line(f"# {'   '.join(filter(None, (first, second)))}")
                self._line(code)
        self._block = []

    def _line(self, text: str) -> None:
        self.lines.append(f"{' ' * _INDENT}{text}".rstrip()[:PAGE] if text[:1] == "#" else f"{' ' * _INDENT}{text}")

    def _columns(self) -> tuple[int, int]:
        """Return where comments begin and how wide their first part is, so that most of them stand beside."""
        rows = Counter((len(code), len(one), len(two)) for code, one, two in self._block if code and (one or two))
        columns = {code + 2 for code, _, _ in rows} or {0}
        widths = {first + 3 for _, first, second in rows if second} or {0}

        def beside(column: int, width: int) -> int:
            return sum(count for row, count in rows.items() if _fits(*row, column, width))

        return min(((c, w) for c in columns for w in widths), key=lambda cw: (-beside(*cw), cw))


def _fits(code: int, first: int, second: int, column: int, width: int) -> bool:
    """Return whether comments of these lengths fit beside code of this length."""
    note = width + second if second else first
    return (not second or first + 3 <= width) and code + 2 <= column and _INDENT + column + 2 + note <= PAGE
