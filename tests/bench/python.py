"""The row `python`: N rounds of what Python programs do; prints what it has computed."""
import collections
import json
import random
import re
import string
import sys


class Account:
    def __init__(self, owner, balance):
        self.owner, self.balance, self.history = owner, balance, []

    def move(self, other, amount):
        if amount > self.balance:
            raise ValueError(f"{self.owner} has only {self.balance}")
        self.balance -= amount
        other.balance += amount
        self.history.append((other.owner, amount))


def accounts(rng):
    people = [Account(f"p{i}", 1000) for i in range(50)]
    refused = 0
    for _ in range(1500):
        a, b = rng.choice(people), rng.choice(people)
        try:
            a.move(b, rng.randrange(400))
        except ValueError:
            refused += 1
    return refused, sorted(len(person.history) for person in people)[25]


def words(rng):
    text = " ".join("".join(rng.choice(string.ascii_lowercase[:6]) for _ in range(rng.randrange(2, 6))) for _ in range(800))
    counts = collections.Counter(re.findall(r"\b[a-c]\w+", text))
    best = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]
    return json.loads(json.dumps(best)), len(re.sub(r"([aeiou])\1", r"\1", text))


def queens(n, row=0, columns=0, left=0, right=0):
    if row == n:
        return 1
    found, free = 0, ~(columns | left | right) & ((1 << n) - 1)
    while free:
        bit = free & -free
        free ^= bit
        found += queens(n, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)
    return found


def primes(limit):
    composite = bytearray(limit)
    for i in range(2, limit):
        if not composite[i]:
            yield i
            for j in range(i * i, limit, i):
                composite[j] = 1


def floats(steps):
    x, y = 0.1, 0.0
    total = 0.0
    for i in range(steps):
        x, y = 1.0 - 1.4 * x * x + y, 0.3 * x
        total += x / (i + 1.5)
    return round(total, 9)


for number in range(int(sys.argv[1])):
    rng = random.Random(number)
    matrix = [[(i * j + number) % 10 for j in range(24)] for i in range(24)]
    product = [[sum(a * b for a, b in zip(row, column)) for column in zip(*matrix)] for row in matrix]
    print(number, accounts(rng), words(rng), queens(6), sum(primes(4000)), floats(4000), sum(map(sum, product)))
    print(hash(tuple(sorted({i * 7919 % 1009: str(i) for i in range(2000)}))) % 1000003)
