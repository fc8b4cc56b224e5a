// The embedded demo guest: a small interactive shell on bare metal, shown where no kernel can be fetched.
#include "guest.h"

static const void *device_tree;
static u64 boot_time;

// Received characters: filled by the UART's interrupt and, should one be missed, by the tick.
static volatile u8 ring[256];
static volatile u32 ring_head, ring_tail;

static void drain_uart(void)
{
    for (int c; (c = uart_receive()) >= 0;)
        if (ring_head - ring_tail < sizeof ring)
            ring[ring_head++ % sizeof ring] = (u8)c;
}

static void interrupt(struct frame *f, u32 intid)
{
    (void)f;
    drain_uart();
    if (intid == VIRTUAL_TIMER_INTID)
        timer_arm(now() + read_sysreg(cntfrq_el0) / 10);
}

static u8 read_key(void)
{
    // Masked from the test to the WFI, so that no interrupt falls between them.
    irq_disable();
    while (ring_head == ring_tail) {
        wfi();
        irq_enable();
        irq_disable();
    }
    u8 c = ring[ring_tail++ % sizeof ring];
    irq_enable();
    return c;
}

static void erase(u32 count)
{
    while (count--)
        print("\b \b");
}

// Backspace, Ctrl-U (line), Ctrl-W (word), Ctrl-C (give up); escape sequences are swallowed.
static void read_line(char *line, u32 size)
{
    u32 len = 0;
    bool after_cr = false;
    for (;;) {
        u8 c = read_key();
        if (c == '\n' && after_cr) {
            after_cr = false;
            continue;
        }
        if (c == '\r' || c == '\n') {
            print("\n");
            line[len] = 0;
            return;
        } else if (c == 0x7f || c == '\b') {
            if (len)
                erase(1), len--;
        } else if (c == 0x15) {
            erase(len), len = 0;
        } else if (c == 0x17) {
            while (len && line[len - 1] == ' ')
                erase(1), len--;
            while (len && line[len - 1] != ' ')
                erase(1), len--;
        } else if (c == 3) {
            print("^C\n");
            line[0] = 0;
            return;
        } else if (c == 0x1b) {
            // CSI: ESC [ parameters final byte in 0x40..0x7e; otherwise ESC and one byte.
            if (read_key() == '[')
                while ((c = read_key()) < 0x40 || c > 0x7e)
                    ;
        } else if (c >= ' ' && c < 0x7f && len + 1 < size) {
            line[len++] = (char)c;
            putchar((char)c);
        }
        after_cr = c == '\r';
    }
}

static void print_seconds(u64 ticks)
{
    u64 frequency = read_sysreg(cntfrq_el0);
    u64 micros = ticks / frequency * 1000000 + ticks % frequency * 1000000 / frequency;
    print("%lu.%06lu s", micros / 1000000, micros % 1000000);
}

static void print_part(u64 midr)
{
    u32 part = midr >> 4 & 0xfff;
    const char *name = part == 0xd03   ? "Cortex-A53"
                       : part == 0xd04 ? "Cortex-A35"
                       : part == 0xd05 ? "Cortex-A55"
                       : part == 0xd07 ? "Cortex-A57"
                       : part == 0xd08 ? "Cortex-A72"
                       : part == 0xd0b ? "Cortex-A76"
                       : part == 0xd0c ? "Neoverse N1"
                       : part == 0xd49 ? "Neoverse N2"
                                       : "unnamed part";
    print("%s", midr >> 24 == 0x41 ? name : part == 0x051 && midr >> 24 == 0 ? "emulator's `max`" : "unnamed part");
    print(" (MIDR_EL1 %08lx: implementer %02x, part %03x, r%up%u)\n", midr, (u32)(midr >> 24), part, (u32)(midr >> 20 & 0xf),
          (u32)(midr & 0xf));
}

