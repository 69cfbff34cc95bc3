"""How many of the schemas of jsonschemabench are compiled, in which time, and whether what their grammars write is valid.

usage: jsonschemabench.py DATA WALK [--count 360] [--seed 18] [--walks 2]

DATA is the folder `data` of a checkout of https://github.com/guidance-ai/jsonschemabench (MIT), WALK the program schema_walk.
The sample is drawn from the sorted list of files. Texts are random walks through the masks; the package jsonschema says
whether they are valid, with decimals, so that multipleOf is exact. The exit code is 1 if a text is not valid.
"""
import argparse
import collections
import decimal
import json
import pathlib
import random
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / ".deps" / "python"))
import jsonschema


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("walk")
    parser.add_argument("--count", type=int, default=360)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--walks", type=int, default=2, help="texts of each schema")
    args = parser.parse_args()
    files = sorted(args.data.glob("*/*.json"))
    sample = random.Random(args.seed).sample(files, min(args.count, len(files)))
    walk = subprocess.Popen([args.walk], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    times, reasons = [], collections.Counter()
    compiled = texts = invalid = stuck = unknown = 0
    for path in sample:
        text = path.read_text(encoding="utf-8")
        name = f"{path.parent.name}/{path.name}"
        walk.stdin.write(json.dumps({"schema": text, "walks": args.walks, "seed": args.seed}) + "\n")
        walk.stdin.flush()
        answer = json.loads(walk.stdout.readline())
        times.append(answer["ms"])
        if "error" in answer:
            print(f"refused: {name}: {answer['error']}")
            reasons[re.sub(r"[0-9]+", "N", answer["error"].split(": ", 2)[-1])[:60]] += 1
            continue
        compiled += 1
        for why in answer["stuck"]:
            print(f"stuck: {name}: {why[-200:]}")
        stuck += len(answer["stuck"])
        schema = json.loads(text, parse_float=decimal.Decimal)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        validator = kind(schema, format_checker=kind.FORMAT_CHECKER)
        for one in answer["texts"]:
            try:
                error = next(validator.iter_errors(json.loads(one, parse_float=decimal.Decimal)), None)
            except Exception as failure:  # the validator cannot read the schema: a reference, a pattern of another dialect
                unknown += 1
                print(f"no answer of the validator: {name}: {failure!r:.150}")
                continue
            texts += 1
            if error is not None:
                invalid += 1
                print(f"invalid: {name}: {error.message[:150]}: {one[:200]}")
    times.sort()
    print(f"compiled {compiled} of {len(sample)} ({100 * compiled / len(sample):.1f} %)")
    print(f"compile time: median {times[len(times) // 2]:.1f} ms, 95 % {times[len(times) * 95 // 100]:.1f} ms, most {times[-1]:.1f} ms")
    print(f"texts: {texts}, invalid {invalid}, without an answer of the validator {unknown}; walks that got stuck: {stuck}")
    for reason, count in reasons.most_common():
        print(f"  {count} times {reason}")
    return 1 if invalid else 0


if __name__ == "__main__":
    sys.exit(main())
