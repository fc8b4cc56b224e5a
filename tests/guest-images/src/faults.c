// Faults in the middle of straight-line code: ESR_EL1, FAR_EL1, ELR_EL1, PSTATE and every register are exact.
#include "guest.h"

// The window: data pages, each followed by something that faults.
enum {
    DATA = 0, // 16 pages
    HOLE = 16,
    READ_ONLY = 17,
    DATA_BEFORE_READ_ONLY_END = 18,
    DEVICE = 19,
    NO_ACCESS_FLAG = 20,
    NO_EXECUTE = 21,
    DATA_BEFORE_HOLE = 22,
    HOLE_2 = 23,
    CODE = 24,
    CODE_HOLE = 25,
    DATA_BEFORE_READ_ONLY = 26,
    READ_ONLY_2 = 27,
};
#define AT(page) (WINDOW + 4096ull * (page))
#define ROUNDS 50

static u8 backing[28 * 4096] __attribute__((aligned(4096)));
static struct frame resume, start, result;
void read_v0(u64 q[2]), write_v0(const u64 q[2]);

// SVC #0 enters `start`; SVC #1 and any fault end the run and continue after SVC #0.
static void handler(struct frame *f)
{
    if (f->esr == (0x56000000 | 0)) {
        resume = *f;
        u64 esr = f->esr, far = f->far;
        *f = start;
        f->esr = esr, f->far = far;
    } else {
        result = *f;
        *f = resume;
    }
}

static void run(void)
{
    __asm__ volatile("svc #0" ::: "memory", "cc");
}

static void prepare(const u32 *code, u64 base)
{
    for (u32 i = 0; i < 31; i++)
        start.x[i] = 0x1111111111111111ull * (i % 15 + 1) + i;
    start.x[10] = base;
    start.x[11] = base - 8 * 0x21; // LDR (register): x11 + (x12 << 3)
    start.x[12] = 0x21;
    start.sp = base;
    start.elr = (u64)code;
    start.spsr = 0x3c4 | 0x6ull << 28; // EL1t, masked, Z and C set
}

// Registers as they are when `executed` instructions of a case have run.
static bool registers_are(u32 executed)
{
    struct frame e = start;
    if (executed > 0)
        e.x[1] += 1;
    if (executed > 1)
        e.x[2] ^= e.x[1];
    bool ok = result.sp == e.sp && result.spsr == e.spsr;
    for (u32 i = 0; i < 31; i++)
        ok &= result.x[i] == e.x[i];
    return ok;
}

enum { WRITE = 1 << 6, TRANSLATION_1 = 5, TRANSLATION_3 = 7, ACCESS_3 = 0xb, PERMISSION_3 = 0xf, ALIGNMENT = 0x21 };
#define DATA_ABORT 0x96000000ull
#define INSTRUCTION_ABORT 0x86000000ull

static void report(bool ok, const char *name, u64 esr, u64 far, u64 elr)
{
    check(ok, name);
    if (!ok) {
        print("  ESR_EL1 %08lx, expected %08lx; FAR_EL1 %lx, expected %lx; ELR_EL1 %lx, expected %lx; SPSR_EL1 %lx\n",
              result.esr, esr, result.far, far, result.elr, elr, result.spsr);
        for (u32 i = 0; i < 31; i++)
            if (result.x[i] != start.x[i])
                print("  x%u %lx, before %lx\n", i, result.x[i], start.x[i]);
    }
}

// The case with its base at `base` faults at `far`; run often, between runs at `good`, where it does not fault.
static void faults(const char *name, const u32 *code, u64 good, u64 base, u64 iss, u64 far)
{
    const u64 v0[2] = {0x0123456789abcdef, 0xfedcba9876543210};
    bool ok = true;
    u64 q[2];
    for (u32 i = 0; i < ROUNDS && ok; i++) {
        prepare(code, good);
        run();
        ok &= result.esr == 0x56000001 && result.elr == (u64)(code + 5) && result.x[3] == start.x[3] + 1;
        prepare(code, base);
        write_v0(v0);
        run();
        read_v0(q);
        ok &= result.esr == (DATA_ABORT | iss) && result.far == far && result.elr == (u64)(code + 2) && registers_are(2) &&
              q[0] == v0[0] && q[1] == v0[1];
    }
    report(ok, name, DATA_ABORT | iss, far, (u64)(code + 2));
}

