"""The programs in this folder are run by the interpreter that has their client, and imported by nobody."""

from pathlib import Path

collect_ignore = [path.name for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("test_")]
