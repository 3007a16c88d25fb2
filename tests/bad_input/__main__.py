"""How many wrong inputs there are of each kind: `python -m tests.bad_input`."""

from collections import Counter

from tests.bad_input.catalogue import all_wrong_inputs

if __name__ == "__main__":
    counts = Counter(wrong_input.kind for wrong_input in all_wrong_inputs())
    for kind, count in counts.items():
        print(f"{count:5}  {kind}")
    print(f"{counts.total():5}  in all")