#define CASE(name) extern const u32 code_##name[];
CASE(ldr) CASE(ldr_w) CASE(ldrb) CASE(ldrsh) CASE(ldr_pre) CASE(ldr_post) CASE(ldr_reg) CASE(ldr_base) CASE(ldr_sp_pre)
CASE(ldp) CASE(ldp_pre) CASE(ldp_post) CASE(ldp_base) CASE(ldpsw) CASE(str) CASE(strb) CASE(str_pre) CASE(str_post) CASE(stp)
CASE(stp_pre) CASE(stp_post) CASE(ldr_q) CASE(str_q) CASE(ldp_q) CASE(ld1_4) CASE(ldxr) CASE(ldar) CASE(dc_zva) CASE(br)
extern const u32 walk_load[], walk_load_site[], walk_store[], walk_store_site[];
#define FAULTS(what, name, base, iss, far) faults(#name ": " what, code_##name, AT(DATA) + 64, base, iss, far)

static void translation(void)
{
    const u64 hole = AT(HOLE) + 64;
    FAULTS("translation fault", ldr, hole, TRANSLATION_3, hole);
    FAULTS("translation fault", ldr_w, hole, TRANSLATION_3, hole);
    FAULTS("translation fault", ldrb, hole + 1, TRANSLATION_3, hole + 1);
    FAULTS("translation fault", ldrsh, hole, TRANSLATION_3, hole);
    FAULTS("translation fault, no writeback", ldr_pre, hole, TRANSLATION_3, hole + 8);
    FAULTS("translation fault, no writeback", ldr_post, hole, TRANSLATION_3, hole);
    FAULTS("translation fault", ldr_reg, hole, TRANSLATION_3, hole);
    FAULTS("translation fault, base intact", ldr_base, hole, TRANSLATION_3, hole);
    FAULTS("translation fault, SP intact", ldr_sp_pre, hole, TRANSLATION_3, hole - 16);
    FAULTS("translation fault", ldp, hole, TRANSLATION_3, hole);
    FAULTS("translation fault, no writeback", ldp_pre, hole, TRANSLATION_3, hole + 16);
    FAULTS("translation fault, no writeback", ldp_post, hole, TRANSLATION_3, hole);
    FAULTS("translation fault", str, hole, WRITE | TRANSLATION_3, hole);
    FAULTS("translation fault", strb, hole + 3, WRITE | TRANSLATION_3, hole + 3);
    FAULTS("translation fault, no writeback", str_pre, hole, WRITE | TRANSLATION_3, hole + 8);
    FAULTS("translation fault, no writeback", str_post, hole, WRITE | TRANSLATION_3, hole);
    FAULTS("translation fault", stp, hole, WRITE | TRANSLATION_3, hole);
    FAULTS("translation fault, no writeback", stp_pre, hole, WRITE | TRANSLATION_3, hole - 16);
    FAULTS("translation fault, no writeback", stp_post, hole, WRITE | TRANSLATION_3, hole);
    FAULTS("translation fault", ldr_q, hole, TRANSLATION_3, hole);
    FAULTS("translation fault", str_q, hole, WRITE | TRANSLATION_3, hole);
    FAULTS("translation fault", ldar, hole, TRANSLATION_3, hole);
    FAULTS("translation fault", ldxr, hole, TRANSLATION_3, hole);
    // ISS.CM stays 0: DC ZVA is not a cache maintenance instruction (Arm ARM "ESR_EL1", ISS of a Data Abort).
    FAULTS("translation fault", dc_zva, hole, WRITE | TRANSLATION_3, hole);
    FAULTS("translation fault at level 1", ldr, 0x7000000000, TRANSLATION_1, 0x7000000000);
    FAULTS("access flag fault", ldr, AT(NO_ACCESS_FLAG), ACCESS_3, AT(NO_ACCESS_FLAG));
}

static void permission(void)
{
    const u64 page = AT(READ_ONLY) + 64;
    FAULTS("permission fault", str, page, WRITE | PERMISSION_3, page);
    FAULTS("permission fault", strb, page + 7, WRITE | PERMISSION_3, page + 7);
    FAULTS("permission fault, no writeback", str_pre, page, WRITE | PERMISSION_3, page + 8);
    FAULTS("permission fault, no writeback", str_post, page, WRITE | PERMISSION_3, page);
    FAULTS("permission fault", stp, page, WRITE | PERMISSION_3, page);
    FAULTS("permission fault, no writeback", stp_post, page, WRITE | PERMISSION_3, page);
    FAULTS("permission fault", str_q, page, WRITE | PERMISSION_3, page);
}

