"""Two hundred random corruptions of a cache, each checked, repaired and trained on: `python corruptions.py [COUNT]`.

The suite does the first few of each kind; see `tests/latents/corruptions.py`. Prints a line for each kind and ends
with code 1 if any corruption went unnamed, was not mended to the byte, or was used in silence.
"""

import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "latents"))

from corruptions import KINDS, Patient


def main(count: int) -> int:
    failures, begin = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        patient = Patient(Path(folder))
        done = dict.fromkeys(KINDS, 0)
        for number in range(count):
            damage = KINDS[number % len(KINDS)]
            try:
                patient.suffer(damage, 1000 + number)
                done[damage] += 1
            except Exception:
                failures += 1
                print(f"{damage.__name__}, number {number}:")
                traceback.print_exc(file=sys.stdout)
        for damage, good in done.items():
            print(f"{damage.__name__:26} {good} named, mended, never used in silence")
    print(f"{count - failures} of {count} in {time.monotonic() - begin:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
