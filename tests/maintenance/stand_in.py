"""`python stand_in.py FOLDER NAME`: in place of a task's process; does what FOLDER/NAME.do says."""

import json
import os
import sys
import time
from pathlib import Path

folder, name = Path(sys.argv[1]), sys.argv[2]
told = json.loads(sys.stdin.readline())
with (folder / f"{name}.told").open("a") as file:
    file.write(json.dumps(told) + "\n")
do = folder / f"{name}.do"
words = do.read_text().split() if do.exists() else ["ok"]
match words:
    case ["hang"]:
        print(json.dumps({"progress": 0.25, "text": "hanging"}), flush=True)
        (folder / "pid").write_text(str(os.getpid()))
        time.sleep(600)
    case ["die"]:
        sys.exit(3)
    case ["nonsense"]:
        print("no JSON")
    case [verdict, *rest]:
        rows = [{"what": "stand-in"}]
        print(json.dumps({"verdict": verdict, "summary": " ".join(rest), "rows": rows}), flush=True)