static void feature(u64 reg, u32 shift, u32 least, const char *name)
{
    u32 field = reg >> shift & 0xf;
    if (field >= least && field != 0xf)
        print(" %s", name);
}

static void cpu(void)
{
    u64 pfr0 = read_sysreg(id_aa64pfr0_el1), pfr1 = read_sysreg(id_aa64pfr1_el1);
    u64 isar0 = read_sysreg(id_aa64isar0_el1), isar1 = read_sysreg(id_aa64isar1_el1);
    u64 mmfr0 = read_sysreg(id_aa64mmfr0_el1), mmfr1 = read_sysreg(id_aa64mmfr1_el1);
    print("CPU        ");
    print_part(read_sysreg(midr_el1));
    print("features  ");
    feature(pfr0, 16, 0, "fp");
    feature(pfr0, 20, 0, "asimd");
    feature(pfr0, 16, 1, "fp16");
    feature(isar0, 4, 1, "aes");
    feature(isar0, 4, 2, "pmull");
    feature(isar0, 8, 1, "sha1");
    feature(isar0, 12, 1, "sha256");
    feature(isar0, 12, 2, "sha512");
    feature(isar0, 32, 1, "sha3");
    feature(isar0, 16, 1, "crc32");
    feature(isar0, 20, 2, "lse");
    feature(isar0, 28, 1, "rdm");
    feature(isar0, 44, 1, "dotprod");
    feature(isar0, 48, 1, "fhm");
    feature(isar0, 52, 1, "flagm");
    feature(isar0, 60, 1, "rndr");
    feature(isar1, 0, 1, "dpb");
    feature(isar1, 4, 1, "pauth");
    feature(isar1, 8, 1, "pauth-impdef");
    feature(isar1, 12, 1, "jscvt");
    feature(isar1, 16, 1, "fcma");
    feature(isar1, 20, 1, "lrcpc");
    feature(isar1, 36, 1, "sb");
    feature(pfr0, 24, 1, "gicv3-registers");
    feature(pfr0, 32, 1, "sve");
    feature(pfr0, 48, 1, "dit");
    feature(pfr1, 0, 1, "bti");
    feature(pfr1, 4, 1, "ssbs");
    feature(mmfr1, 20, 1, "pan");
    print("\nexception  levels: EL1");
    if (pfr0 >> 8 & 0xf)
        print(" EL2");
    if (pfr0 >> 12 & 0xf)
        print(" EL3");
    u32 range = mmfr0 & 0xf;
    print("; running at EL%u\n", (u32)(read_sysreg(currentel) >> 2 & 3));
    print("addresses  %u bits physical; granules:", range < 2 ? 32 + 4 * range : range < 5 ? 36 + 2 * range : range == 5 ? 48 : 52);
    feature(mmfr0, 28, 0, "4K");
    if (mmfr0 >> 20 & 0xf)
        print(" 16K");
    feature(mmfr0, 24, 0, "64K");
    print("\ncounter    %lu Hz (CNTFRQ_EL0)\n", read_sysreg(cntfrq_el0));
}

static void mem(void)
{
    u64 base, len;
    if (fdt_memory(device_tree, &base, &len))
        print("RAM        %lu MiB at %08lx\n", len >> 20, base);
    else
        print("RAM        size unknown: no device tree at %lx\n", (u64)device_tree);
}

// The decimal number in `s`, or `otherwise` if it is empty. False if it is no number or above `most`.
static bool number(const char *s, u64 otherwise, u64 most, u64 *value)
{
    u64 n = 0;
    if (!*s) {
        *value = otherwise;
        return true;
    }
    for (; *s >= '0' && *s <= '9' && n <= most; s++)
        n = n * 10 + (*s - '0');
    *value = n;
    if (!*s && n <= most)
        return true;
    print("expected a number from 0 to %lu\n", most);
    return false;
}

