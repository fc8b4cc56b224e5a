#!/usr/bin/env python3
"""Builds the runner, sends it cases whose results are known and checks them; `--bench` measures cases a second.

Usage: test.py [--bench]. Needs aarch64-linux-gnu-gcc and, on a host that is not AArch64, qemu-aarch64.
"""
import os
import platform
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MEMORY, MEMORY_SIZE, SLOTS, ISOLATED_PC = 0x100000000, 0x2000, 0x200000000, 0x300200000
ISOLATED, CLEAN = 1, 2
SIGILL, SIGTRAP, SIGBUS, SIGSEGV, SIGALRM = 4, 5, 7, 11, 14
CASE = struct.Struct("<4I 31Q Q QQQQ 512s 256s")
RESULT = struct.Struct("<Ii QQQ 31Q Q QQQQ 512s 256s")
assert CASE.size == 1072 and RESULT.size == 1088
# Every register different, upper and lower halves too.
X = [0x0101010101010101 * (n + 1) ^ 0x8000000000000000 for n in range(31)]
V = bytes((7 * n + 3) & 0xFF for n in range(512))
WINDOW = bytes((5 * n + 1) & 0xFF for n in range(256))


def case(insn, insn2=0, flags=0, offset=0, x=None, sp=0x1234567890ABCDE0, nzcv=0x60000000, fpcr=0, fpsr=0, v=V, window=WINDOW):
    regs = list(X)
    for n, value in (x or {}).items():
        regs[n] = value & (1 << 64) - 1
    return CASE.pack(insn, insn2, flags, offset, *regs, sp, nzcv, fpcr, fpsr, 0, v, window)


def result(data):
    f = RESULT.unpack(data)
    names = ("signal", "si_code", "fault_address", "pc_start", "pc")
    r = dict(zip(names, f))
    r.update({f"x{n}": f[5 + n] for n in range(31)})
    r.update(zip(("sp", "nzcv", "fpcr", "fpsr", "reserved", "v", "window"), f[36:]))
    return r


def unchanged():
    r = {f"x{n}": X[n] for n in range(31)}
    r.update(signal=0, fault_address=0, sp=0x1234567890ABCDE0, nzcv=0x60000000, fpcr=0, fpsr=0, v=V, window=WINDOW)
    return r


def q(value, register=0):
    return V[: 16 * register] + value.to_bytes(16, "little") + V[16 * register + 16 :]


