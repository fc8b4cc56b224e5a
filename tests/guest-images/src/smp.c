// Four processors: exclusives and ordered accesses between them, PSCI CPU_ON and CPU_OFF again and again, SEV and WFE, WFI. The
// line that begins with `order` says in which order they came to a counter: where they take turns on one thread of the host, it
// is the same in every run.
#include "guest.h"

enum { CPUS = 4, STEPS = 256, ROUNDS = 20, ADDS = 5000 };

void secondary_entry(void);
u64 psci_call(u64 function, u64 a, u64 b, u64 c);

static volatile u32 started, go, sum, locked, guarded;
static volatile u32 arrived;
static volatile u8 order[CPUS * STEPS];
static volatile u32 position, turn;
// Stacks of the others, by number.
u8 secondary_stacks[CPUS][4096] __attribute__((aligned(16)));

static u32 add(volatile u32 *p, u32 n)
{
    u32 old, new, status;
    do {
        __asm__ volatile("ldaxr %w0, [%3]\n add %w1, %w0, %w4\n stlxr %w2, %w1, [%3]"
                         : "=&r"(old), "=&r"(new), "=&r"(status) : "r"(p), "r"(n) : "memory");
    } while (status);
    return old;
}

static u32 acquire(volatile u32 *p)
{
    u32 v;
    __asm__ volatile("ldar %w0, [%1]" : "=r"(v) : "r"(p) : "memory");
    return v;
}

static void release(volatile u32 *p, u32 v) { __asm__ volatile("stlr %w0, [%1]\n sev" ::"r"(v), "r"(p) : "memory"); }
static void wait_for(volatile u32 *p, u32 v)
{
    while (acquire(p) != v)
        __asm__ volatile("wfe" ::: "memory");
}

static void work(u32 me)
{
    // Everybody counts.
    for (u32 i = 0; i < ADDS; i++)
        add(&sum, 1);
    // A lock with YIELD in its loop.
    for (u32 i = 0; i < ADDS / 10; i++) {
        u32 taken;
        for (;;) {
            u32 status;
            __asm__ volatile("ldaxr %w0, [%2]\n cbnz %w0, 1f\n stxr %w1, %w3, [%2]\n cbz %w1, 2f\n1: yield\n mov %w0, #1\n2:"
                             : "=&r"(taken), "=&r"(status) : "r"(&locked), "r"(1) : "memory");
            if (!taken)
                break;
        }
        guarded++;
        release(&locked, 0);
    }
    // In turns.
    for (u32 i = 0; i < 20; i++) {
        wait_for(&turn, i * CPUS + me);
        release(&turn, i * CPUS + me + 1);
    }
    // The order in which they come, each with its own amount of work between.
    for (u32 i = 0; i < STEPS; i++) {
        u32 n = add(&position, 1);
        order[n % (CPUS * STEPS)] = (u8)me;
        for (volatile u32 busy = 0; busy < 40 + 30 * me; busy++)
            ;
    }
    add(&arrived, 1);
}

// Called by smp_code.S.
void secondary(u64 me)
{
    add(&started, 1);
    if (acquire(&go)) {
        work((u32)me);
    }
    psci_call(0x84000002, 0, 0, 0); // CPU_OFF
}

static void wait_off(u64 cpu)
{
    while (psci_call(0xc4000004, cpu, 0, 0) != 1) // AFFINITY_INFO
        __asm__ volatile("yield");
}

void guest_main(const void *fdt)
{
    (void)fdt;
    uart_init();
    mmu_on();
    bool on = true;
    for (u32 round = 1; round <= ROUNDS; round++) {
        for (u64 cpu = 1; cpu < CPUS; cpu++)
            on &= psci_call(0xc4000003, cpu, (u64)secondary_entry, cpu) == 0; // CPU_ON
        wait_for(&started, round * (CPUS - 1));
        for (u64 cpu = 1; cpu < CPUS; cpu++)
            wait_off(cpu);
    }
    check(on, "CPU_ON gives success");
    check(started == ROUNDS * (CPUS - 1), "each start runs once");
    release(&go, 1);
    for (u64 cpu = 1; cpu < CPUS; cpu++)
        psci_call(0xc4000003, cpu, (u64)secondary_entry, cpu);
    work(0);
    wait_for(&arrived, CPUS);
    for (u64 cpu = 1; cpu < CPUS; cpu++)
        wait_off(cpu);
    check(sum == CPUS * ADDS, "exclusives lose nothing");
    check(guarded == CPUS * (ADDS / 10), "a lock excludes");
    check(turn == 20 * CPUS, "turns come round");
    u32 each[CPUS] = {0};
    u64 hash = 0xcbf29ce484222325;
    for (u32 i = 0; i < CPUS * STEPS; i++) {
        each[order[i] % CPUS]++;
        hash = (hash ^ order[i]) * 0x100000001b3;
    }
    bool all = true;
    for (u32 i = 0; i < CPUS; i++)
        all &= each[i] == STEPS;
    check(all, "everybody came to the counter");
    print("order %lx ", hash);
    for (u32 i = 0; i < CPUS * STEPS; i += 16)
        putchar("0123"[order[i] % CPUS]);
    print("\n");
    summary("smp");
}
