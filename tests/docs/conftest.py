import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / ".ci"))  # the one reader of the README's blocks
sys.path.insert(0, str(ROOT / "docs" / "_extensions"))
