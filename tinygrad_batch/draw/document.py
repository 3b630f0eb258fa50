"""What every page of the package is made with: two themes, a policy that lets nothing in, and a template.

A page asks nothing from any network, and says so to the browser.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from tinygrad_batch.draw.palette import DARK, LIGHT, css


def themes() -> str:
    """Return the style that sets the colours: light, dark where the system asks for it, or what the reader chose.

    Examples
    --------
    >>> themes().startswith(":root{color-scheme:light;")
    True
    """
    dark = css(DARK)
    return (
        f":root{{color-scheme:light;{css(LIGHT)}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def filled(template: str, style: str, script: str, content: Mapping[str, str]) -> str:
    """Return a template with its places ``@@NAME@@`` filled; those of the policy, the style and the script, too.

    The policy allows this one style and this one script, by their hashes, and no address.

    Examples
    --------
    >>> filled("<style>@@STYLE@@</style><p>@@WORDS@@</p>", "p{}", "", {"WORDS": "@@STYLE@@"})
    '<style>p{}</style><p>@@STYLE@@</p>'
    """
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"POLICY": policy, "STYLE": style, "SCRIPT": script, **content}
    # Split, not replaced one after the other: the text of one part must not be taken for a place of the next.
    pieces = template.split("@@")
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
