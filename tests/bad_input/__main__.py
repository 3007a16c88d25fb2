"""How many ways there are of each kind: `python -m tests.bad_input`."""

from collections import Counter

from tests.bad_input.catalogue import all_ways

if __name__ == "__main__":
    counts = Counter(way.kind for way in all_ways())
    for kind, count in counts.items():
        print(f"{count:5}  {kind}")
    print(f"{counts.total():5}  in all")
