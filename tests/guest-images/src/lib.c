#include "guest.h"

// Console: PL011, Arm DDI 0183, 3.2 "Summary of registers".
#define UART(offset) (*(volatile u32 *)(0x09000000ull + (offset)))
enum { UARTDR = 0x00, UARTFR = 0x18, UARTLCR_H = 0x2c, UARTCR = 0x30, UARTIMSC = 0x38, UARTICR = 0x44 };
enum { FR_RXFE = 1 << 4, FR_TXFF = 1 << 5 };

void uart_init(void)
{
    UART(UARTLCR_H) = 3 << 5 | 1 << 4; // 8 bits, FIFOs on
    UART(UARTCR) = 1 << 9 | 1 << 8 | 1 << 0;
}

void putchar(char c)
{
    if (c == '\n')
        putchar('\r');
    while (UART(UARTFR) & FR_TXFF)
        ;
    UART(UARTDR) = (u8)c;
}

int uart_receive(void)
{
    return UART(UARTFR) & FR_RXFE ? -1 : (int)(UART(UARTDR) & 0xff);
}

void uart_enable_receive_interrupt(void)
{
    UART(UARTICR) = 0x7ff;
    UART(UARTIMSC) = 1 << 4 | 1 << 6; // receive, receive timeout
}

static void print_number(u64 value, u32 base, u32 width, char pad)
{
    char digits[24];
    u32 count = 0;
    do {
        u32 digit = value % base;
        digits[count++] = digit < 10 ? '0' + digit : 'a' + digit - 10;
        value /= base;
    } while (value);
    for (; width > count; width--)
        putchar(pad);
    while (count)
        putchar(digits[--count]);
}

void print(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            putchar(*format);
            continue;
        }
        char pad = format[1] == '0' ? '0' : ' ';
        u32 width = 0;
        for (format++; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (*format - '0');
        bool is_long = *format == 'l';
        if (is_long)
            format++;
        if (*format == 's') {
            for (const char *s = va_arg(args, const char *); *s; s++)
                putchar(*s);
        } else if (*format == 'c') {
            putchar((char)va_arg(args, int));
        } else if (*format == 'd') {
            int64_t value = is_long ? va_arg(args, int64_t) : va_arg(args, int32_t);
            if (value < 0)
                putchar('-');
            print_number(value < 0 ? -(u64)value : (u64)value, 10, width, pad);
        } else {
            u64 value = is_long ? va_arg(args, u64) : va_arg(args, u32);
            print_number(value, *format == 'x' ? 16 : 10, width, pad);
        }
    }
    va_end(args);
}

// Power: PSCI by HVC, Arm DEN 0022, 5.9 "SYSTEM_OFF" and 5.10 "SYSTEM_RESET".
static void __attribute__((noreturn)) psci(u64 function)
{
    register u64 x0 __asm__("x0") = function;
    __asm__ volatile("hvc #0" : "+r"(x0)::"memory");
    print("PSCI returned %lx\n", x0);
    for (;;)
        wfi();
}

void power_off(void) { psci(0x84000008); }
void reset(void) { psci(0x84000009); }

// Interrupts: Arm IHI 0048 (GICv2) and IHI 0069 (GICv3).
#define GICD(offset) (*(volatile u32 *)(0x08000000ull + (offset)))
#define GICC(offset) (*(volatile u32 *)(0x08010000ull + (offset)))
#define GICR(offset) (*(volatile u32 *)(0x080a0000ull + (offset)))
enum { GICR_WAKER = 0x14, GICR_SGI = 0x10000 };

static bool gic_is_v3(void) { return (read_sysreg(id_aa64pfr0_el1) >> 24 & 0xf) != 0; }

void gic_init(void)
{
    if (!gic_is_v3()) {
        GICD(0x000) = 1;
        GICC(0x004) = 0xff; // GICC_PMR: every priority
        GICC(0x000) = 1;
        return;
    }
    GICD(0x000) = 1 << 4 | 1 << 1; // ARE, group 1
    GICR(GICR_WAKER) &= ~2u;
    while (GICR(GICR_WAKER) & 4)
        ;
    write_sysreg(s3_0_c12_c12_5, read_sysreg(s3_0_c12_c12_5) | 1); // ICC_SRE_EL1
    isb();
    write_sysreg(s3_0_c4_c6_0, 0xff); // ICC_PMR_EL1
    write_sysreg(s3_0_c12_c12_7, 1);  // ICC_IGRPEN1_EL1
    isb();
}

