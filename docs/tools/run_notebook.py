"""Run the cells of a notebook, without Jupyter, and print what each shows.

    .venv/bin/python -m docs.tools.run_notebook docs/quickstart.ipynb

Like Jupyter it runs them in the folder of the notebook, and shows the value of a cell's last expression.
"""

import ast
import json
import os
import sys
from pathlib import Path
from typing import Any


def run(notebook: Path) -> None:
    """Run every code cell, in order, with the same names."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    os.chdir(notebook.absolute().parent)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells, start=1):
        if cell["cell_type"] == "code":
            shown = _execute("".join(cell["source"]), f"{notebook.name}, cell {number}", names)
            if shown is not None:
                print(shown)


def _execute(code: str, place: str, names: dict[str, Any]) -> Any:
    """The value of the last line, where that is an expression."""
    *statements, last = ast.parse(code, place).body
    if not isinstance(last, ast.Expr):
        statements, last = [*statements, last], ast.Expr(ast.Constant(None))
    exec(compile(ast.Module(statements, []), place, "exec"), names)  # noqa: S102 - to run them is what it is for
    return eval(compile(ast.Expression(ast.fix_missing_locations(last).value), place, "eval"), names)  # noqa: S307


if __name__ == "__main__":
    run(Path(sys.argv[1]))
