// Wire format and fixed addresses; README.md describes them. Little-endian, no padding beyond what is named.
#pragma once

#define CODE 0x13600000        // RWX: where code is placed in turn, INT3 before its first use
#define CODE_SIZE 0x1000000
#define ISOLATED 0x1a400000    // RWX: INT3 everywhere but at the case's own instructions
#define ISOLATED_SIZE 0x400000
#define DATA 0x2ab30000        // RW, not executable: two pages with nothing mapped before and after them
#define DATA_SIZE 0x2000
#define WINDOW_SIZE 512
#define CODE_MAX 96

// Offsets in struct state.
#define STATE_RFLAGS 128
#define STATE_FS 136
#define STATE_GS 144

#ifndef __ASSEMBLER__
#include <stdint.h>

enum {
    FLAG_ISOLATED = 1, // among INT3 instructions: for everything that may branch
    FLAG_32 = 4,       // 32-bit code, in compatibility mode; its registers are reported with 32 bits
    FLAG_VECTORS = 2,  // with the x87, SSE and AVX state; without it that is neither set nor reported
};

struct state {
    uint64_t gpr[16], rflags, fs_base, gs_base;
    uint32_t mxcsr;
    uint16_t fcw, fsw;
    uint8_t ftw, reserved[7]; // abridged tag word, as FXSAVE stores it
    unsigned __int128 st[8], xmm[16], ymm_high[16];
};

struct test_case {
    uint32_t flags;
    uint32_t window_offset; // of the window in DATA, 0 to DATA_SIZE - WINDOW_SIZE
    uint64_t pc;            // where the code is placed
    uint32_t code_size;     // 1 to CODE_MAX
    uint32_t reserved;
    uint8_t code[CODE_MAX];
    uint64_t reserved2;
    struct state state;
    uint8_t window[WINDOW_SIZE];
};

struct result {
    uint32_t vector; // of the exception that ended the case; NO_VECTOR if it ran to its end
    uint32_t error;  // its error code, 0 if there is none
    uint64_t address; // CR2 of a page fault
    uint64_t pc;      // where execution stopped: of a fault the instruction, of a trap the next one
    uint64_t outside; // checksum of DATA without the window, 0 if that is still zero
    struct state state;
    uint8_t window[WINDOW_SIZE];
};

enum { NO_VECTOR = 256 };

_Static_assert(sizeof(struct state) == 816, "state");
_Static_assert(sizeof(struct test_case) == 128 + 816 + 512, "case");
_Static_assert(sizeof(struct result) == 32 + 816 + 512, "result");
#endif