void gic_enable(u32 intid)
{
    u32 bit = 1u << intid % 32, reg = 4 * (intid / 32);
    if (!gic_is_v3()) {
        if (intid >= 32)
            ((volatile u8 *)0x08000800)[intid] = 1; // GICD_ITARGETSR: this CPU
        GICD(0x100 + reg) = bit;
    } else if (intid < 32) {
        GICR(GICR_SGI + 0x080) |= bit; // group 1
        GICR(GICR_SGI + 0x100) = bit;
    } else {
        GICD(0x080 + reg) |= bit;
        GICD(0x100 + reg) = bit; // GICD_IROUTER resets to affinity 0.0.0.0
    }
    dsb();
}

static u32 gic_acknowledge(void)
{
    u32 intid = gic_is_v3() ? (u32)read_sysreg(s3_0_c12_c12_0) : GICC(0x00c);
    dsb();
    return intid;
}

static void gic_end(u32 intid)
{
    if (gic_is_v3()) {
        write_sysreg(s3_0_c12_c12_1, intid);
        isb();
    } else {
        GICC(0x010) = intid;
    }
}

void timer_arm(u64 cval)
{
    write_sysreg(cntv_cval_el0, cval);
    write_sysreg(cntv_ctl_el0, 1);
    isb();
}

void timer_disarm(void)
{
    write_sysreg(cntv_ctl_el0, 0);
    isb();
}

u64 now(void)
{
    isb();
    return read_sysreg(cntvct_el0);
}

// Exceptions.
void (*sync_handler)(struct frame *);
void (*irq_handler)(struct frame *, u32 intid);

void trap(struct frame *f, u32 vector);
void trap(struct frame *f, u32 vector)
{
    if (vector == 0 && sync_handler) {
        sync_handler(f);
    } else if (vector == 1 && irq_handler) {
        u32 intid = gic_acknowledge();
        if ((intid & 0x3ff) < 1020) {
            irq_handler(f, intid & 0x3ff);
            gic_end(intid);
        }
    } else {
        print("\nFAIL unexpected exception: vector %u ESR_EL1 %08lx FAR_EL1 %016lx ELR_EL1 %016lx\n", vector, f->esr,
              f->far, f->elr);
        power_off();
    }
}

// Device tree: Devicetree Specification 0.4, chapter 5 "Flattened Devicetree (DTB) Format".
static u32 big32(const u8 *p) { return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3]; }

static u64 cells(const u8 *p, u32 count)
{
    u64 value = 0;
    for (; count; count--, p += 4)
        value = value << 32 | big32(p);
    return value;
}

bool streq(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return *a == *b;
}

bool fdt_memory(const void *fdt, u64 *base, u64 *len)
{
    const u8 *blob = fdt;
    if (!blob || (u64)blob % 8 || big32(blob) != 0xd00dfeed)
        return false;
    const u8 *p = blob + big32(blob + 8), *end = blob + big32(blob + 4);
    const char *strings = (const char *)blob + big32(blob + 12);
    u32 address_cells = 2, size_cells = 1;
    int depth = 0;
    bool in_memory = false;
    while (p < end) {
        u32 token = big32(p);
        p += 4;
        if (token == 1) { // FDT_BEGIN_NODE
            const char *name = (const char *)p;
            depth++;
            in_memory = depth == 2 && name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'o' &&
                        name[4] == 'r' && name[5] == 'y' && (name[6] == '@' || !name[6]);
            while (*p++)
                ;
            p = (const u8 *)(((u64)p + 3) & ~3ull);
        } else if (token == 2) { // FDT_END_NODE
            depth--;
            in_memory = false;
        } else if (token == 3) { // FDT_PROP
            u32 size = big32(p);
            const char *name = strings + big32(p + 4);
            p += 8;
            if (depth == 1 && streq(name, "#address-cells"))
                address_cells = big32(p);
            if (depth == 1 && streq(name, "#size-cells"))
                size_cells = big32(p);
            if (in_memory && streq(name, "reg") && size >= 4 * (address_cells + size_cells)) {
                *base = cells(p, address_cells);
                *len = cells(p + 4 * address_cells, size_cells);
                return true;
            }
            p += (size + 3) & ~3u;
        } else if (token != 4) { // FDT_NOP; FDT_END and anything else ends the walk
            return false;
        }
    }
    return false;
}

// Verdicts.
static u32 checks, failures;

void check(bool ok, const char *name)
{
    checks++;
    failures += !ok;
    print("%s %s\n", ok ? "PASS" : "FAIL", name);
}

void summary(const char *image)
{
    print("%s: %u checks, %u failed\n%s\n", image, checks, failures, failures || !checks ? "FAIL" : "PASS");
}

void *memset(void *to, int value, size_t len)
{
    for (u8 *p = to; len; len--)
        *p++ = (u8)value;
    return to;
}

void *memcpy(void *to, const void *from, size_t len)
{
    u8 *p = to;
    for (const u8 *q = from; len; len--)
        *p++ = *q++;
    return to;
}