BASE = MEMORY + 128
END = MEMORY + MEMORY_SIZE
# (name, case, what differs from the input state)
CASES = [
    ("nop", case(0xD503201F), {}),
    ("add x1, x2, x3", case(0x8B030041), {"x1": (X[2] + X[3]) & (1 << 64) - 1}),
    ("adds x30, x29, x18", case(0xAB1203BE), {"x30": (X[29] + X[18]) & (1 << 64) - 1, "nzcv": 0x30000000}),
    ("mov x18, x30", case(0xAA1E03F2), {"x18": X[30]}),
    ("add sp, sp, #16", case(0x910043FF), {"sp": 0x1234567890ABCDF0}),
    ("add sp, x29, #0", case(0x910003BF), {"sp": X[29]}),
    ("mrs x0, nzcv", case(0xD53B4200), {"x0": 0x60000000}),
    ("ldr x0, [x1]", case(0xF9400020, x={1: BASE}, offset=128), {"x1": BASE, "x0": int.from_bytes(WINDOW[:8], "little")}),
    (
        "str x2, [x1], #8",
        case(0xF8008422, x={1: END - 8}, offset=MEMORY_SIZE - 256),
        {"x1": END, "window": WINDOW[:248] + X[2].to_bytes(8, "little")},
    ),
    ("the window does not outlive its case: ldr x0, [x1]", case(0xF9400020, x={1: END - 512}, flags=CLEAN), {"x1": END - 512, "x0": 0}),
    ("ldr x0, [x1, #8]!: unmapped", case(0xF8408C20, x={1: END - 8}), {"x1": END - 8, "signal": SIGSEGV, "fault_address": END}),
    (
        "ldp x5, x6, [x1], #16: second half unmapped",
        case(0xA8C11825, x={1: END - 8}),
        {"x1": END - 8, "signal": SIGSEGV, "fault_address": END},
    ),
    ("str x0, [sp]: unmapped", case(0xF90003E0, sp=0x40), {"sp": 0x40, "signal": SIGSEGV, "fault_address": 0x40}),
    ("ldxr unaligned", case(0xC85F7C20, x={1: BASE + 1}), {"x1": BASE + 1, "signal": SIGBUS}),
    ("udf #0", case(0), {"signal": SIGILL}),
    ("unallocated", case(0xFFFFFFFF), {"signal": SIGILL}),
    ("brk #7", case(0xD42000E0), {"signal": SIGTRAP}),
    ("fadd d0, d1, d2", case(0x1E622820, v=q(0) [:16] + struct.pack("<dQdQ", 1.5, 0, 0.25, 0) + V[48:]),
     {"v": struct.pack("<dQdQdQ", 1.75, 0, 1.5, 0, 0.25, 0) + V[48:]}),
    ("fdiv d0, d1, d2, to minus infinity, inexact", case(0x1E621820, v=V[:16] + struct.pack("<dQdQ", 1, 0, 3, 0) + V[48:], fpcr=2 << 22, fpsr=1 << 27),
     {"v": struct.pack("<QQdQdQ", 0x3FD5555555555555, 0, 1, 0, 3, 0) + V[48:], "fpcr": 2 << 22, "fpsr": 1 << 27 | 1 << 4}),
    ("mov v31.16b, v30.16b", case(0x4EBE1FDF), {"v": V[:496] + V[480:496]}),
    ("orr v0.16b, v8.16b, v8.16b", case(0x4EA81D00), {"v": V[128:144] + V[16:]}),
    ("two instructions: mov x0, x1; mov x1, x2", case(0xAA0103E0, 0xAA0203E1), {"x0": X[1], "x1": X[2], "pc delta": 8}),
    (
        "ldxr x0, [x1]; stxr w2, x3, [x1]",
        case(0xC85F7C20, 0xC8027C23, x={1: MEMORY}),
        {"x0": int.from_bytes(WINDOW[:8], "little"), "x1": MEMORY, "x2": 0, "window": X[3].to_bytes(8, "little") + WINDOW[8:], "pc delta": 8},
    ),
    ("stxr alone fails", case(0xC8027C23, x={1: MEMORY}), {"x1": MEMORY, "x2": 1}),
    ("isolated: nop", case(0xD503201F, flags=ISOLATED), {"signal": SIGTRAP}),
    ("isolated: b +0x1000", case(0x14000400, flags=ISOLATED), {"signal": SIGTRAP, "pc delta": 0x1000}),
    ("isolated: b.eq -0x100000", case(0x54800000, flags=ISOLATED), {"signal": SIGTRAP, "pc delta": -0x100000}),
    ("isolated: b.ne, not taken", case(0x54800001, flags=ISOLATED), {"signal": SIGTRAP, "pc delta": 4}),
    ("isolated: bl +8", case(0x94000002, flags=ISOLATED), {"signal": SIGTRAP, "pc delta": 8, "x30": ISOLATED_PC + 4}),
    ("isolated: blr x30", case(0xD63F03C0, flags=ISOLATED, x={30: ISOLATED_PC + 64}), {"signal": SIGTRAP, "pc delta": 64, "x30": ISOLATED_PC + 4}),
    ("isolated: br to nowhere", case(0xD61F0000, flags=ISOLATED, x={0: 0x50000}), {"signal": SIGSEGV, "x0": 0x50000, "pc": 0x50000, "fault_address": 0x50000}),
    ("isolated: b +0x7fffffc", case(0x15FFFFFF, flags=ISOLATED), {"signal": SIGSEGV, "pc delta": 0x7FFFFFC, "fault_address": ISOLATED_PC + 0x7FFFFFC}),
    ("isolated: adr x0, .+0x1234", case(0x100091A0, flags=ISOLATED), {"signal": SIGTRAP, "x0": ISOLATED_PC + 0x1234}),
    ("isolated: ldr x0, .-0x100000", case(0x58800000, flags=ISOLATED), {"signal": SIGTRAP, "x0": 0xD4200000D4200000}),
]
HANG = ("isolated: b .", case(0x14000000, flags=ISOLATED), {"signal": SIGALRM, "pc delta": 0})


