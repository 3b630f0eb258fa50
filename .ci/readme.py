"""Read the commands and the Python blocks of README.md, so that nothing has to say them twice.

``python .ci/readme.py test`` prints the shell block below ``<!-- command: test -->``.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def command(name: str, text: str) -> str:
    """Return the ```sh block that follows the marker ``<!-- command: name -->``."""
    found = re.findall(rf"<!-- command: {re.escape(name)} -->\s*```sh\n(.*?)```", text, re.DOTALL)
    if len(found) != 1:
        raise SystemExit(f"README.md has {len(found)} blocks marked <!-- command: {name} -->, expected one")
    return found[0].strip()


def python_blocks(text: str) -> list[tuple[int, str]]:
    """Return each ```python block with the number of its first line."""
    blocks = []
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        blocks.append((text.count("\n", 0, match.start(1)) + 1, match[1]))
    return blocks


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    print(command(sys.argv[1], README.read_text(encoding="utf-8")))