// The second part of the access is in the hole: FAR_EL1 is the first byte there.
static void crossing(void)
{
    const u64 hole = AT(HOLE_2), read_only = AT(READ_ONLY_2);
    FAULTS("unaligned, into a hole", ldr, hole - 3, TRANSLATION_3, hole);
    FAULTS("unaligned, into a hole", ldr_w, hole - 1, TRANSLATION_3, hole);
    FAULTS("unaligned, into a hole, no writeback", ldr_post, hole - 4, TRANSLATION_3, hole);
    FAULTS("unaligned, into a hole, no writeback", ldr_pre, hole - 15, TRANSLATION_3, hole);
    FAULTS("unaligned, into a hole, no writeback", str_post, hole - 4, WRITE | TRANSLATION_3, hole);
    FAULTS("unaligned, into a hole", str, hole - 1, WRITE | TRANSLATION_3, hole);
    FAULTS("pair, second register in a hole", ldp, hole - 8, TRANSLATION_3, hole);
    FAULTS("pair, second register in a hole, no writeback", ldp_post, hole - 8, TRANSLATION_3, hole);
    FAULTS("pair, second register in a hole, no writeback", ldp_pre, hole - 24, TRANSLATION_3, hole);
    FAULTS("pair, second register in a hole, base intact", ldp_base, hole - 8, TRANSLATION_3, hole);
    FAULTS("pair, second register in a hole", ldpsw, hole - 4, TRANSLATION_3, hole);
    FAULTS("pair, second register in a hole", stp, hole - 8, WRITE | TRANSLATION_3, hole);
    FAULTS("pair, second register in a hole, no writeback", stp_post, hole - 8, WRITE | TRANSLATION_3, hole);
    FAULTS("pair, second register in a hole, no writeback", stp_pre, hole + 8, WRITE | TRANSLATION_3, hole);
    FAULTS("unaligned pair, into a hole", ldp, hole - 5, TRANSLATION_3, hole);
    FAULTS("pair, into a read-only page", stp_post, read_only - 8, WRITE | PERMISSION_3, read_only);
    FAULTS("unaligned, into a read-only page", str_post, read_only - 3, WRITE | PERMISSION_3, read_only);
    FAULTS("unaligned, into a hole", ldr_q, hole - 9, TRANSLATION_3, hole);
    FAULTS("unaligned, into a hole", str_q, hole - 9, WRITE | TRANSLATION_3, hole);
}

// The store that faults must not have happened on the page before it, if it is one access of at most 8 bytes.
static void torn_store(void)
{
    u8 *last = backing + 4096 * (DATA_BEFORE_HOLE + 1) - 8;
    for (u32 i = 0; i < 8; i++)
        last[i] = 0x5a;
    FAULTS("unaligned, into a hole, again", str, AT(HOLE_2) - 4, WRITE | TRANSLATION_3, AT(HOLE_2));
    u32 written = 0;
    for (u32 i = 0; i < 8; i++)
        written += last[i] != 0x5a;
    // Arm ARM B2.2.1: an unaligned store is single-copy atomic byte by byte only, so this is information, not a verdict.
    print("INFO bytes written before the fault: %u\n", written);
}