def build(directory):
    out = os.path.join(directory, "runner")
    sources = [os.path.join(HERE, name) for name in ("runner.c", "enter.S")]
    subprocess.run(["aarch64-linux-gnu-gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-no-pie", "-o", out, *sources], check=True)
    return [out] if platform.machine() == "aarch64" else ["qemu-aarch64", "-cpu", "max,sve=off,sme=off", out]


def check(command, cases):
    run = subprocess.run(command, input=b"".join(c for _, c, _ in cases), capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout) == RESULT.size * len(cases), len(run.stdout)
    failed, slot, previous = 0, 0, None
    for number, (name, sent, changes) in enumerate(cases):
        got = result(run.stdout[number * RESULT.size :][: RESULT.size])
        want = unchanged()
        isolated = CASE.unpack(sent)[2] & ISOLATED
        if not isolated:
            slot += previous not in (None, sent[:8])
            previous = sent[:8]
        want["pc_start"] = ISOLATED_PC if isolated else SLOTS + 16 * (slot % 1024) + 4
        changes = dict(changes)
        stopped = changes.get("signal", 0) and not isolated
        want["pc"] = want["pc_start"] + changes.pop("pc delta", 0 if stopped else 4)
        if changes.get("signal", 0) in (SIGILL, SIGTRAP):
            want["fault_address"] = want["pc"]
        if changes.get("signal", 0) == SIGBUS:
            del want["fault_address"]
        want.update(changes)
        wrong = {k: (got[k], v) for k, v in want.items() if got[k] != v}
        if wrong:
            failed += 1
            print(f"FAIL {name}")
            for key, (is_, should) in wrong.items():
                print(f"  {key}: {is_:#x}, expected {should:#x}" if isinstance(is_, int) else f"  {key}: {is_.hex()}\n    expected {should.hex()}")
    return failed


def bench(command, directory):
    def rate(what, cases):
        path = os.path.join(directory, "cases")
        with open(path, "wb") as f:
            f.writelines(cases)
        with open(path, "rb") as stdin, open(os.devnull, "wb") as stdout:
            begin = time.monotonic()
            subprocess.run(command, stdin=stdin, stdout=stdout, check=True)
            elapsed = time.monotonic() - begin
        print(f"{what}: {len(cases) / elapsed:,.0f} cases/s")

    rate("add, 30 different encodings in turn", [case(0x8B030040 | n % 1024 % 30) for n in range(200000)])
    rate("add, never twice the same in a slot", [case(0x8B000000 | n % 31 | n // 31 % 31 << 5 | n // 961 % 31 << 16) for n in range(200000)])
    rate("add, 16 states for each encoding", [case(0x8B000000 | n // 16 % 31 | n // 496 % 31 << 5 | n // 15376 % 31 << 16) for n in range(200000)])
    rate("ldr", [case(0xF9400020, x={1: BASE}) for n in range(200000)])
    rate("isolated add", [case(0x8B030041, flags=ISOLATED) for n in range(20000)])
    rate("faulting ldr", [case(0xF9400020, x={1: END}) for n in range(20000)])


def main():
    with tempfile.TemporaryDirectory() as directory:
        command = build(directory)
        if "--bench" in sys.argv:
            return bench(command, directory)
        # Also in an order in which every slot changes its instruction, over more than one batch.
        many = [CASES[(n + n // 1024) % len(CASES)] for n in range(5000)]
        failed = check(command, CASES) + check(command, many) + check(command, [HANG] + CASES[:2])
        print(f"{len(CASES) + len(many) + 3} cases, {failed} failed")
        return failed != 0


if __name__ == "__main__":
    sys.exit(main())
