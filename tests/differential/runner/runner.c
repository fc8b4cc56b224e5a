// Executes single A64 instructions on given register states; see README.md.
#define _GNU_SOURCE
#include "runner.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { BATCH = SLOT_COUNT, WATCHDOG_S = 10 };
static const uint32_t BRK = 0xd4200000, LDP_X29_X30 = 0xa9400000 | (STATE_X29 / 8) << 15 | 30 << 10 | 30 << 5 | 29;

void enter(const struct state *in, const uint32_t *slot);
void leave(void);
extern const uint32_t exit_code[], exit_code_end[];
struct state *result_state; // where exit_code stores

static struct result *volatile running; // null outside a case

static void die(const char *what)
{
    fprintf(stderr, "runner: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static uint32_t branch(uint64_t from, uint64_t to) { return 0x14000000 | ((to - from) >> 2 & 0x3ffffff); }

static void on_signal(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    mcontext_t *mc = &uc->uc_mcontext;
    struct result *r = running;
    bool in_case = r && ((mc->pc >= SLOTS && mc->pc < SLOTS + SLOT_COUNT * SLOT_SIZE) ||
                         (mc->pc >= ISOLATED && mc->pc < ISOLATED + ISOLATED_SIZE));
    if (number == SIGALRM && !in_case) {
        alarm(1);
        return;
    }
    // A signal in the runner's own code, its exit code included, is a fault of the runner.
    if (!r || (mc->pc >= EXIT_CODE && mc->pc < EXIT_CODE + 4096)) {
        static const char message[] = "runner: signal outside a case\n";
        (void)!write(2, message, sizeof message - 1);
        _exit(1);
    }
    r->signal = number;
    r->si_code = info->si_code;
    r->fault_address = number == SIGALRM ? 0 : (uint64_t)info->si_addr;
    r->pc = mc->pc;
    memcpy(r->state.x, mc->regs, sizeof r->state.x);
    r->state.sp = mc->sp;
    r->state.nzcv = mc->pstate & 0xf0000000;
    for (struct _aarch64_ctx *record = (void *)mc->__reserved; record->magic; record = (void *)((char *)record + record->size)) {
        if (record->magic == FPSIMD_MAGIC) {
            struct fpsimd_context *fp = (void *)record;
            r->state.fpsr = fp->fpsr;
            r->state.fpcr = fp->fpcr;
            memcpy(r->state.v, fp->vregs, sizeof r->state.v);
        }
    }
    mc->pc = (uint64_t)leave;
    mc->pstate &= ~0xc00ull; // BTYPE of a branch that went to a fault
}

static void *map(uint64_t address, size_t size, int protection)
{
    void *p = mmap((void *)address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)address)
        die("cannot map memory at its fixed address");
    return p;
}

static void set_up(void)
{
    map(MEMORY, MEMORY_SIZE, PROT_READ | PROT_WRITE);
    map(SLOTS, SLOT_COUNT * SLOT_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    uint32_t *exit_copy = map(EXIT_CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    memcpy(exit_copy, exit_code, (exit_code_end - exit_code) * 4);
    __builtin___clear_cache((char *)exit_copy, (char *)exit_copy + 4096);
    uint32_t *isolated = map(ISOLATED, ISOLATED_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (size_t i = 0; i < ISOLATED_SIZE / 4; i++)
        isolated[i] = BRK;
    isolated[0] = LDP_X29_X30;
    isolated[1] = branch(ISOLATED + 4, ISOLATED_PC);
    __builtin___clear_cache((char *)isolated, (char *)isolated + ISOLATED_SIZE);
    for (uint32_t i = 0; i < SLOT_COUNT; i++) {
        uint32_t *slot = (uint32_t *)(SLOTS + SLOT_SIZE * i);
        slot[0] = LDP_X29_X30;
        slot[1] = BRK;
        slot[2] = branch((uint64_t)(slot + 2), EXIT_CODE);
        slot[3] = branch((uint64_t)(slot + 3), EXIT_CODE);
    }
    __builtin___clear_cache((char *)SLOTS, (char *)SLOTS + SLOT_COUNT * SLOT_SIZE);

    // The case's SP may be anything.
    stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    if (!stack.ss_sp || sigaltstack(&stack, 0))
        die("sigaltstack");
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGFPE, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], &action, 0))
            die("sigaction");
}

// Writes only what differs: a translator keeps the code of slots that stay the same.
static bool put(uint32_t *at, uint32_t insn)
{
    if (*at == insn)
        return false;
    *at = insn;
    return true;
}

// A run of cases with the same instructions shares a slot; each change moves on to the next slot, in turn.
static uint32_t *next_slot(const struct test_case *c)
{
    static uint32_t number, insn, insn2;
    static bool started;
    if (started && (c->insn != insn || c->insn2 != insn2))
        number = (number + 1) % SLOT_COUNT;
    started = true;
    insn = c->insn;
    insn2 = c->insn2;
    return (uint32_t *)(SLOTS + SLOT_SIZE * number);
}

// Writes the instructions of a batch before any of it runs, since each first write to a page that has run costs a translator much.
// A batch needs at most as many slots as it has cases.
static void place_all(const struct test_case *c, size_t count, uint32_t *slots[])
{
    bool changed = false;
    for (size_t i = 0; i < count; i++, c++) {
        if (c->flags & FLAG_ISOLATED) {
            slots[i] = 0;
            continue;
        }
        uint32_t *slot = slots[i] = next_slot(c);
        changed |= put(slot + 1, c->insn);
        changed |= put(slot + 2, c->insn2 ? c->insn2 : branch((uint64_t)(slot + 2), EXIT_CODE));
    }
    if (changed)
        __builtin___clear_cache((char *)SLOTS, (char *)SLOTS + SLOT_COUNT * SLOT_SIZE);
}

static void run(const struct test_case *c, struct result *r, const uint32_t *slot)
{
    uint8_t *window = (uint8_t *)MEMORY + c->window_offset;
    if (c->window_offset > MEMORY_SIZE - WINDOW_SIZE) {
        errno = EINVAL;
        die("window_offset");
    }
    if (c->flags & FLAG_CLEAN)
        memset((void *)MEMORY, 0, MEMORY_SIZE);
    memcpy(window, c->window, WINDOW_SIZE);

    const uint32_t *entry;
    if (c->flags & FLAG_ISOLATED) {
        uint32_t *at = (uint32_t *)ISOLATED_PC;
        if (put(at, c->insn) | put(at + 1, c->insn2 ? c->insn2 : BRK))
            __builtin___clear_cache((char *)at, (char *)(at + 2));
        entry = (uint32_t *)ISOLATED;
        r->pc_start = ISOLATED_PC;
    } else {
        entry = slot;
        r->pc_start = (uint64_t)(entry + 1);
    }
    r->signal = 0;
    r->si_code = 0;
    r->fault_address = 0;
    r->pc = r->pc_start + (c->insn2 ? 8 : 4);
    r->state.reserved = 0;
    result_state = &r->state;
    running = r;
    enter(&c->state, entry);
    running = 0;
    memcpy(r->window, window, WINDOW_SIZE);
    memset(window, 0, WINDOW_SIZE);
}

static void write_all(const void *data, size_t len)
{
    for (const char *p = data; len;) {
        ssize_t n = write(1, p, len);
        if (n < 0 && errno != EINTR)
            die("cannot write results");
        if (n > 0)
            p += n, len -= n;
    }
}

int main(void)
{
    static struct test_case cases[BATCH];
    static struct result results[BATCH];
    static uint32_t *slots[BATCH];
    size_t have = 0;
    set_up();
    for (;;) {
        ssize_t n = read(0, (char *)cases + have, sizeof cases - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            die("cannot read cases");
        if (n == 0)
            break;
        have += n;
        size_t count = have / sizeof *cases;
        if (!count)
            continue;
        alarm(WATCHDOG_S);
        place_all(cases, count, slots);
        for (size_t i = 0; i < count; i++)
            run(&cases[i], &results[i], slots[i]);
        alarm(0);
        write_all(results, count * sizeof *results);
        have -= count * sizeof *cases;
        memmove(cases, cases + count, have);
    }
    if (have) {
        fprintf(stderr, "runner: input ends inside a case\n");
        return 1;
    }
    return 0;
}
