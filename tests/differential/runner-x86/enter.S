// Loads a whole register state, jumps to the code and stores the whole state: no register is left to the runner in between.
#include "runner.h"

    .text
    .global enter
// void enter(void): returns when the case has ended. Its state is in `state_in`, the result goes to `state_out`.
enter:
    pushq   %rbx
    pushq   %rbp
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movq    %rsp, saved_rsp(%rip)
    cmpl    $0, with_vectors(%rip)
    je      1f
    movl    $7, %eax
    xorl    %edx, %edx
    xrstor64 xsave_in(%rip)
1:  movq    state_in+STATE_FS(%rip), %rax
    wrfsbase %rax
    movq    state_in+STATE_GS(%rip), %rax
    wrgsbase %rax
    pushq   state_in+STATE_RFLAGS(%rip)
    popfq
    movq    state_in+0(%rip), %rax
    movq    state_in+8(%rip), %rcx
    movq    state_in+16(%rip), %rdx
    movq    state_in+24(%rip), %rbx
    movq    state_in+32(%rip), %rsp
    movq    state_in+40(%rip), %rbp
    movq    state_in+48(%rip), %rsi
    movq    state_in+56(%rip), %rdi
    movq    state_in+64(%rip), %r8
    movq    state_in+72(%rip), %r9
    movq    state_in+80(%rip), %r10
    movq    state_in+88(%rip), %r11
    movq    state_in+96(%rip), %r12
    movq    state_in+104(%rip), %r13
    movq    state_in+112(%rip), %r14
    movq    state_in+120(%rip), %r15
    jmpq    *entry(%rip)

// Goes on in 32-bit code.
    .global enter_32
enter_32:
    ljmpl   *entry_32(%rip)

// Where code that ran to its end comes by a jump.
    .global finish
finish:
    movq    %rax, state_out+0(%rip)
    movq    %rcx, state_out+8(%rip)
    movq    %rdx, state_out+16(%rip)
    movq    %rbx, state_out+24(%rip)
    movq    %rsp, state_out+32(%rip)
    movq    %rbp, state_out+40(%rip)
    movq    %rsi, state_out+48(%rip)
    movq    %rdi, state_out+56(%rip)
    movq    %r8, state_out+64(%rip)
    movq    %r9, state_out+72(%rip)
    movq    %r10, state_out+80(%rip)
    movq    %r11, state_out+88(%rip)
    movq    %r12, state_out+96(%rip)
    movq    %r13, state_out+104(%rip)
    movq    %r14, state_out+112(%rip)
    movq    %r15, state_out+120(%rip)
    movq    saved_rsp(%rip), %rsp
    pushfq
    popq    state_out+STATE_RFLAGS(%rip)
    rdfsbase %rax
    movq    %rax, state_out+STATE_FS(%rip)
    rdgsbase %rax
    movq    %rax, state_out+STATE_GS(%rip)
    cmpl    $0, with_vectors(%rip)
    je      leave
    movl    $7, %eax
    xorl    %edx, %edx
    xsave64 xsave_out(%rip)
// Also where the signal handler continues, on whatever stack.
    .global leave
leave:
    movq    saved_rsp(%rip), %rsp
    pushq   $2
    popfq
    movq    runner_fs(%rip), %rax
    wrfsbase %rax
    fninit
    ldmxcsr default_mxcsr(%rip)
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbp
    popq    %rbx
    ret

    .data
    .balign 64
    .global state_in, state_out, xsave_in, xsave_out, with_vectors, entry, runner_fs
state_in:
    .skip   816
    .balign 64
state_out:
    .skip   816
    .balign 64
xsave_in:
    .skip   4096
xsave_out:
    .skip   4096
entry:
    .quad   0
saved_rsp:
    .quad   0
    .global entry_32
entry_32:
    .long   0
    .word   0x23        // Linux's selector of 32-bit code
    .balign 8
runner_fs:
    .quad   0
with_vectors:
    .long   0
default_mxcsr:
    .long   0x1f80
    .section .note.GNU-stack, "", @progbits
