// Loads a whole register state, runs a slot and stores the whole state: no register is left to the runner in between.
#include "runner.h"

// void enter(const struct state *in, const uint32_t *slot): returns when the case has ended.
    .text
    .global enter
enter:
    adrp    x2, saved
    add     x2, x2, :lo12:saved
    stp     x19, x20, [x2]
    stp     x21, x22, [x2, #16]
    stp     x23, x24, [x2, #32]
    stp     x25, x26, [x2, #48]
    stp     x27, x28, [x2, #64]
    stp     x29, x30, [x2, #80]
    stp     d8, d9, [x2, #96]
    stp     d10, d11, [x2, #112]
    stp     d12, d13, [x2, #128]
    stp     d14, d15, [x2, #144]
    mov     x3, sp
    mrs     x4, tpidr_el0
    stp     x3, x4, [x2, #160]

    clrex
    mov     x30, x0
    mov     x29, x1
    ldp     x1, x2, [x30, #STATE_NZCV]
    msr     nzcv, x1
    msr     fpcr, x2
    ldr     x1, [x30, #STATE_FPSR]
    msr     fpsr, x1
    ldr     x1, [x30, #STATE_SP]
    mov     sp, x1
    ldp     q0, q1, [x30, #(STATE_V + 0)]
    ldp     q2, q3, [x30, #(STATE_V + 32)]
    ldp     q4, q5, [x30, #(STATE_V + 64)]
    ldp     q6, q7, [x30, #(STATE_V + 96)]
    ldp     q8, q9, [x30, #(STATE_V + 128)]
    ldp     q10, q11, [x30, #(STATE_V + 160)]
    ldp     q12, q13, [x30, #(STATE_V + 192)]
    ldp     q14, q15, [x30, #(STATE_V + 224)]
    ldp     q16, q17, [x30, #(STATE_V + 256)]
    ldp     q18, q19, [x30, #(STATE_V + 288)]
    ldp     q20, q21, [x30, #(STATE_V + 320)]
    ldp     q22, q23, [x30, #(STATE_V + 352)]
    ldp     q24, q25, [x30, #(STATE_V + 384)]
    ldp     q26, q27, [x30, #(STATE_V + 416)]
    ldp     q28, q29, [x30, #(STATE_V + 448)]
    ldp     q30, q31, [x30, #(STATE_V + 480)]
    ldp     x0, x1, [x30, #0]
    ldp     x2, x3, [x30, #16]
    ldp     x4, x5, [x30, #32]
    ldp     x6, x7, [x30, #48]
    ldp     x8, x9, [x30, #64]
    ldp     x10, x11, [x30, #80]
    ldp     x12, x13, [x30, #96]
    ldp     x14, x15, [x30, #112]
    ldp     x16, x17, [x30, #128]
    ldp     x18, x19, [x30, #144]
    ldp     x20, x21, [x30, #160]
    ldp     x22, x23, [x30, #176]
    ldp     x24, x25, [x30, #192]
    ldp     x26, x27, [x30, #208]
    ldr     x28, [x30, #(28 * 8)]
    br      x29                 // the slot begins with the load of x29 and x30

// Copied to EXIT_CODE, where a slot reaches it by an immediate branch.
    .balign 8
    .global exit_code, exit_code_end
exit_code:
    msr     tpidr_el0, x0
    ldr     x0, 1f
    ldr     x0, [x0]
    stp     x1, x2, [x0, #8]
    stp     x3, x4, [x0, #24]
    stp     x5, x6, [x0, #40]
    stp     x7, x8, [x0, #56]
    stp     x9, x10, [x0, #72]
    stp     x11, x12, [x0, #88]
    stp     x13, x14, [x0, #104]
    stp     x15, x16, [x0, #120]
    stp     x17, x18, [x0, #136]
    stp     x19, x20, [x0, #152]
    stp     x21, x22, [x0, #168]
    stp     x23, x24, [x0, #184]
    stp     x25, x26, [x0, #200]
    stp     x27, x28, [x0, #216]
    stp     x29, x30, [x0, #232]
    mrs     x1, tpidr_el0
    str     x1, [x0]
    mov     x1, sp
    mrs     x2, nzcv
    stp     x1, x2, [x0, #STATE_SP]
    mrs     x1, fpcr
    mrs     x2, fpsr
    stp     x1, x2, [x0, #STATE_FPCR]
    ldr     x3, 2f
    br      x3
    .balign 8
1:  .quad   result_state
2:  .quad   finish
exit_code_end:

finish:
    stp     q0, q1, [x0, #(STATE_V + 0)]
    stp     q2, q3, [x0, #(STATE_V + 32)]
    stp     q4, q5, [x0, #(STATE_V + 64)]
    stp     q6, q7, [x0, #(STATE_V + 96)]
    stp     q8, q9, [x0, #(STATE_V + 128)]
    stp     q10, q11, [x0, #(STATE_V + 160)]
    stp     q12, q13, [x0, #(STATE_V + 192)]
    stp     q14, q15, [x0, #(STATE_V + 224)]
    stp     q16, q17, [x0, #(STATE_V + 256)]
    stp     q18, q19, [x0, #(STATE_V + 288)]
    stp     q20, q21, [x0, #(STATE_V + 320)]
    stp     q22, q23, [x0, #(STATE_V + 352)]
    stp     q24, q25, [x0, #(STATE_V + 384)]
    stp     q26, q27, [x0, #(STATE_V + 416)]
    stp     q28, q29, [x0, #(STATE_V + 448)]
    stp     q30, q31, [x0, #(STATE_V + 480)]
// Also where the signal handler continues.
    .global leave
leave:
    msr     fpcr, xzr
    msr     fpsr, xzr
    adrp    x2, saved
    add     x2, x2, :lo12:saved
    ldp     x3, x4, [x2, #160]
    mov     sp, x3
    msr     tpidr_el0, x4
    ldp     x19, x20, [x2]
    ldp     x21, x22, [x2, #16]
    ldp     x23, x24, [x2, #32]
    ldp     x25, x26, [x2, #48]
    ldp     x27, x28, [x2, #64]
    ldp     x29, x30, [x2, #80]
    ldp     d8, d9, [x2, #96]
    ldp     d10, d11, [x2, #112]
    ldp     d12, d13, [x2, #128]
    ldp     d14, d15, [x2, #144]
    ret

    .bss
    .balign 16
    .global saved
saved:
    .skip   176
    .section .note.GNU-stack, "", @progbits