static void alignment(void)
{
    const u64 data = AT(DATA) + 64;
    FAULTS("exclusive, unaligned", ldxr, data + 4, ALIGNMENT, data + 4);

    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) | 2);
    isb();
    FAULTS("SCTLR_EL1.A", ldr, data + 1, ALIGNMENT, data + 1);
    FAULTS("SCTLR_EL1.A", ldr_w, data + 2, ALIGNMENT, data + 2);
    FAULTS("SCTLR_EL1.A", ldrsh, data + 1, ALIGNMENT, data + 1);
    FAULTS("SCTLR_EL1.A", str, data + 4, WRITE | ALIGNMENT, data + 4);
    FAULTS("SCTLR_EL1.A, no writeback", ldr_post, data + 4, ALIGNMENT, data + 4);
    FAULTS("SCTLR_EL1.A, no writeback", str_pre, data + 1, WRITE | ALIGNMENT, data + 9);
    FAULTS("SCTLR_EL1.A, aligned to the register only", ldp, data + 4, ALIGNMENT, data + 4);
    FAULTS("SCTLR_EL1.A, no writeback", stp_post, data + 4, WRITE | ALIGNMENT, data + 4);
    // Arm ARM D1: the alignment fault of SCTLR_EL1.A has priority over translation faults.
    FAULTS("SCTLR_EL1.A before translation", ldr, AT(HOLE) + 1, ALIGNMENT, AT(HOLE) + 1);
    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) & ~2ull);
    isb();
    prepare(code_ldr, data + 1);
    run();
    check(result.esr == 0x56000001, "ldr: unaligned is allowed with SCTLR_EL1.A clear");

    prepare(code_ldr, AT(DEVICE) + 1);
    run();
    if (result.esr == 0x56000001) {
        print("SKIP Device memory: this machine allows unaligned accesses to it\n");
    } else {
        FAULTS("Device memory, unaligned", ldr, AT(DEVICE) + 1, ALIGNMENT, AT(DEVICE) + 1);
        FAULTS("Device memory, unaligned", str, AT(DEVICE) + 4, WRITE | ALIGNMENT, AT(DEVICE) + 4);
        FAULTS("Device memory, unaligned, no writeback", ldp_post, AT(DEVICE) + 4, ALIGNMENT, AT(DEVICE) + 4);
    }
}

static void instruction(void)
{
    struct {
        const char *name;
        u64 target, esr;
    } rows[4];
    rows[0].name = "br: instruction abort, translation", rows[0].target = AT(HOLE) + 16;
    rows[0].esr = INSTRUCTION_ABORT | TRANSLATION_3;
    rows[1].name = "br: instruction abort, permission", rows[1].target = AT(NO_EXECUTE) + 16;
    rows[1].esr = INSTRUCTION_ABORT | PERMISSION_3;
    rows[2].name = "br: instruction abort, access flag", rows[2].target = AT(NO_ACCESS_FLAG) + 16;
    rows[2].esr = INSTRUCTION_ABORT | ACCESS_3;
    rows[3].name = "br: PC alignment fault", rows[3].target = AT(DATA) + 2, rows[3].esr = 0x8a000000;
    // With FEAT_BTI, a BR that is not in a guarded page leaves PSTATE.BTYPE = 0b01.
    const u64 btype = read_sysreg(id_aa64pfr1_el1) & 0xf ? 1 << 10 : 0;
    for (u32 i = 0; i < 4; i++) {
        prepare(code_br, rows[i].target);
        run();
        start.spsr |= btype;
        report(result.esr == rows[i].esr && result.far == rows[i].target && result.elr == rows[i].target && registers_are(2),
               rows[i].name, rows[i].esr, rows[i].target, rows[i].target);
    }

    // Straight-line code that runs off its page: the instructions before the hole have their effect.
    u32 *code = (u32 *)(backing + 4096 * (CODE + 1)) - 2;
    code[0] = code_ldr[0];
    code[1] = code_ldr[1];
    sync_code(code, 8);
    bool ok = true;
    for (u32 i = 0; i < ROUNDS; i++) {
        prepare((u32 *)(AT(CODE_HOLE) - 8), 0);
        run();
        ok &= result.esr == (INSTRUCTION_ABORT | TRANSLATION_3) && result.far == AT(CODE_HOLE) &&
              result.elr == AT(CODE_HOLE) && registers_are(2);
    }
    report(ok, "code runs into a hole", INSTRUCTION_ABORT | TRANSLATION_3, AT(CODE_HOLE), AT(CODE_HOLE));

    // An undefined instruction and BRK between others.
    code[0] = code_ldr[0];
    code[1] = 0;
    sync_code(code, 8);
    prepare((u32 *)(AT(CODE_HOLE) - 8), 0);
    run();
    report(result.esr == 0x02000000 && result.elr == AT(CODE_HOLE) - 4 && registers_are(1), "undefined instruction", 0x02000000,
           result.far, AT(CODE_HOLE) - 4);
    code[1] = 0xd4200000 | 0x1234 << 5;
    sync_code(code, 8);
    prepare((u32 *)(AT(CODE_HOLE) - 8), 0);
    run();
    report(result.esr == 0xf2001234 && result.elr == AT(CODE_HOLE) - 4 && registers_are(1), "breakpoint instruction", 0xf2001234,
           result.far, AT(CODE_HOLE) - 4);
}

