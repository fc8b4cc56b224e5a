/* jit: code that is written while it runs. n rounds: an expression becomes instructions in one of 64 places of a page, is
 * called a few times, and is overwritten later. */
#if defined __aarch64__ || defined __x86_64__
#define _GNU_SOURCE
#include "bench.h"

#include <string.h>
#include <sys/mman.h>

typedef uint64_t function(uint64_t x, uint64_t y);

#ifdef __aarch64__
/* Arm ARM, C6.2: each works on X0 and X1. */
static uint8_t *compile(uint8_t *place, uint64_t *seed)
{
    uint32_t *at = (uint32_t *)place;
    for (int i = 0; i < 12; i++) {
        uint32_t number = next_random(seed);
        switch (number >> 28 & 7) {
        case 0: *at++ = 0x8b010000; break;                                  /* ADD X0, X0, X1 */
        case 1: *at++ = 0x9b017c00; break;                                  /* MUL X0, X0, X1 */
        case 2: *at++ = 0xca010c00; break;                                  /* EOR X0, X0, X1, LSL #3 */
        case 3: *at++ = 0x91000021 | (number & 0xfff) << 10; break;         /* ADD X1, X1, #imm */
        case 4: *at++ = 0xd1000000 | (number & 0xfff) << 10; break;         /* SUB X0, X0, #imm */
        case 5: *at++ = 0xaa400421; break;                                  /* ORR X1, X1, X0, LSR #1 */
        case 6: *at++ = 0xf2800001 | (number & 0xffff) << 5; break;         /* MOVK X1, #imm */
        case 7:                                                             /* CBZ X1, +8; ADD X0, X0, #imm */
            *at++ = 0xb4000041;
            *at++ = 0x91000000 | (number & 0xfff) << 10;
            break;
        }
    }
    *at++ = 0xd65f03c0; /* RET */
    return (uint8_t *)at;
}
#else
/* Instructions as bytes; the immediate, if any, comes behind. */
static uint8_t *emit(uint8_t *at, const char *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

#define EMIT(bytes) at = emit(at, bytes, sizeof bytes - 1)

static uint8_t *immediate(uint8_t *at, uint32_t number)
{
    memcpy(at, &number, sizeof number);
    return at + sizeof number;
}

/* SDM vol. 2: what the instructions above do, on RAX and RSI. */
static uint8_t *compile(uint8_t *at, uint64_t *seed)
{
    EMIT("\x48\x89\xf8"); /* MOV RAX, RDI */
    for (int i = 0; i < 12; i++) {
        uint32_t number = next_random(seed);
        switch (number >> 28 & 7) {
        case 0: EMIT("\x48\x01\xf0"); break;     /* ADD RAX, RSI */
        case 1: EMIT("\x48\x0f\xaf\xc6"); break; /* IMUL RAX, RSI */
        case 2:                                  /* LEA RDX, [RSI * 8]; XOR RAX, RDX */
            EMIT("\x48\x8d\x14\xf5\0\0\0\0");
            EMIT("\x48\x31\xd0");
            break;
        case 3: /* ADD RSI, imm32 */
            EMIT("\x48\x81\xc6");
            at = immediate(at, number & 0xfff);
            break;
        case 4: /* SUB RAX, imm32 */
            EMIT("\x48\x2d");
            at = immediate(at, number & 0xfff);
            break;
        case 5: /* MOV RDX, RAX; SHR RDX, 1; OR RSI, RDX */
            EMIT("\x48\x89\xc2");
            EMIT("\x48\xd1\xea");
            EMIT("\x48\x09\xd6");
            break;
        case 6: /* MOV SI, imm16 */
            EMIT("\x66\xbe");
            *at++ = number;
            *at++ = number >> 8;
            break;
        case 7: /* TEST RSI, RSI; JZ +6; ADD RAX, imm32 */
            EMIT("\x48\x85\xf6\x74\x06");
            EMIT("\x48\x05");
            at = immediate(at, number & 0xfff);
            break;
        }
    }
    *at++ = 0xc3; /* RET */
    return at;
}
#endif

void jit(unsigned long n)
{
    enum { PLACES = 64, SIZE = 128 };
    uint8_t *code = mmap(NULL, PLACES * SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        fail("mmap of writable code");
    uint64_t seed = 41, sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        uint8_t *place = code + round % PLACES * SIZE;
        uint8_t *after = compile(place, &seed);
        __builtin___clear_cache((char *)place, (char *)after);
        for (int i = 0; i < 4; i++)
            sum += ((function *)place)(sum, i);
    }
    end(sum);
}
#endif