static u64 __attribute__((noinline)) fibonacci(u64 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static u64 count_primes(u64 limit)
{
    static u8 composite[1 << 20];
    u64 count = 0;
    for (u64 i = 0; i <= limit; i++)
        composite[i] = 0;
    for (u64 i = 2; i <= limit; i++) {
        if (composite[i])
            continue;
        count++;
        for (u64 multiple = i * i; multiple <= limit; multiple += i)
            composite[multiple] = 1;
    }
    return count;
}

static void show_fault(struct frame *f)
{
    print("caught     ESR_EL1 %08lx (class %02x%s), FAR_EL1 %016lx, ELR_EL1 %016lx\n", f->esr, (u32)(f->esr >> 26),
          f->esr >> 26 == 0x25 ? ": data abort" : "", f->far, f->elr);
    print("           x0 %016lx  sp %016lx  SPSR_EL1 %08lx\n", f->x[0], f->sp, f->spsr);
    f->elr += 4;
}

static void fault(void)
{
    print("reading from address 0000006000000000, where nothing is mapped\n");
    sync_handler = show_fault;
    __asm__ volatile("ldr xzr, [%0]" ::"r"(0x6000000000ull) : "memory");
    sync_handler = 0;
    print("           and continued after the faulting instruction\n");
}

static bool execute(const char *command, const char *argument)
{
    u64 n, begin;
    if (!*command) {
    } else if (streq(command, "help")) {
        print("help          this list\n"
              "cpu           what the processor is and can do\n"
              "mem           how much memory there is\n"
              "time          time since start, from the virtual counter\n"
              "fib [N]       Nth Fibonacci number by recursion, timed (default 30)\n"
              "primes [N]    number of primes up to N, timed (default 1000000)\n"
              "fault         provoke a data abort and catch it\n"
              "reboot        reset the machine\n"
              "off           power off\n");
    } else if (streq(command, "cpu")) {
        cpu();
    } else if (streq(command, "mem")) {
        mem();
    } else if (streq(command, "time")) {
        print("up         ");
        print_seconds(now() - boot_time);
        print("\n");
    } else if (streq(command, "fib")) {
        if (number(argument, 30, 45, &n)) {
            begin = now();
            u64 value = fibonacci(n);
            print("fib(%lu) = %lu in ", n, value);
            print_seconds(now() - begin);
            print("\n");
        }
    } else if (streq(command, "primes")) {
        if (number(argument, 1000000, (1 << 20) - 1, &n)) {
            begin = now();
            u64 value = count_primes(n);
            print("%lu primes up to %lu in ", value, n);
            print_seconds(now() - begin);
            print("\n");
        }
    } else if (streq(command, "fault")) {
        fault();
    } else if (streq(command, "reboot")) {
        print("rebooting\n");
        reset();
    } else if (streq(command, "off")) {
        print("powering off\n");
        return false;
    } else {
        print("unknown command `%s`; try `help`\n", command);
    }
    return true;
}

void guest_main(const void *fdt)
{
    device_tree = fdt;
    boot_time = now();
    uart_init();
    mmu_on();
    gic_init();
    gic_enable(UART_INTID);
    gic_enable(VIRTUAL_TIMER_INTID);
    irq_handler = interrupt;
    uart_enable_receive_interrupt();
    timer_arm(now() + read_sysreg(cntfrq_el0) / 10);
    irq_enable();

    print("\nMimic demo guest: bare metal AArch64 on the `virt` board\n\n");
    cpu();
    mem();
    print("\nType `help` for the commands, `off` to leave.\n");
    char line[128];
    do {
        print("> ");
        read_line(line, sizeof line);
        u32 start = 0, end, argument;
        while (line[start] == ' ')
            start++;
        for (end = start; line[end] && line[end] != ' '; end++)
            ;
        for (argument = end; line[argument] == ' '; argument++)
            line[argument] = 0;
        for (u32 i = argument; line[i]; i++)
            if (line[i] == ' ')
                line[i] = 0;
        if (!execute(line + start, line + argument))
            return;
    } while (true);
}