// A hot loop runs into the hole.
static void walk(void)
{
    const u64 count = 16 * 4096 / 8;
    u64 *data = (u64 *)backing, sum = 0;
    for (u64 i = 0; i < count; i++)
        sum += data[i] = i * i + 7;
    for (u32 round = 0; round < 3; round++) {
        prepare(walk_load, AT(DATA));
        start.x[1] = start.x[3] = 0;
        run();
        u64 x5 = data[count - 1];
        bool ok = result.esr == (DATA_ABORT | TRANSLATION_3) && result.far == AT(HOLE) && result.elr == (u64)walk_load_site &&
                  result.x[1] == count + 1 && result.x[3] == sum && result.x[5] == x5 && result.x[10] == AT(HOLE);
        report(ok, "hot load loop into a hole", DATA_ABORT | TRANSLATION_3, AT(HOLE), (u64)walk_load_site);
    }
    for (u32 round = 0; round < 3; round++) {
        prepare(walk_store, AT(DATA));
        start.x[1] = start.x[3] = 1000 * round;
        run();
        bool ok = result.esr == (DATA_ABORT | WRITE | TRANSLATION_3) && result.far == AT(HOLE) &&
                  result.elr == (u64)walk_store_site && result.x[1] == 1000 * round + count + 1 &&
                  result.x[3] == 1000 * round + count && result.x[10] == AT(HOLE);
        for (u64 i = 0; i < count; i++)
            ok &= data[i] == 1000 * round + i + 1;
        report(ok, "hot store loop into a hole", DATA_ABORT | WRITE | TRANSLATION_3, AT(HOLE), (u64)walk_store_site);
    }
}

// The hole is filled and the same instruction runs again, as in demand paging.
static void demand_paging(void)
{
    bool ok = true;
    const u64 page = (u64)(backing + 4096 * HOLE);
    *(u64 *)page = 0x1122334455667788;
    for (u32 i = 0; i < ROUNDS; i++) {
        mmu_map(HOLE, 0);
        prepare(code_ldr, AT(HOLE));
        run();
        ok &= result.esr == (DATA_ABORT | TRANSLATION_3) && registers_are(2);
        mmu_map(HOLE, page | PAGE_NORMAL | PAGE_READ_ONLY);
        start = result;
        run();
        ok &= result.esr == 0x56000001 && result.x[5] == 0x1122334455667788;
        prepare(code_str, AT(HOLE));
        run();
        ok &= result.esr == (DATA_ABORT | WRITE | PERMISSION_3) && registers_are(2);
        mmu_map(HOLE, page | PAGE_NORMAL);
        start = result;
        run();
        ok &= result.esr == 0x56000001 && *(volatile u64 *)page == start.x[5];
        *(u64 *)page = 0x1122334455667788;
    }
    mmu_map(HOLE, 0);
    check(ok, "fault, map, run again");
}

void guest_main(const void *fdt)
{
    (void)fdt;
    uart_init();
    sync_handler = handler;
    mmu_on();
    for (u32 i = 0; i < 28; i++)
        mmu_map(i, (u64)(backing + 4096 * i) | PAGE_NORMAL);
    mmu_map(HOLE, 0);
    mmu_map(HOLE_2, 0);
    mmu_map(CODE_HOLE, 0);
    mmu_map(READ_ONLY, (u64)(backing + 4096 * READ_ONLY) | PAGE_NORMAL | PAGE_READ_ONLY);
    mmu_map(READ_ONLY_2, (u64)(backing + 4096 * READ_ONLY_2) | PAGE_NORMAL | PAGE_READ_ONLY);
    mmu_map(DEVICE, (u64)(backing + 4096 * DEVICE) | PAGE_DEVICE);
    mmu_map(NO_ACCESS_FLAG, ((u64)(backing + 4096 * NO_ACCESS_FLAG) | PAGE_NORMAL) & ~(u64)PAGE_ACCESS_FLAG);
    mmu_map(NO_EXECUTE, (u64)(backing + 4096 * NO_EXECUTE) | PAGE_NORMAL | PAGE_PXN);
    translation();
    permission();
    crossing();
    torn_store();
    alignment();
    instruction();
    walk();
    demand_paging();
    summary("faults");
}
