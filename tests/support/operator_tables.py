"""The README's lists of operators that are read, made from the tables that read them.

    python tests/support/operator_tables.py [--update-readme]

Prints them, or writes each between `<!-- operators: FORMAT -->` and `<!-- end of operators -->`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def operator_list(form: str) -> str:
    """One format's operators as markdown: a folded list, those with limits in a table."""
    from ellc.support import NAMES, supported

    rows = supported(form)
    whole = ", ".join(f"`{r.operator}`" for r in rows if not r.limits)
    lines = [f"<details><summary>{NAMES[form]}: {len(rows)} operators</summary>", "", whole, ""]
    limited: dict[str, list[str]] = {}
    for row in rows:
        if row.limits:
            limited.setdefault(row.limits, []).append(f"`{row.operator}`")
    if limited:
        lines += ["| with limits | which |", "| --- | --- |"]
        lines += [f"| {', '.join(names)} | {limits} |" for limits, names in limited.items()]
        lines.append("")
    return "\n".join([*lines, "</details>"])


def updated(page: str) -> str:
    """The page with every list as it should be; raises `ValueError` if one has no place there."""
    from ellc.support import FORMATS

    for form in FORMATS:
        begin = f"<!-- operators: {form} -->"
        pattern = re.compile(re.escape(begin) + r".*?<!-- end of operators -->", re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"no {begin} ... <!-- end of operators -->")
        text = f"{begin}\n\n{operator_list(form)}\n\n<!-- end of operators -->"
        page = pattern.sub(lambda _, text=text: text, page)
    return page


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    readme = ROOT / "README.md"
    if sys.argv[1:] == ["--update-readme"]:
        readme.write_text(updated(readme.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        from ellc.support import FORMATS

        print("\n\n".join(operator_list(form) for form in FORMATS))
